import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createProxy } from '../../../agent/net/proxy.ts';
import type { Proxy, ProxyOptions } from '../../../agent/net/proxy.ts';
import type { Backend, Listener } from '../../../agent/net/routes.ts';
import { createPortableEngine } from '../../../agent/net/tcp-portable.ts';
import { systemClock } from '../../../shared/clock.ts';
import type { Clock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';

const test = suite('udp proxy');
const cleanups: (() => unknown)[] = [];
test.after.each(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const address = '127.0.1.2';

async function bound(host: string, port = 0): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  socket.bind(port, host);
  await once(socket, 'listening');
  cleanups.push(() => { try { socket.close(); } catch { /* closed by the test */ } });
  return socket;
}

/** Answers each packet with its own name and the packet. */
async function backend(name: string, host = '127.0.2.2'): Promise<Backend & { readonly socket: Socket }> {
  const socket = await bound(host);
  socket.on('message', (packet, from) => socket.send(`${name}:${packet}`, from.port, from.address));
  return { address: host, port: socket.address().port, socket };
}

interface Setup { readonly proxy: Proxy; readonly port: number; route(backends: readonly Backend[]): Promise<void> }

async function setup(backends: readonly Backend[], options: Partial<ProxyOptions> = {}, over: Partial<Listener> = {}): Promise<Setup> {
  const proxy = createProxy({ clock: systemClock, log: silentLog, random: () => 0, tcp: createPortableEngine(), ...options });
  const stop = new AbortController();
  const running = proxy.run(stop.signal);
  const probe = await bound(over.address ?? address);
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  const route = (targets: readonly Backend[]): Promise<void> => {
    proxy.apply([{ protocol: 'UDP', address, port, service: 'default/dns:dns', affinitySeconds: 0, backends: targets, ...over }]);
    return proxy.settled();
  };
  cleanups.push(async () => {
    stop.abort();
    await running;
    assert.is(proxy.stats().descriptors, 0, 'nothing is left behind');
  });
  await route(backends);
  return { proxy, port, route };
}

/** Sends one packet and gives the answer; its source must be the address that was asked. */
async function ask(socket: Socket, port: number, text: string, to = address): Promise<string> {
  socket.send(text, port, to);
  const [answer, from] = await once(socket, 'message') as [Buffer, { address: string; port: number }];
  assert.equal([from.address, from.port], [to, port]);
  return String(answer);
}

test('answers come back from the service address, and a client keeps its backend', async () => {
  const backends = [await backend('a'), await backend('b')];
  const { port, proxy } = await setup(backends);
  const one = await bound('127.0.3.1');
  const two = await bound('127.0.3.1');
  const first = await ask(one, port, 'x');
  for (let index = 0; index < 3; index++) assert.is(await ask(one, port, 'x'), first);
  assert.is.not(await ask(two, port, 'x'), first);
  assert.is(proxy.stats().udpFlows, 2);
});

test('packets keep their boundaries, empty and large ones too', async () => {
  const { port } = await setup([await backend('a')]);
  const client = await bound('127.0.3.1');
  for (const text of ['', 'x', 'y'.repeat(1_472), 'z'.repeat(60_000)]) assert.is(await ask(client, port, text), `a:${text}`);
});

test('a burst right at the start of a flow is not lost', async () => {
  const target = await bound('127.0.2.2');
  const { port } = await setup([{ address: '127.0.2.2', port: target.address().port }]);
  const client = await bound('127.0.3.1');
  const seen: string[] = [];
  const all = new Promise<void>((resolve) => { target.on('message', (packet) => { if (seen.push(String(packet)) === 40) resolve(); }); });
  for (let index = 0; index < 40; index++) client.send(String(index), port, address);
  await all;
  assert.equal(seen, Array.from({ length: 40 }, (_, index) => String(index)), 'in order');
});

test('flows to a backend that leaves go elsewhere at once', async () => {
  const a = await backend('a');
  const b = await backend('b', '127.0.2.3');
  const { port, route, proxy } = await setup([a]);
  const client = await bound('127.0.3.1');
  assert.is(await ask(client, port, '1'), 'a:1');
  await route([b]);
  assert.is(proxy.stats().udpFlows, 0);
  assert.is(await ask(client, port, '2'), 'b:2');
  await route([b, a]);
  assert.is(await ask(client, port, '3'), 'b:3', 'a flow whose backend stays is not touched');
});

test('a backend that is not there is left for another', async () => {
  const gone = await bound('127.0.2.4');
  const dead = { address: '127.0.2.4', port: gone.address().port };
  gone.close();
  await once(gone, 'close');
  const { port, proxy } = await setup([dead, await backend('b')]);
  const client = await bound('127.0.3.1');
  let answer = '';
  client.on('message', (packet) => { answer = String(packet); });
  let sent = 0;
  await until(() => {
    if (answer === '') client.send(String(sent++), port, address);
    return answer !== '';
  });
  assert.match(answer, /^b:/);
  assert.is(proxy.stats().udpFlows, 1);
});

test('affinity holds across a client\'s ports', async () => {
  const backends = await Promise.all(['a', 'b', 'c'].map((name) => backend(name)));
  const { port } = await setup(backends, {}, { affinitySeconds: 60 });
  const first = await ask(await bound('127.0.3.1'), port, 'x');
  for (let index = 0; index < 4; index++) assert.is(await ask(await bound('127.0.3.1'), port, 'x'), first);
  const others = await Promise.all([2, 3].map(async (index) => ask(await bound(`127.0.3.${index}`), port, 'x')));
  assert.is(new Set([first, ...others]).size, 3);
});

test('flows end when they are idle: unanswered ones sooner', async () => {
  const { clock, advance } = manualClock();
  const answering = await backend('a');
  const silent = await bound('127.0.2.5');
  const { port, proxy } = await setup([answering, { address: '127.0.2.5', port: silent.address().port }], { clock });
  const talker = await bound('127.0.3.1');
  await ask(talker, port, '1');
  await ask(talker, port, '2');
  (await bound('127.0.3.2')).send('x', port, address);
  await once(silent, 'message');
  assert.is(proxy.stats().udpFlows, 2);
  advance(25_000);
  assert.is(proxy.stats().udpFlows, 2);
  advance(15_000);
  assert.is(proxy.stats().udpFlows, 1, 'the unanswered one is over');
  assert.is(await ask(talker, port, '3'), 'a:3');
  advance(110_000);
  assert.is(proxy.stats().udpFlows, 1, 'each packet starts the time again');
  advance(20_000);
  assert.is(proxy.stats().udpFlows, 0);
});

test('the number of flows is bounded; the idlest make room', async () => {
  const { port, proxy } = await setup([await backend('a')], { maxFlows: 5 });
  for (let index = 0; index < 12; index++) assert.is(await ask(await bound('127.0.3.1'), port, String(index)), `a:${index}`);
  assert.is(proxy.stats().udpFlows, 5);
});

test('without descriptors old flows make room too', async () => {
  const { port, proxy } = await setup([await backend('a')], { maxDescriptors: 3 });
  for (let index = 0; index < 4; index++) assert.is(await ask(await bound('127.0.3.1'), port, String(index)), `a:${index}`);
  assert.is(proxy.stats().udpFlows, 2);
});

test('a listener on one address stands beside one on the wildcard', async () => {
  const { port, proxy } = await setup([await backend('a')], {}, { address: '0.0.0.0' });
  const listener = (at: string, target: Backend): Listener => ({ protocol: 'UDP', address: at, port, service: 'default/dns:dns', affinitySeconds: 0, backends: [target] });
  proxy.apply([listener('0.0.0.0', await backend('wild')), listener('127.0.1.9', await backend('own'))]);
  await proxy.settled();
  assert.is(proxy.stats().listeners.open, 2);
  assert.is(await ask(await bound('127.0.3.1'), port, 'x', '127.0.1.9'), 'own:x');
  const client = await bound('127.0.0.1');
  assert.is(await ask(client, port, 'x', '127.0.0.1'), 'wild:x');
});

test('a port that is taken is reported', async () => {
  const problems: (string | undefined)[] = [];
  const taken = await bound('127.0.1.8');
  const { proxy } = await setup([], { onProblem: (_, error) => problems.push(error.code) });
  proxy.apply([{ protocol: 'UDP', address: '127.0.1.8', port: taken.address().port, service: 'default/dns:dns', affinitySeconds: 0, backends: [await backend('a')] }]);
  await proxy.settled();
  assert.equal(problems, ['EADDRINUSE']);
});

test('at 20,000 packets a second nothing is lost', async () => {
  const total = 10_000;
  const target = await bound('127.0.2.2');
  let arrived = 0;
  const all = new Promise<void>((resolve) => { target.on('message', () => { if (++arrived === total) resolve(); }); });
  const { port } = await setup([{ address: '127.0.2.2', port: target.address().port }]);
  const client = await bound('127.0.3.1');
  const packet = Buffer.alloc(100);
  for (let sent = 0; sent < total; sent += 20) {
    for (let index = 0; index < 20; index++) client.send(packet, port, address);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 2_000))]);
  assert.is(arrived, total);
});

/** A clock that moves when told to, and runs what has become due on its way. */
function manualClock(): { clock: Clock; advance(ms: number): void } {
  let now = 0;
  const timers = new Set<{ at: number; run: () => void }>();
  const clock: Clock = {
    now: () => now, monotonic: () => now,
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
  };
  return {
    clock,
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const next = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        timers.delete(next);
        now = next.at;
        next.run();
      }
      now = end;
    },
  };
}

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 5_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error('not within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test.run();
