import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ClusterDns } from '../../../agent/net/dns.ts';
import { decodeDns, emptyMessage, encodeDns, recordType, type DnsMessage, type DnsRecord } from '../../../agent/net/dns-message.ts';
import { readName } from '../../../agent/net/dns-name.ts';
import { systemClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import type { EndpointsItem, Item, ServiceItem } from '../../../shared/protocol.ts';

const test = suite('dns-records');

const service = (name: string, over: Partial<ServiceItem> = {}): ServiceItem => ({
  type: 'service', revision: 1, namespace: 'shop', name, serviceType: 'ClusterIP', clusterIPs: ['10.96.7.1'],
  ports: [{ name: 'http', protocol: 'TCP', port: 80 }, { name: '', protocol: 'UDP', port: 81 }],
  affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false, ...over,
});
type Endpoint = EndpointsItem['endpoints'][number];
const endpoint = (address: string, over: Partial<Endpoint> = {}): Endpoint => ({ addresses: [address], ready: true, serving: true, terminating: false, ...over });
const slice = (of: string, endpoints: Endpoint[], over: Partial<EndpointsItem> = {}): EndpointsItem =>
  ({ type: 'endpoints', revision: 1, namespace: 'shop', name: `${of}-1`, service: of, ports: [{ name: 'http', protocol: 'TCP', port: 8080 }], endpoints, ...over });

const items: Item[] = [
  service('web'), slice('web', [endpoint('10.244.1.7'), endpoint('10.244.1.8', { hostname: 'named' })]),
  service('dual', { clusterIPs: ['10.96.7.2', 'fd00:96::2'] }),
  service('db', { clusterIPs: ['None'] }),
  slice('db', [endpoint('10.244.2.1', { hostname: 'db-0' }), endpoint('10.244.2.2', { hostname: 'db-1', ready: false }), endpoint('10.244.2.3')]),
  slice('db', [endpoint('fd00:244::3', { hostname: 'db-0' })], { name: 'db-2' }),
  service('early', { clusterIPs: ['None'], publishNotReadyAddresses: true }), slice('early', [endpoint('10.244.2.9', { hostname: 'early-0', ready: false })]),
  service('empty', { clusterIPs: ['None'] }), slice('empty', [endpoint('10.244.2.5', { ready: false })]),
  service('bare', { clusterIPs: ['None'], ports: [] }), slice('bare', [endpoint('10.244.2.6')], { ports: [] }),
  service('far', { serviceType: 'ExternalName', clusterIPs: [], externalName: 'web.shop.svc.cluster.local.', ports: [] }),
  service('loop', { serviceType: 'ExternalName', clusterIPs: [], externalName: 'loop.shop.svc.cluster.local', ports: [] }),
  service('outside', { serviceType: 'ExternalName', clusterIPs: [], externalName: 'example.com', ports: [] }),
];

/** Without any resolver to pass questions on to. */
const dns = new ClusterDns({ clock: systemClock, log: silentLog, random: () => 0, upstreams: async () => [] });
dns.serve({ domain: 'Cluster.Local.', address: '10.96.0.10', ranges: ['10.96.0.0/16', '10.244.0.0/16'] });
dns.update(() => items);

async function ask(name: string, type: keyof typeof recordType, over: Partial<DnsMessage> = {}): Promise<DnsMessage> {
  const query = encodeDns({ ...emptyMessage, id: 7, recursionDesired: true, questions: [{ name, type: recordType[type], class: 1 }], ...over });
  return decodeDns((await dns.answer(query, 'udp'))!);
}

function text({ type, data }: DnsRecord): string {
  const bytes = Buffer.from(data);
  switch (type) {
    case recordType.A: return [...bytes].join('.');
    case recordType.AAAA: return bytes.toString('hex').replace(/(.{4})(?!$)/g, '$1:');
    case recordType.SRV: return `${bytes.readUInt16BE(0)} ${bytes.readUInt16BE(2)} ${bytes.readUInt16BE(4)} ${readName(bytes, 6).name}`;
    case recordType.TXT: return bytes.toString('latin1', 1);
    case recordType.SOA: return `SOA ${readName(bytes, 0).name}`;
    default: return readName(bytes, 0).name;
  }
}

/** `NOERROR aa 10.96.7.1 | SOA cluster.local`: code, authority, answers, and whose word it is that there are none. */
async function line(name: string, type: keyof typeof recordType): Promise<string> {
  const { rcode, authoritative, answers, authorities } = await ask(name, type);
  const code = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN'][rcode] ?? String(rcode);
  return [code, ...(authoritative ? ['aa'] : []), ...answers.map(text).sort(), ...authorities.map((one) => `| SOA ${one.name}`)].join(' ');
}

const none = '| SOA cluster.local';
const cases: readonly (readonly [name: string, type: keyof typeof recordType, want: string])[] = [
  ['web.shop.svc.cluster.local', 'A', 'NOERROR aa 10.96.7.1'],
  ['WEB.Shop.svc.CLUSTER.local', 'A', 'NOERROR aa 10.96.7.1'],
  ['web.shop.svc.cluster.local', 'AAAA', `NOERROR aa ${none}`],
  ['web.shop.svc.cluster.local', 'TXT', `NOERROR aa ${none}`],
  ['web.shop.svc.cluster.local', 'SRV', 'NOERROR aa 0 100 80 web.shop.svc.cluster.local'],
  ['dual.shop.svc.cluster.local', 'AAAA', 'NOERROR aa fd00:0096:0000:0000:0000:0000:0000:0002'],
  ['nosuch.shop.svc.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['web.nosuch.svc.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['x.y.z.web.shop.svc.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['cluster.local', 'SOA', 'NOERROR aa SOA ns.dns.cluster.local'],
  ['cluster.local', 'NS', 'NOERROR aa ns.dns.cluster.local'],
  ['cluster.local', 'A', `NOERROR aa ${none}`],
  ['ns.dns.cluster.local', 'A', 'NOERROR aa 10.96.0.10'],
  ['dns-version.cluster.local', 'TXT', 'NOERROR aa 1.1.0'],
  ['svc.cluster.local', 'A', `NOERROR aa ${none}`],
  ['shop.svc.cluster.local', 'A', `NOERROR aa ${none}`],
  ['nosuch.svc.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['nosuch.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['_http._tcp.web.shop.svc.cluster.local', 'SRV', 'NOERROR aa 0 100 80 web.shop.svc.cluster.local'],
  ['_http._tcp.web.shop.svc.cluster.local', 'A', `NOERROR aa ${none}`],
  ['_tcp.web.shop.svc.cluster.local', 'A', `NOERROR aa ${none}`],
  ['_http._udp.web.shop.svc.cluster.local', 'SRV', `NXDOMAIN aa ${none}`],
  ['_nosuch._tcp.web.shop.svc.cluster.local', 'SRV', `NXDOMAIN aa ${none}`],
  // Headless: ready endpoints, of both families.
  ['db.shop.svc.cluster.local', 'A', 'NOERROR aa 10.244.2.1 10.244.2.3'],
  ['db.shop.svc.cluster.local', 'AAAA', 'NOERROR aa fd00:0244:0000:0000:0000:0000:0000:0003'],
  ['db-0.db.shop.svc.cluster.local', 'A', 'NOERROR aa 10.244.2.1'],
  ['db-1.db.shop.svc.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['10-244-2-3.db.shop.svc.cluster.local', 'A', 'NOERROR aa 10.244.2.3'],
  ['10-244-2-3.db.shop.svc.cluster.local', 'AAAA', `NOERROR aa ${none}`],
  ['_http._tcp.db.shop.svc.cluster.local', 'SRV', 'NOERROR aa 0 50 8080 10-244-2-3.db.shop.svc.cluster.local 0 50 8080 db-0.db.shop.svc.cluster.local'],
  ['early-0.early.shop.svc.cluster.local', 'A', 'NOERROR aa 10.244.2.9'],
  ['empty.shop.svc.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['bare.shop.svc.cluster.local', 'A', 'NOERROR aa 10.244.2.6'],
  ['named.web.shop.svc.cluster.local', 'A', 'NOERROR aa 10.244.1.8'],
  // Reverse.
  ['1.7.96.10.in-addr.arpa', 'PTR', 'NOERROR aa web.shop.svc.cluster.local'],
  ['1.2.244.10.in-addr.arpa', 'PTR', 'NOERROR aa db-0.db.shop.svc.cluster.local'],
  ['3.2.244.10.in-addr.arpa', 'PTR', 'NOERROR aa 10-244-2-3.db.shop.svc.cluster.local'],
  ['8.1.244.10.in-addr.arpa', 'PTR', 'NOERROR aa named.web.shop.svc.cluster.local'],
  ['2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa', 'PTR', 'NOERROR aa dual.shop.svc.cluster.local'],
  ['9.9.96.10.in-addr.arpa', 'PTR', 'NXDOMAIN aa | SOA 96.10.in-addr.arpa'],
  ['7.1.244.10.in-addr.arpa', 'PTR', 'NXDOMAIN aa | SOA 244.10.in-addr.arpa'],
  ['1.2.0.192.in-addr.arpa', 'PTR', 'SERVFAIL'],
  // Pods.
  ['10-244-1-7.shop.pod.cluster.local', 'A', 'NOERROR aa 10.244.1.7'],
  ['10-244-1-7.shop.pod.cluster.local', 'AAAA', `NOERROR aa ${none}`],
  ['fd00-244--3.anything.pod.cluster.local', 'AAAA', 'NOERROR aa fd00:0244:0000:0000:0000:0000:0000:0003'],
  ['10-244-1-777.shop.pod.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  ['x.10-244-1-7.shop.pod.cluster.local', 'A', `NXDOMAIN aa ${none}`],
  // Aliases.
  ['far.shop.svc.cluster.local', 'A', 'NOERROR aa 10.96.7.1 web.shop.svc.cluster.local'],
  ['far.shop.svc.cluster.local', 'AAAA', `NOERROR aa web.shop.svc.cluster.local ${none}`],
  ['far.shop.svc.cluster.local', 'CNAME', 'NOERROR aa web.shop.svc.cluster.local'],
  ['outside.shop.svc.cluster.local', 'A', 'SERVFAIL example.com'],
  // Not the cluster's, with nobody to ask.
  ['example.com', 'A', 'SERVFAIL'],
  ['notcluster.local', 'A', 'SERVFAIL'],
  ['local', 'A', 'SERVFAIL'],
];

for (const [name, type, want] of cases) test(`${type} ${name}`, async () => { assert.is(await line(name, type), want); });

test('an alias of itself ends', async () => {
  const { rcode, answers } = await ask('loop.shop.svc.cluster.local', 'A');
  assert.is(rcode, 2);
  assert.ok(answers.length < 12);
});

test('an answer repeats the question as it was written, and its owner', async () => {
  const { id, questions, answers, recursionAvailable, response } = await ask('WeB.shop.svc.cluster.local', 'A');
  assert.equal([id, response, recursionAvailable, questions[0]?.name, answers[0]?.name, answers[0]?.ttl], [7, true, true, 'WeB.shop.svc.cluster.local', 'WeB.shop.svc.cluster.local', 5]);
});

test('SRV targets come with their addresses', async () => {
  const { additionals } = await ask('_http._tcp.db.shop.svc.cluster.local', 'SRV');
  assert.equal(additionals.map((one) => `${one.name} ${text(one)}`).sort(), [
    '10-244-2-3.db.shop.svc.cluster.local 10.244.2.3', 'db-0.db.shop.svc.cluster.local 10.244.2.1', 'db-0.db.shop.svc.cluster.local fd00:0244:0000:0000:0000:0000:0000:0003',
  ]);
});

test('a change counts at once', async () => {
  dns.update(() => [service('web', { clusterIPs: ['10.96.7.99'] })]);
  assert.is(await line('web.shop.svc.cluster.local', 'A'), 'NOERROR aa 10.96.7.99');
  assert.is(await line('1.7.96.10.in-addr.arpa', 'PTR'), 'NXDOMAIN aa | SOA 96.10.in-addr.arpa');
  dns.update(() => items);
});

test('many endpoints: cut off over UDP, by what the client takes, and whole over TCP', async () => {
  const many = Array.from({ length: 100 }, (_, index) => endpoint(`10.244.9.${index + 1}`));
  dns.update(() => [service('big', { clusterIPs: ['None'] }), slice('big', many)]);
  const plain = await ask('big.shop.svc.cluster.local', 'A');
  const wide = await ask('big.shop.svc.cluster.local', 'A', { edns: { udpSize: 4096, version: 0, dnssecOk: false, options: Buffer.alloc(0) } });
  assert.equal([plain.truncated, plain.answers.length, plain.edns], [true, 29, undefined]);
  assert.equal([wide.truncated, wide.answers.length, wide.edns?.udpSize], [true, 73, 1232]);
  const query = encodeDns({ ...emptyMessage, questions: [{ name: 'big.shop.svc.cluster.local', type: 1, class: 1 }] });
  const whole = decodeDns((await dns.answer(query, 'tcp'))!);
  assert.equal([whole.truncated, whole.answers.length], [false, 100]);
  dns.update(() => items);
});

test('what is no question of this server', async () => {
  const code = async (over: Partial<DnsMessage>): Promise<number> => (await ask('web.shop.svc.cluster.local', 'A', over)).rcode;
  const question = { name: 'web.shop.svc.cluster.local', type: 1, class: 1 };
  assert.is(await code({ opcode: 5 }), 4);
  assert.is(await code({ questions: [] }), 1);
  assert.is(await code({ questions: [question, question] }), 1);
  assert.is(await code({ questions: [{ ...question, class: 3 }] }), 5);
  assert.is(await code({ questions: [{ ...question, type: 252 }] }), 5);
  assert.is(await code({ edns: { udpSize: 512, version: 1, dnssecOk: false, options: Buffer.alloc(0) } }), 16);
  assert.is(dns.answer(encodeDns({ ...emptyMessage, response: true, questions: [question] }), 'udp'), undefined);
  assert.is(dns.answer(Buffer.from('short'), 'udp'), undefined);
  assert.is(decodeDns((await dns.answer(Buffer.from('00070100000100000000000003'.padEnd(40, 'f'), 'hex'), 'udp'))!).rcode, 1);
});

test.run();
