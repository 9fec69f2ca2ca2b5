import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer, type Server } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ClusterDns, type DnsOptions } from '../../../agent/net/dns.ts';
import type { Upstream } from '../../../agent/net/dns-exchange.ts';
import { decodeDns, emptyMessage, encodeDns, recordType, type DnsMessage } from '../../../agent/net/dns-message.ts';
import { nameWire } from '../../../agent/net/dns-name.ts';
import { framed, MessageReader } from '../../../agent/net/dns-stream.ts';
import { systemClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import type { Item, ServiceItem } from '../../../shared/protocol.ts';

/** Real sockets on loopback: the server under test on one address, resolvers that behave in all ways on others. */
const test = suite('dns');
const address = '127.0.53.10';

const web: ServiceItem = {
  type: 'service', revision: 1, namespace: 'default', name: 'web', serviceType: 'ClusterIP', clusterIPs: ['10.96.7.1'], ports: [],
  affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false,
};
const outside: ServiceItem = { ...web, name: 'outside', serviceType: 'ExternalName', clusterIPs: [], externalName: 'www.example.com' };

type Answerer = (query: DnsMessage, transport: 'udp' | 'tcp') => Partial<DnsMessage> | undefined;
const a = (name: string, last: number, ttl = 60) => ({ name, type: recordType.A, class: 1, ttl, data: Buffer.from([192, 0, 2, last]) });

/** A resolver that is asked, and counts. */
class Resolver {
  readonly upstream: Upstream;
  readonly asked: string[] = [];
  readonly #udp: Socket;
  readonly #tcp: Server;

  private constructor(udp: Socket, tcp: Server, answer: Answerer) {
    this.#udp = udp;
    this.#tcp = tcp;
    this.upstream = { address: '127.0.0.1', port: udp.address().port };
    const made = (bytes: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined => {
      const query = decodeDns(bytes);
      this.asked.push(`${transport} ${query.questions[0]?.name}`);
      const over = answer(query, transport);
      return over && encodeDns({ ...emptyMessage, id: query.id, response: true, recursionAvailable: true, questions: query.questions, ...over });
    };
    udp.on('message', (bytes, from) => { const reply = made(bytes, 'udp'); if (reply) udp.send(reply, from.port, from.address); });
    tcp.on('connection', (socket) => {
      const reader = new MessageReader();
      socket.on('error', () => {}).on('data', (chunk: Buffer) => { for (const bytes of reader.push(chunk)) { const reply = made(bytes, 'tcp'); if (reply) socket.write(framed(reply)); } });
    });
  }

  /** On a port that is free for both protocols. */
  static async start(answer: Answerer): Promise<Resolver> {
    for (;;) {
      const udp = createSocket('udp4');
      await new Promise<void>((resolve) => { udp.bind(0, '127.0.0.1', resolve); });
      const tcp = createServer();
      const free = await new Promise<boolean>((resolve) => { tcp.once('error', () => resolve(false)).listen(udp.address().port, '127.0.0.1', () => resolve(true)); });
      if (free) return new Resolver(udp, tcp, answer);
      udp.close();
    }
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
  }
}

const running: { stop(): Promise<void> }[] = [];
const resolvers: Resolver[] = [];

async function resolver(answer: Answerer): Promise<Resolver> {
  const made = await Resolver.start(answer);
  resolvers.push(made);
  return made;
}

/** Starts a server, and resolves when its two sockets are open. */
async function start(upstreams: readonly Upstream[], items: readonly Item[] = [web, outside], over: Partial<DnsOptions> = {}): Promise<ClusterDns & { port: number }> {
  const free = createSocket('udp4');
  await new Promise<void>((resolve) => { free.bind(0, address, resolve); });
  const { port } = free.address();
  await new Promise<void>((resolve) => { free.close(() => resolve()); });
  const dns = new ClusterDns({ clock: systemClock, log: silentLog, random: () => 0, upstreams: async () => upstreams, port, ...over });
  dns.update(() => items);
  dns.serve({ domain: 'cluster.local', address, ranges: ['10.96.0.0/16'] });
  const abort = new AbortController();
  const done = dns.run(abort.signal);
  running.push({ stop: async () => { abort.abort(); await done; } });
  while (dns.stats.listening.length < 2 && !over.onProblem) await new Promise((resolve) => { setImmediate(resolve); });
  return Object.assign(dns, { port });
}

test.after.each(async () => {
  for (const one of running.splice(0)) await one.stop();
  for (const one of resolvers.splice(0)) one.close();
});

const queryOf = (name: string, over: Partial<DnsMessage> = {}): Buffer =>
  encodeDns({ ...emptyMessage, id: 4242, recursionDesired: true, questions: [{ name, type: recordType.A, class: 1 }], ...over });

async function overUdp(port: number, name: string, over: Partial<DnsMessage> = {}): Promise<DnsMessage> {
  const socket = createSocket('udp4');
  try {
    return await new Promise<DnsMessage>((resolve, reject) => {
      socket.on('message', (bytes) => resolve(decodeDns(bytes))).on('error', reject);
      socket.send(queryOf(name, over), port, address);
    });
  } finally {
    socket.close();
  }
}

function overTcp(port: number, names: readonly string[]): Promise<DnsMessage[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, allowHalfOpen: true });
    const reader = new MessageReader();
    const found: DnsMessage[] = [];
    socket.on('data', (chunk: Buffer) => { found.push(...reader.push(chunk).map((bytes) => decodeDns(bytes))); });
    socket.on('error', reject).on('end', () => { socket.end(); resolve(found); });
    const bytes = Buffer.concat(names.map((name) => framed(queryOf(name))));
    // In pieces that end anywhere.
    for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7));
    socket.end();
  });
}

const textOf = ({ answers }: DnsMessage): string => answers.map(({ type, data }) => (type === recordType.A ? [...data].join('.') : 'CNAME')).join(' ');

test('cluster names by UDP and TCP, with a resolver that says nothing', async () => {
  const mute = await resolver(() => undefined);
  const dns = await start([mute.upstream]);
  const one = await overUdp(dns.port, 'web.default.svc.cluster.local');
  assert.equal([one.id, one.rcode, one.authoritative, textOf(one)], [4242, 0, true, '10.96.7.1']);
  const both = await overTcp(dns.port, ['web.default.svc.cluster.local', 'nosuch.default.svc.cluster.local']);
  assert.equal(both.map(({ rcode }) => rcode), [0, 3]);
  assert.equal(mute.asked, []);
});

test('other names are asked of the host\'s resolver once, and remembered', async () => {
  const good = await resolver(({ questions }) => ({ answers: [a(questions[0]!.name, 1)] }));
  const dns = await start([good.upstream]);
  const [first, second, third] = [await overUdp(dns.port, 'example.com'), await overUdp(dns.port, 'EXAMPLE.com'), await overUdp(dns.port, 'other.example.com')];
  assert.equal([first, second, third].map(textOf), ['192.0.2.1', '192.0.2.1', '192.0.2.1']);
  assert.is(second.questions[0]?.name, 'EXAMPLE.com');
  assert.is(first.authoritative, false);
  assert.equal(good.asked, ['udp example.com', 'udp other.example.com']);
  assert.equal([dns.stats.asked, dns.stats.cached], [2, 1]);
});

test('the same question at once is asked once', async () => {
  const good = await resolver(({ questions }) => ({ answers: [a(questions[0]!.name, 1, 0)] }));
  const dns = await start([good.upstream]);
  const found = await Promise.all(Array.from({ length: 10 }, () => overUdp(dns.port, 'example.com')));
  assert.equal(found.map(textOf), Array.from({ length: 10 }, () => '192.0.2.1'));
  assert.ok(good.asked.length < 10, String(good.asked.length));
  // A time to live of 0 says not to remember it.
  const before = good.asked.length;
  await overUdp(dns.port, 'example.com');
  assert.is(good.asked.length, before + 1);
});

test('a long answer is fetched by TCP, and told to be cut off over UDP', async () => {
  const answers = (name: string) => Array.from({ length: 100 }, (_, index) => a(name, index));
  const long = await resolver(({ questions }, transport) => (transport === 'udp' ? { truncated: true } : { answers: answers(questions[0]!.name) }));
  const dns = await start([long.upstream]);
  const cut = await overUdp(dns.port, 'long.example.com');
  assert.is(cut.truncated, true);
  const [whole] = await overTcp(dns.port, ['long.example.com']);
  assert.equal([whole?.truncated, whole?.answers.length], [false, 100]);
  assert.equal(long.asked, ['udp long.example.com', 'tcp long.example.com']);
});

test('the next resolver is asked when one fails, refuses or says nothing', async () => {
  const closed: Upstream = { address: '127.0.0.1', port: 9 };
  const refusing = await resolver(() => ({ rcode: 5 }));
  const mute = await resolver(() => undefined);
  const good = await resolver(({ questions }) => ({ answers: [a(questions[0]!.name, 7)] }));
  const dns = await start([closed, refusing.upstream, mute.upstream, good.upstream]);
  assert.is(textOf(await overUdp(dns.port, 'example.com')), '192.0.2.7');
  assert.equal([refusing.asked.length, mute.asked.length], [1, 1]);
});

test('a name that does not exist stays so; an answer to another question is none', async () => {
  const liar = await resolver(() => ({ questions: [{ name: 'bank.example.com', type: 1, class: 1 }], answers: [a('bank.example.com', 66)] }));
  const soa = { name: 'example.com', type: recordType.SOA, class: 1, ttl: 60, data: Buffer.concat([nameWire('ns.example.com'), nameWire('root.example.com'), Buffer.alloc(16), Buffer.from([0, 0, 0, 60])]) };
  const honest = await resolver(() => ({ rcode: 3, authorities: [soa] }));
  const dns = await start([liar.upstream, honest.upstream]);
  for (let i = 0; i < 2; i++) {
    const { rcode, answers, authorities } = await overUdp(dns.port, 'nosuch.example.com');
    assert.equal([rcode, answers.length, authorities[0]?.name], [3, 0, 'example.com']);
  }
  assert.is(honest.asked.length, 1);
});

test('without any answer: SERVFAIL before clients give up, and then at once', async () => {
  const mute = await resolver(() => undefined);
  const dns = await start([mute.upstream]);
  assert.is((await overUdp(dns.port, 'example.com')).rcode, 2);
  const asked = mute.asked.length;
  for (let i = 0; i < 40; i++) assert.is((await overUdp(dns.port, `other-${i}.example.com`)).rcode, 2);
  // One may have tried whether it is back.
  assert.ok(mute.asked.length <= asked + 6, `${mute.asked.length} after ${asked}`);
  assert.is(textOf(await overUdp(dns.port, 'web.default.svc.cluster.local')), '10.96.7.1');
});

test('when nobody answers any more, what was last said counts; and the resolver is found again', async () => {
  let answers = true;
  const resolving = await resolver(({ questions }) => (answers ? { answers: [a(questions[0]!.name, 5, 1)] } : undefined));
  const dns = await start([resolving.upstream]);
  await overUdp(dns.port, 'example.com');
  answers = false;
  await new Promise((resolve) => { setTimeout(resolve, 1_100); });
  const late = await overUdp(dns.port, 'example.com');
  assert.equal([late.rcode, textOf(late)], [0, '192.0.2.5']);
  answers = true;
  for (let fresh = false; !fresh;) {
    const { rcode } = await overUdp(dns.port, 'fresh.example.com');
    fresh = rcode === 0;
    if (!fresh) await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
});

test('an ExternalName brings the addresses of what it stands for', async () => {
  const good = await resolver(({ questions }) => ({ answers: [a(questions[0]!.name, 3)] }));
  const dns = await start([good.upstream]);
  const { answers } = await overUdp(dns.port, 'outside.default.svc.cluster.local');
  assert.equal(answers.map(({ name, type }) => `${name} ${type}`), ['outside.default.svc.cluster.local 5', 'www.example.com 1']);
});

test('its own address is no resolver', async () => {
  const self: Upstream = { address, port: 0 };
  const dns = await start([self]);
  Object.assign(self, { port: dns.port });
  assert.is((await overUdp(dns.port, 'example.com')).rcode, 2);
});

test('what is not DNS is passed over, and the next question answered', async () => {
  const dns = await start([]);
  const socket = createSocket('udp4');
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(600, 0xc0), Buffer.alloc(12, 255)]) socket.send(bytes, dns.port, address);
  const junk = connect({ host: address, port: dns.port });
  junk.on('error', () => {}).write(Buffer.alloc(70_000, 0xff));
  assert.is(textOf(await overUdp(dns.port, 'web.default.svc.cluster.local')), '10.96.7.1');
  assert.is(textOf((await overTcp(dns.port, ['web.default.svc.cluster.local']))[0]!), '10.96.7.1');
  junk.destroy();
  socket.close();
});

test('a taken port is told once, and served when it is free', async () => {
  const holder = createServer();
  await new Promise<void>((resolve) => { holder.listen(0, address, resolve); });
  const { port } = holder.address() as { port: number };
  const problems: string[] = [];
  const dns = await start([], [web], { port, onProblem: (socket, error) => { problems.push(`${socket} ${error.code}`); } });
  while (problems.length === 0) await new Promise((resolve) => { setImmediate(resolve); });
  assert.is(textOf(await overUdp(port, 'web.default.svc.cluster.local')), '10.96.7.1');
  await new Promise<void>((resolve) => { holder.close(() => resolve()); });
  dns.retry();
  while (dns.stats.listening.length < 2) await new Promise((resolve) => { setTimeout(resolve, 10); });
  assert.equal(problems, [`TCP/${address}:${port} EADDRINUSE`]);
});

test('many questions on one connection, and a client that never reads', async () => {
  const dns = await start([]);
  const found = await overTcp(dns.port, Array.from({ length: 500 }, () => 'web.default.svc.cluster.local'));
  assert.is(found.length, 500);
  assert.ok(found.every((one) => textOf(one) === '10.96.7.1'));
});

test.run();
