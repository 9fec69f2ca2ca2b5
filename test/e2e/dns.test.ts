import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** Cluster DNS and what pods are told of names, on two hosts: real lookups from containers, with a master and without. */
const test = suite('cluster dns');
const image = 'wherry-test/busybox';
const domain = 'edge.test';
const idle = "trap 'exit 0' TERM; while true; do sleep 1; done";
let lab: Lab;
let folder = '';

const pod = (name: string, host: number, spec: object = {}, labels: object = {}): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name, labels },
  spec: { nodeName: `node${host}`, terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', idle] }], ...spec },
});
const service = (name: string, spec: object): object => ({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec });
const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
const db = { subdomain: 'db' };

const items = [
  service('web', { selector: { app: 'web' }, ports }), pod('web', 2, {}, { app: 'web' }),
  service('db', { clusterIP: 'None', selector: { app: 'db' }, ports }),
  pod('db-0', 1, { hostname: 'db-0', ...db }, { app: 'db' }), pod('db-1', 2, { hostname: 'db-1', ...db, setHostnameAsFQDN: true }, { app: 'db' }),
  service('shop', { type: 'ExternalName', externalName: 'www.shop.test' }),
  pod('client', 1, { hostAliases: [{ ip: '192.0.2.1', hostnames: ['printer', 'printer.lan'] }], dnsConfig: { searches: ['extra.test'], options: [{ name: 'timeout', value: '9' }] } }),
  pod('on-host', 1, { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }),
  pod('as-host', 1, { dnsPolicy: 'Default' }),
  pod('alone', 1, { dnsPolicy: 'None', dnsConfig: { nameservers: ['192.0.2.53'] } }),
];

/** A resolver of the data centre, which knows any name below `test` but its own. */
const resolver = `
  const socket = require('node:dgram').createSocket('udp4');
  require('node:fs').writeFileSync(process.argv[1], String(process.pid));
  socket.on('message', (query, from) => {
    const end = query.indexOf(0, 12) + 5;
    const known = query.toString('latin1', 12, end).includes('\\x04shop\\x04test') && query.readUInt16BE(end - 4) === 1;
    const reply = Buffer.concat([query.subarray(0, end), known ? Buffer.from('c00c00010001000000050004c0000250', 'hex') : Buffer.alloc(0)]);
    reply.writeUInt16BE(known ? 0x8180 : 0x8183, 2);
    reply.writeUInt16BE(known ? 1 : 0, 6);
    reply.writeUInt16BE(0, 8);
    reply.writeUInt16BE(0, 10);
    socket.send(reply, from.port, from.address);
  }).bind(53, '10.99.0.254');`;

/** Through the engine, so that it works without a master. */
async function inPod(host: number, name: string, ...command: string[]): Promise<string> {
  const id = (await lab.docker(host, 'ps', '-q', '--filter', `name=k8s_main_${name}_default_`)).trim();
  return lab.docker(host, 'exec', id, ...command);
}

/** What nslookup says, after it has told of its server; `;` for new lines. */
async function lookup(name: string, type = 'a', from: readonly [number, string] = [1, 'client']): Promise<string> {
  const text = await inPod(...from, 'sh', '-c', `nslookup -type=${type} ${name} 2>&1; true`);
  return text.split('\n').slice(3).map((line) => line.trim().replace(/\s+/g, ' ')).filter(Boolean).join('; ');
}

const reverse = (ip: string): string => `${ip.split('.').reverse().join('.')}.in-addr.arpa`;
const podIP = (name: string): Promise<string> => lab.kubectl('get', 'pod', name, '-o', 'jsonpath={.status.podIP}');
const ips: Record<string, string> = {};
let webIP = '';

/** What must be answered whatever else goes on in the world. */
async function clusterNames(): Promise<void> {
  assert.match(await lookup(`web.default.svc.${domain}`), `Name: web.default.svc.${domain}; Address: ${webIP}`);
  assert.match(await lookup(`db-1.db.default.svc.${domain}`), `Address: ${ips['db-1']}`);
  assert.match(await lookup(`nosuch.default.svc.${domain}`), 'NXDOMAIN');
  // As programs ask: by the search list of resolv.conf.
  assert.match(await inPod(1, 'client', 'sh', '-c', 'ping -c 1 -W 1 web 2>&1 | head -1'), `(${webIP})`);
}

test.before(async () => {
  await buildBusybox();
  folder = await mkdtemp(join(tmpdir(), 'dns-e2e-'));
  await writeFile(join(folder, 'resolv.conf'), 'nameserver 10.99.0.254\nsearch shop.test\n');
  // Each agent with a resolv.conf of its host's own.
  await writeFile(join(folder, 'agent.sh'), `mount --make-rprivate / && mount --bind ${join(folder, 'resolv.conf')} /etc/resolv.conf && exec "$@"\n`);
  lab = await createLab({
    hosts: 2, name: 'dnse', images: [image], masterFlags: ['--cluster-domain', domain],
    agentCommand: ['unshare', '--mount', 'sh', join(folder, 'agent.sh'), process.execPath, new URL('../../agent/main.js', import.meta.url).pathname],
  });
  lab.on(0, process.execPath, '-e', resolver, join(folder, 'pid')).catch(() => {});
  await lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }), 'apply', '-f', '-');
  await lab.kubectl('wait', '--for=condition=Ready', '--timeout=180s', 'pod', '--all');
  for (const name of ['db-0', 'db-1', 'client']) ips[name] = await podIP(name);
  webIP = await lab.kubectl('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}');
  await until('DNS knows the last pod', 30_000, async () => (await lookup(`db-1.db.default.svc.${domain}`)).includes(ips['db-1']!));
});

test.after(async () => {
  const pid = Number(await readFile(join(folder, 'pid'), 'utf8').catch(() => ''));
  if (pid) try { process.kill(pid); } catch { /* Gone. */ }
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

test('kubectl shows where cluster DNS is', async () => {
  assert.is(await lab.kubectl('get', 'service', 'kube-dns', '-n', 'kube-system', '-o', 'jsonpath={.spec.clusterIP} {.spec.ports[*].protocol}'), '10.96.0.10 UDP TCP');
});

test('names of services and pods, from both hosts and from the host\'s network', async () => {
  await clusterNames();
  for (const from of [[2, 'web'], [1, 'on-host']] as [number, string][]) assert.match(await lookup(`web.default.svc.${domain}`, 'a', from), `Address: ${webIP}`);
  const both = await lookup(`db.default.svc.${domain}`);
  for (const name of ['db-0', 'db-1']) assert.match(both, `Address: ${ips[name]}`);
  assert.match(await lookup(`kubernetes.default.svc.${domain}`), 'Address: 10.96.0.1');
  assert.match(await lookup(`_http._tcp.db.default.svc.${domain}`, 'srv'), `service = 0 50 8080 db-0.db.default.svc.${domain}`);
  assert.match(await lookup(reverse(webIP), 'ptr'), `name = web.default.svc.${domain}`);
  assert.match(await lookup(reverse(ips['db-1']!), 'ptr'), `name = db-1.db.default.svc.${domain}`);
});

test('other names, and aliases of them, are the host\'s resolver\'s to tell', async () => {
  assert.match(await lookup('www.shop.test'), 'Address: 192.0.2.80');
  assert.match(await lookup(`shop.default.svc.${domain}`), 'Address: 192.0.2.80');
  assert.match(await lookup('nosuch.other.test'), 'NXDOMAIN');
});

test('resolv.conf as policy and dnsConfig have it', async () => {
  const file = (name: string): Promise<string> => inPod(1, name, 'cat', '/etc/resolv.conf');
  const search = `search default.svc.${domain} svc.${domain} ${domain} shop.test`;
  assert.is(await file('client'), `${search} extra.test\nnameserver 10.96.0.10\noptions ndots:5 timeout:9\n`);
  assert.is(await file('on-host'), `${search}\nnameserver 10.96.0.10\noptions ndots:5\n`);
  assert.is(await file('as-host'), 'search shop.test\nnameserver 10.99.0.254\n');
  assert.is(await file('alone'), 'nameserver 192.0.2.53\n');
});

test('/etc/hosts and host names', async () => {
  const client = await inPod(1, 'client', 'cat', '/etc/hosts');
  assert.ok(client.startsWith('# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n'));
  assert.ok(client.endsWith(`${ips['client']}\tclient\n\n# Entries added by HostAliases.\n192.0.2.1\tprinter\tprinter.lan\n`), client);
  assert.match(await inPod(1, 'client', 'sh', '-c', 'ping -c 1 -W 1 printer 2>&1 | head -1'), '(192.0.2.1)');
  assert.match(await inPod(1, 'on-host', 'cat', '/etc/hosts'), /^# Kubernetes-managed hosts file \(host network\)\.\n/);
  assert.match(await inPod(2, 'db-1', 'cat', '/etc/hosts'), `${ips['db-1']}\tdb-1.db.default.svc.${domain}\tdb-1\n`);
  assert.equal([await inPod(1, 'db-0', 'hostname'), await inPod(1, 'db-0', 'hostname', '-f'), await inPod(2, 'db-1', 'hostname')].map((text) => text.trim()),
    ['db-0', `db-0.db.default.svc.${domain}`, `db-1.db.default.svc.${domain}`]);
});

test('a new service has its name within moments', async () => {
  await lab.kubectlWith(JSON.stringify(service('fresh', { clusterIP: '10.96.0.77', ports })), 'apply', '-f', '-');
  await until('it is found', 10_000, async () => (await lookup(`fresh.default.svc.${domain}`)).includes('10.96.0.77'));
});

test('without a master, with an agent that was restarted, and cut off from everything', async () => {
  await lab.killMaster();
  await clusterNames();
  await lab.killAgent(1);
  await lab.startAgent(1);
  await until('DNS is back', 60_000, async () => (await lookup(`web.default.svc.${domain}`)).includes(webIP));
  await clusterNames();
  assert.match(await lookup('www.shop.test'), 'Address: 192.0.2.80');
  await lab.host('cut', 1);
  await clusterNames();
  assert.match(await lookup('www.elsewhere.test'), /SERVFAIL|server failure/i);
  await lab.host('heal', 1);
});

test('after a power cut, still without a master, pods know their new addresses', async () => {
  await lab.killAgent(1);
  await lab.host('kill', 1);
  await lab.host('start', 1);
  await lab.startAgent(1);
  await until('the pod runs', 120_000, async () => (await inPod(1, 'client', 'hostname')).trim() === 'client');
  const own = (await inPod(1, 'client', 'hostname', '-i')).trim();
  assert.match(await inPod(1, 'client', 'sh', '-c', 'ip -4 addr show dev eth0'), `inet ${own}/`);
  const dbOwn = await until('db-0 runs', 60_000, async () => (await inPod(1, 'db-0', 'hostname', '-i')).trim());
  await until('DNS tells its address', 60_000, async () => (await lookup(`db-0.db.default.svc.${domain}`)).includes(`Address: ${dbOwn}`));
  assert.match(await lookup(`web.default.svc.${domain}`), `Address: ${webIP}`);
});

test.run();
