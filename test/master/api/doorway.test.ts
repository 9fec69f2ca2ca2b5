import { createServer, type Server } from 'node:https';
import { connect as connectPlain, createServer as createTcp, type AddressInfo } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock, type Clock } from '../../../shared/clock.ts';
import { silentLog, type Log } from '../../../shared/log.ts';
import { Doorway } from '../../../master/api/doorway.ts';
import { issue } from '../../../master/certificates.ts';
import { makePki, until } from '../../fakes/tls-master.ts';

const test = suite('doorway');
const pki = await makePki();

interface Guarded { readonly door: Doorway; readonly server: Server; readonly port: number; close(): Promise<void> }

async function guarded(options: { welcome?: () => boolean; max?: number; perTurn?: number; maxWaitMs?: number; ticketKeys?: Buffer; clock?: Clock; log?: Log } = {}): Promise<Guarded> {
  const { welcome = () => true, max = 100, ticketKeys, clock = systemClock, ...pace } = options;
  const door = new Doorway({ clock, guests: { protocol: 'wherry', welcome, max }, ...pace });
  const server = createServer({ key: pki.server.key, cert: pki.server.certificate, ca: pki.authority.certificate, requestCert: true, rejectUnauthorized: false, sessionIdContext: 'wherry', ...(ticketKeys ? { ticketKeys } : {}) }, (req, res) => res.end(`${(req.socket as TLSSocket).getPeerCertificate().subject?.CN ?? 'nobody'} ${req.url}`));
  door.guard(server);
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    door, server, port: (server.address() as AddressInfo).port,
    close: async () => { server.closeAllConnections(); await new Promise((resolve) => { server.close(resolve); }); },
  };
}

interface Dialled { readonly socket: TLSSocket; readonly done: Promise<string>; session: Buffer | undefined; reused: boolean }

/** Connects, asks for a path, and gives the answer's body; `''` when the connection ends before. */
function dial(port: number, protocols: string[], more: { session?: Buffer; key?: string; cert?: string } = {}): Dialled {
  const socket = connect({ host: '127.0.0.1', port, servername: 'kubernetes.default.svc', ca: pki.authority.certificate, ALPNProtocols: protocols, ...more });
  const dialled: Dialled = {
    socket, session: undefined, reused: false,
    done: new Promise((resolve) => {
      let text = '';
      socket.on('secureConnect', () => {
        dialled.reused = socket.isSessionReused();
        socket.write('GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      });
      socket.on('data', (bytes) => { text += String(bytes); });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text.split('\r\n\r\n')[1] ?? ''));
    }),
  };
  socket.on('session', (session) => { dialled.session = session; });
  return dialled;
}

const agent = ['wherry', 'http/1.1'];
const client = ['http/1.1'];

test('everybody is served through the door', async () => {
  const { port, door, close } = await guarded({ perTurn: 1 });
  const answers = await Promise.all([...Array.from({ length: 20 }, () => dial(port, agent)), dial(port, client)].map(({ done }) => done));
  assert.equal([...new Set(answers)], ['nobody /x']);
  await until('their places are free again', () => door.stats.guests === 0 && door.stats.waiting === 0);
  await close();
});

test('agents wait while they cannot be served, others do not', async () => {
  let open = false;
  const { port, door, close } = await guarded({ welcome: () => open });
  const waiting = [dial(port, agent), dial(port, agent)];
  await until('both wait', () => door.stats.waiting === 2);
  assert.is(await dial(port, client).done, 'nobody /x');
  assert.is(door.stats.waiting, 2);
  open = true;
  assert.equal(await Promise.all(waiting.map(({ done }) => done)), ['nobody /x', 'nobody /x']);
  await close();
});

test('who has waited too long, and who is one too many, is turned away', async () => {
  const { port, door, close } = await guarded({ welcome: () => false, max: 2, maxWaitMs: 300 });
  const first = [dial(port, agent), dial(port, agent)];
  await until('two wait', () => door.stats.waiting === 2);
  assert.is(await dial(port, agent).done, '');
  assert.equal(await Promise.all(first.map(({ done }) => done)), ['', '']);
  await until('nobody is left', () => door.stats.guests === 0 && door.stats.waiting === 0);
  assert.is(await dial(port, client).done, 'nobody /x');
  await close();
});

test('others who wait are limited too, and their handshakes do not all come before the agents\'', async () => {
  const { port, door, close } = await guarded({ perTurn: 2 });
  const order: string[] = [];
  const crowd = [...Array.from({ length: 60 }, () => ['agent', agent] as const), ...Array.from({ length: 150 }, () => ['client', client] as const)];
  await Promise.all(crowd.map(async ([who, protocols]) => {
    assert.is(await dial(port, protocols).done, 'nobody /x');
    order.push(who);
  }));
  await until('all are gone', () => door.stats.guests === 0 && door.stats.others === 0);
  assert.ok(order.indexOf('agent') < 120, 'agents enter while others are still there');
  await close();
});

test('a first message in pieces is put together', async () => {
  const { port, door, close } = await guarded({ welcome: () => false });
  const hello = await new Promise<Buffer>((resolve) => {
    const tap = createTcp((socket) => { socket.on('error', () => {}).once('data', (bytes) => { socket.destroy(); tap.close(); resolve(bytes); }); });
    tap.listen(0, '127.0.0.1', () => { dial((tap.address() as AddressInfo).port, agent); });
  });
  const slow = connectPlain(port, '127.0.0.1').on('error', () => {}).setNoDelay();
  for (let at = 0; at < hello.length; at += 100) {
    assert.is(door.stats.guests, 0);
    slow.write(hello.subarray(at, at + 100));
    await new Promise((resolve) => { setTimeout(resolve, 2); });
  }
  await until('it is known as an agent', () => door.stats.waiting === 1);
  slow.destroy();
  await until('and forgotten', () => door.stats.guests === 0);
  await close();
});

test('that the limit turns agents away is said once a minute', async () => {
  const said: string[] = [];
  const { port, close } = await guarded({ welcome: () => false, max: 0, log: { ...silentLog, warn: (message, fields) => { said.push(`${message} ${JSON.stringify(fields)}`); } } });
  for (let tries = 0; tries < 3; tries++) assert.is(await dial(port, agent).done, '');
  assert.is(said.length, 1);
  assert.match(said[0]!, /LimitNOFILE.*"held":0,"turnedAway":1/);
  await close();
});

test('who hangs up while waiting is forgotten', async () => {
  const { port, door, close } = await guarded({ welcome: () => false });
  const [gone, stays] = [dial(port, agent), dial(port, agent)];
  await until('both wait', () => door.stats.guests === 2);
  gone.socket.destroy();
  await until('one is forgotten', () => door.stats.guests === 1);
  assert.not(stays.socket.destroyed);
  stays.socket.destroy();
  await close();
});

test('in order while waits are short, and the newest first when they are long: somebody is always served in time', async () => {
  for (const [waitedMs, order] of [[0, [0, 1, 2]], [6000, [2, 1, 0]]] as const) {
    let open = false;
    let nowMs = 1000;
    const clock = { ...systemClock, now: () => systemClock.now(), after: (ms: number, run: () => void) => systemClock.after(ms, run), monotonic: () => nowMs };
    const { port, door, close } = await guarded({ clock, welcome: () => open, perTurn: 1, maxWaitMs: 10_000 });
    assert.is(door.stats.crowdedMs, -Infinity);
    const dialled: Dialled[] = [];
    const served: number[] = [];
    for (const index of [0, 1, 2]) {
      dialled.push(dial(port, agent));
      void dialled[index]!.done.then((body) => { if (body) served.push(index); });
      await until('it waits', () => door.stats.waiting === index + 1);
    }
    nowMs += waitedMs;
    if (waitedMs > 0) await until('the crowd is noticed', () => door.stats.crowdedMs === nowMs);
    open = true;
    await Promise.all(dialled.map(({ done }) => done));
    assert.equal(served, order);
    await close();
  }
});

test('a connection that says nothing, or no TLS, hinders nobody', async () => {
  const { port, close } = await guarded();
  const silent = connectPlain(port, '127.0.0.1');
  const wrong = connectPlain(port, '127.0.0.1', () => wrong.write('GET / HTTP/1.1\r\n\r\n'));
  for (const socket of [silent, wrong]) socket.on('error', () => {});
  assert.is(await dial(port, agent).done, 'nobody /x');
  silent.destroy();
  wrong.destroy();
  await close();
});

test('a TLS session, certificate included, is resumed by the next server with the same ticket keys, and by no other', async () => {
  const keys = Buffer.alloc(48, 7);
  const pair = await issue(pki.authority, { subject: { name: 'system:node:n1' }, use: 'client', days: 1 });
  const identity = { key: pair.key, cert: pair.certificate };
  const first = await guarded({ ticketKeys: keys });
  const full = dial(first.port, agent, identity);
  assert.is(await full.done, 'system:node:n1 /x');
  assert.not(full.reused);
  await first.close();
  for (const ticketKeys of [keys, Buffer.alloc(48, 9)]) {
    const next = await guarded({ ticketKeys });
    const again = dial(next.port, agent, { ...identity, session: full.session! });
    assert.is(await again.done, 'system:node:n1 /x');
    assert.is(again.reused, ticketKeys === keys);
    await next.close();
  }
});

test.run();
