import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { createProxy } from '../../agent/net/proxy.ts';
import type { Proxy, ProxyOptions } from '../../agent/net/proxy.ts';
import type { Backend, Listener } from '../../agent/net/routes.ts';
import { selfTest } from '../../agent/net/tcp.ts';
import type { TcpEngine } from '../../agent/net/tcp.ts';

/** A proxy with one TCP listener on `127.0.1.1`, and the way to stop it. */
interface Setup { readonly proxy: Proxy; readonly port: number; route(backends: readonly Backend[], over?: Partial<Listener>): Promise<void>; stop(): Promise<void> }

const address = '127.0.1.1';

/** What every TCP engine must do, alone and under the proxy. `create` is called for each test. */
export function tcpEngineContract(name: string, create: () => TcpEngine): void {
  const test = suite(`tcp engine: ${name}`);
  const cleanups: (() => unknown)[] = [];
  test.after.each(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function backend(serve: (socket: Socket) => void, host = '127.0.2.1', port = 0): Promise<Backend> {
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)));
      serve(socket);
    });
    const at = await listening(server, host, port);
    cleanups.push(() => { server.close(); for (const socket of sockets) socket.destroy(); });
    return { address: host, port: at };
  }

  async function setup(backends: readonly Backend[], options: Partial<ProxyOptions> = {}, over: Partial<Listener> = {}): Promise<Setup> {
    const proxy = createProxy({ clock: systemClock, log: silentLog, random: () => 0, tcp: create(), ...options });
    const stop = new AbortController();
    const running = proxy.run(stop.signal);
    const port = await freePort(address);
    const route = (targets: readonly Backend[], more: Partial<Listener> = {}): Promise<void> => {
      proxy.apply([{ protocol: 'TCP', address, port, service: 'default/web:http', affinitySeconds: 0, backends: targets, ...over, ...more }]);
      return proxy.settled();
    };
    const end = (): Promise<void> => { stop.abort(); return running; };
    cleanups.push(end);
    await route(backends);
    return { proxy, port, route, stop: end };
  }

  function client(port: number): Socket {
    const socket = connect({ host: address, port, allowHalfOpen: true }).on('error', () => {});
    cleanups.push(() => socket.destroy());
    return socket;
  }

  test('passes the self-test', () => selfTest(create(), systemClock));

  test('half-closed transfers of random shapes arrive byte-exact', async () => {
    // The first bytes say how much the backend sends; it ends its side before, while or after it reads.
    const received = new Map<string, Promise<string>>();
    const target = await backend((socket) => void serveShape(socket, received));
    const { port, proxy } = await setup([target]);
    const transfers = Array.from({ length: 36 }, async (_, index) => {
      const up = randomBytes(16 + Math.floor(Math.random() ** 3 * 3e6));
      const down = Math.floor(Math.random() ** 3 * 3e6);
      up.writeUInt32BE(down, 0);
      up[4] = index % 3;
      up.writeUInt32BE(index, 5);
      const socket = client(port);
      const answer = collect(socket);
      await send(socket, up);
      socket.end();
      const bytes = await answer;
      const digest = await received.get(String(index));
      assert.is(digest, hash(up), `request ${index}`);
      assert.is(bytes.length, down, `length of answer ${index}`);
      assert.is(hash(bytes), hash(pattern(down)), `answer ${index}`);
    });
    await Promise.all(transfers);
    await until(() => proxy.stats().established === 0 && proxy.stats().descriptors === 1, 'all connections are let go');
  });

  test('an answer can go on long after the client ended its side', async () => {
    const target = await backend((socket) => { socket.resume().on('end', () => setTimeout(() => socket.end('late'), 100)); });
    const { port } = await setup([target]);
    const socket = client(port);
    socket.end('request');
    assert.is(String(await collect(socket)), 'late');
  });

  test('a backend that ends first can still be written to', async () => {
    let heard: Promise<Buffer> | undefined;
    const target = await backend((socket) => { heard = collect(socket); socket.end('bye'); });
    const { port } = await setup([target]);
    const socket = client(port);
    assert.is(String(await collect(socket)), 'bye');
    socket.end('still here');
    assert.is(String(await heard), 'still here');
  });

  test('a reset by the backend reaches the client as one', async () => {
    const target = await backend((socket) => { socket.once('data', () => socket.resetAndDestroy()); });
    const { port, proxy } = await setup([target]);
    const socket = client(port);
    socket.write('x');
    assert.is(await failure(socket), 'ECONNRESET');
    await until(() => proxy.stats().established === 0, 'the connection is let go');
  });

  test('a reset by the client reaches the backend as one', async () => {
    let code: Promise<string> | undefined;
    const target = await backend((socket) => { code = failure(socket); socket.write('hello'); });
    const { port, proxy } = await setup([target]);
    const socket = client(port);
    await once(socket, 'data');
    socket.resetAndDestroy();
    assert.is(await code, 'ECONNRESET');
    await until(() => proxy.stats().established === 0, 'the connection is let go');
  });

  test('a reset while bytes wait for a slow reader frees everything', async () => {
    const flood = Buffer.alloc(1 << 20);
    const target = await backend((socket) => { const more = (): void => { while (!socket.destroyed && socket.write(flood)); }; socket.on('drain', more); more(); });
    const { port, proxy } = await setup([target]);
    const socket = client(port);
    await once(socket, 'data');
    socket.pause();
    await stalled(() => socket.bytesRead, 200);
    socket.resetAndDestroy();
    await until(() => proxy.stats().established === 0 && proxy.stats().descriptors === 1, 'the connection is let go');
  });

  test('a client that does not read stops the backend, in bounded memory', async () => {
    const chunk = pattern(1 << 18);
    const count = 400;
    let sent = 0;
    const target = await backend((socket) => {
      const more = (): void => {
        while (sent < count) { sent++; if (!socket.write(chunk)) return; }
        socket.end();
      };
      socket.on('drain', more);
      more();
    });
    const { port } = await setup([target]);
    const before = process.memoryUsage().arrayBuffers;
    const socket = client(port).pause();
    await stalled(() => sent, 300);
    assert.ok(sent < count / 2, `the backend could send ${sent} of ${count} chunks to a client that reads nothing`);
    assert.ok(process.memoryUsage().arrayBuffers - before < 8 << 20, `${process.memoryUsage().arrayBuffers - before} bytes of buffers`);
    const digest = createHash('sha256');
    socket.on('data', (part) => digest.update(part)).resume();
    await once(socket, 'end');
    const want = createHash('sha256');
    for (let index = 0; index < count; index++) want.update(chunk);
    assert.is(digest.digest('hex'), want.digest('hex'));
  });

  test('many slow readers, bulk and quiet connections at once stay apart', async () => {
    const target = await backend((socket) => { socket.pipe(socket); });
    const { port } = await setup([target]);
    const bulk = Array.from({ length: 8 }, async (_, index) => {
      const payload = Buffer.alloc(2 << 20, index + 1);
      const socket = client(port);
      const echoed = collect(socket, index % 2 === 0 ? 0 : 1);
      await send(socket, payload);
      socket.end();
      assert.ok((await echoed).equals(payload), `bulk ${index}`);
    });
    const quiet = Array.from({ length: 40 }, async (_, index) => {
      const socket = client(port);
      for (let round = 0; round < 50; round++) {
        const message = Buffer.from(`${index}/${round}:${'x'.repeat((index * round) % 900)}`);
        socket.write(message);
        assert.ok((await take(socket, message.length)).equals(message), `quiet ${index}`);
      }
      socket.destroy();
    });
    await Promise.all([...bulk, ...quiet]);
  });

  test('a connection that was busy, idle and busy again is byte-exact', async () => {
    const target = await backend((socket) => { socket.pipe(socket); });
    const { port } = await setup([target]);
    const socket = client(port);
    for (const [bytes, pauseMs] of [[1 << 20, 3_500], [100, 0], [1 << 20, 0], [10, 0]] as const) {
      const payload = randomBytes(bytes);
      const echoed = take(socket, bytes);
      await send(socket, payload);
      assert.ok((await echoed).equals(payload));
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  });

  test('backends take turns', async () => {
    const backends = await Promise.all([1, 2, 3].map((index) => backend((socket) => { socket.end(String(index)); }, `127.0.2.${index}`)));
    const { port } = await setup(backends);
    const answers: string[] = [];
    for (let index = 0; index < 9; index++) answers.push(String(await collect(client(port))));
    assert.equal(answers.sort().join(''), '111222333');
  });

  test('a backend that refuses costs no connection', async () => {
    const dead = { address: '127.0.2.9', port: await freePort('127.0.2.9') };
    const alive = await backend((socket) => { socket.end('alive'); });
    const { port, proxy } = await setup([dead, alive]);
    for (let index = 0; index < 6; index++) assert.is(String(await collect(client(port))), 'alive');
    assert.is(proxy.stats().failedConnects, 1, 'it is asked last for a while');
  });

  test('a backend that does not answer costs its connect timeout only', async () => {
    const full = await unresponsive(cleanups);
    const alive = await backend((socket) => { socket.end('alive'); });
    const { port, proxy } = await setup([full, alive], { connectTimeoutMs: 200 });
    assert.is(String(await collect(client(port))), 'alive');
    assert.is(proxy.stats().failedConnects, 1);
    assert.is(proxy.stats().dialing, 0);
  });

  test('no backend that answers: reset after a bounded number of attempts', async () => {
    const dead = await Promise.all(Array.from({ length: 6 }, async () => ({ address: '127.0.2.9', port: await freePort('127.0.2.9') })));
    const { port, proxy } = await setup(dead);
    assert.is(await failure(client(port)), 'ECONNRESET');
    assert.is(proxy.stats().failedConnects, 4);
    await until(() => proxy.stats().descriptors === 1, 'nothing is left behind');
  });

  test('no backend at all: refused, and served again when one comes', async () => {
    const target = await backend((socket) => { socket.end('hello'); });
    const { port, route } = await setup([]);
    assert.is(await failure(client(port)), 'ECONNREFUSED');
    await route([target]);
    assert.is(String(await collect(client(port))), 'hello');
    await route([]);
    assert.is(await failure(client(port)), 'ECONNREFUSED');
  });

  test('a backend that leaves keeps its connections and gets no more', async () => {
    const old = await backend((socket) => { socket.write('old'); socket.pipe(socket); });
    const young = await backend((socket) => { socket.end('new'); }, '127.0.2.2');
    const { port, route } = await setup([old]);
    const socket = client(port);
    assert.is(String(await take(socket, 3)), 'old');
    await route([young]);
    for (let index = 0; index < 3; index++) assert.is(String(await collect(client(port))), 'new');
    socket.write('still there?');
    assert.is(String(await take(socket, 12)), 'still there?');
  });

  test('a listener that goes refuses new connections and lets the others finish', async () => {
    const target = await backend((socket) => { socket.write('on'); socket.pipe(socket); });
    const { port, proxy } = await setup([target]);
    const socket = client(port);
    assert.is(String(await take(socket, 2)), 'on');
    proxy.apply([]);
    assert.is(await failure(client(port)), 'ECONNREFUSED');
    socket.end('last');
    assert.is(String(await collect(socket)), 'last');
    await until(() => proxy.stats().established === 0 && proxy.stats().descriptors === 0, 'nothing is left behind');
  });

  test('stopping resets what is established', async () => {
    const target = await backend((socket) => { socket.write('on'); });
    const { port, stop, proxy } = await setup([target]);
    const socket = client(port);
    await take(socket, 2);
    const code = failure(socket);
    await stop();
    assert.is(await code, 'ECONNRESET');
    assert.is(proxy.stats().descriptors, 0);
    assert.is(await failure(client(port)), 'ECONNREFUSED');
  });

  test('affinity keeps a client with its backend until it leaves', async () => {
    const backends = await Promise.all([1, 2, 3].map((index) => backend((socket) => { socket.end(String(index)); }, `127.0.2.${index}`)));
    const { port, route } = await setup(backends, {}, { affinitySeconds: 60 });
    const ask = async (from: string): Promise<string> => String(await collect(connect({ host: address, port, localAddress: from, allowHalfOpen: true })));
    const first = await ask('127.0.3.1');
    for (let index = 0; index < 5; index++) assert.is(await ask('127.0.3.1'), first);
    const others = new Set(await Promise.all([2, 3, 4].map((index) => ask(`127.0.3.${index}`))));
    assert.is(others.size, 3, 'other clients are spread');
    await route(backends.filter((_, index) => String(index + 1) !== first));
    assert.is.not(await ask('127.0.3.1'), first);
  });

  test('without descriptors it turns clients away, says so once, and recovers', async () => {
    const problems: string[] = [];
    const target = await backend((socket) => { socket.write('on'); });
    const { port, proxy } = await setup([target], { maxDescriptors: 5, onProblem: (_, error) => problems.push(error.code ?? '') });
    const held = [client(port), client(port)];
    for (const socket of held) await take(socket, 2);
    for (let index = 0; index < 3; index++) assert.is(await failure(client(port)), 'ECONNRESET');
    assert.equal(problems, ['EMFILE']);
    assert.is(proxy.stats().shed, 3);
    held[0]!.resetAndDestroy();
    await until(() => proxy.stats().established === 1, 'one is let go');
    const again = client(port);
    assert.is(String(await take(again, 2)), 'on');
  });

  // Deno starts programs in another way; its limit is the same kernel's.
  if (!('deno' in process.versions)) test('at the real limit of open files it sheds load and never stops listening', async () => {
    const target = await backend((socket) => { socket.write('on'); });
    const port = await freePort(address);
    const { child, lines } = proxyChild(name, port, target.port, 64);
    cleanups.push(() => child.kill('SIGKILL'));
    await until(() => lines.includes('ready'), 'the child listens');
    const sockets = Array.from({ length: 80 }, () => client(port));
    const outcomes = await Promise.all(sockets.map((socket) => Promise.race([take(socket, 2).then(String, () => 'closed'), failure(socket)])));
    const served = outcomes.filter((outcome) => outcome === 'on').length;
    assert.ok(served >= 10 && served < 40, `${served} of 80 served: ${outcomes.join(' ')}`);
    await until(() => lines.includes('problem EMFILE'), 'the problem is told');
    assert.is(lines.filter((line) => line === 'problem EMFILE').length, 1);
    for (const socket of sockets) socket.resetAndDestroy();
    let answer = '';
    await until(() => {
      const socket = client(port);
      take(socket, 2).then((bytes) => { answer = String(bytes); }, () => {});
      return answer === 'on';
    }, 'the child serves again');
    assert.is(child.exitCode, null);
  });

  test('a port that is taken is reported once and served when it is free', async () => {
    const squatter = createServer();
    const port = await listening(squatter, '0.0.0.0', 0);
    const problems: NodeJS.ErrnoException[] = [];
    const due: (() => void)[] = [];
    const clock = { ...systemClock, after: (ms: number, run: () => void) => (ms < 500 ? systemClock.after(ms, run) : (due.push(run), () => {})) };
    const target = await backend((socket) => { socket.end('mine'); });
    const { proxy } = await setup([], { clock, onProblem: (_, error) => problems.push(error) });
    proxy.apply([{ protocol: 'TCP', address, port, service: 'default/web:http', affinitySeconds: 0, backends: [target] }]);
    await proxy.settled();
    for (let round = 0; round < 3; round++) { due.splice(0).forEach((run) => run()); await proxy.settled(); }
    assert.equal(problems.map((error) => error.code), ['EADDRINUSE']);
    assert.match(problems[0]!.message, /127\.0\.1\.1:\d+\/TCP for service default\/web:http: port \d+ is already taken on this node/);
    assert.is(proxy.stats().listeners.failing, 1);
    squatter.close();
    await once(squatter, 'close');
    proxy.retry();
    await proxy.settled();
    assert.is(String(await collect(client(port))), 'mine');
  });

  test('an address that is not local is reported as such', async () => {
    const problems: NodeJS.ErrnoException[] = [];
    const { proxy } = await setup([], { onProblem: (_, error) => problems.push(error) });
    proxy.apply([{ protocol: 'TCP', address: '192.0.2.1', port: 80, service: 'default/web:http', affinitySeconds: 0, backends: [{ address: '127.0.2.1', port: 1 }] }]);
    await proxy.settled();
    assert.is(problems[0]?.code, 'EADDRNOTAVAIL');
    assert.match(problems[0]!.message, /route for the service range is missing/);
  });

  test('an external address that this node does not have is no problem', async () => {
    const problems: NodeJS.ErrnoException[] = [];
    const { proxy } = await setup([], { onProblem: (_, error) => problems.push(error) });
    const listener = { protocol: 'TCP', address: '192.0.2.1', port: 80, service: 'default/web:http', affinitySeconds: 0, backends: [{ address: '127.0.2.1', port: 1 }], external: true } as const;
    proxy.apply([listener]);
    await proxy.settled();
    assert.equal([problems, proxy.stats().listeners, proxy.listeners()], [[], { open: 0, opening: 0, failing: 0, empty: 1 }, [{ listener, state: 'empty', error: undefined }]]);
  });

  test.run();
}

/** Answers by the request's first bytes: how many to send, when to end, under which name to note the request's hash. */
async function serveShape(socket: Socket, received: Map<string, Promise<string>>): Promise<void> {
  const head = await new Promise<Buffer>((resolve) => {
    const onReadable = (): void => { const bytes = socket.read(16) as Buffer | null; if (bytes) { socket.off('readable', onReadable); resolve(bytes); } };
    socket.on('readable', onReadable);
  });
  const answer = pattern(head.readUInt32BE(0));
  const request = collect(socket).then((rest) => hash(Buffer.concat([head, rest])));
  received.set(String(head.readUInt32BE(5)), request);
  if (head[4] === 0) await request;
  await send(socket, answer);
  if (head[4] === 1) await request;
  socket.end();
}

function pattern(bytes: number): Buffer {
  const out = Buffer.allocUnsafe(bytes);
  for (let index = 0; index < bytes; index++) out[index] = (index * 31 + (index >> 8)) & 255;
  return out;
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Writes in pieces of random size and waits for room. */
async function send(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const piece = bytes.subarray(at, at + 1 + Math.floor(Math.random() * 200_000));
    at += piece.length;
    if (!socket.write(piece)) await once(socket, 'drain');
  }
}

/** Everything until the end; with `delayMs`, a slow reader. @throws when the connection is reset */
async function collect(socket: Socket, delayMs = 0): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    parts.push(part);
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
  return Buffer.concat(parts);
}

/** The next `count` bytes. */
async function take(socket: Socket, count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let missing = count;
  return new Promise((resolve, reject) => {
    const done = (run: () => void): void => { socket.off('data', onData).off('close', onClose).pause(); run(); };
    const onClose = (): void => done(() => reject(new Error(`closed, ${missing} bytes missing`)));
    const onData = (part: Buffer): void => {
      parts.push(part);
      missing -= part.length;
      if (missing <= 0) done(() => resolve(Buffer.concat(parts)));
    };
    socket.on('data', onData).on('close', onClose).resume();
  });
}

/** Code of the error that ends the connection; `end` when it ends well. */
function failure(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)).on('end', () => resolve('end')).resume();
  });
}

/** A listener that accepts nothing and whose queue is full: further connections are never answered. */
async function unresponsive(cleanups: (() => unknown)[]): Promise<Backend> {
  const host = '127.0.2.8';
  const script = `const server = require('node:net').createServer().listen({ host: '${host}', port: 0, backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port) + '\\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  })`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanups.push(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data') as [Buffer];
  const port = Number(String(line));
  for (let queued = 0; queued < 4; queued++) {
    const socket = connect({ host, port }).on('error', () => {});
    cleanups.push(() => socket.destroy());
    const connected = await Promise.race([once(socket, 'connect').then(() => true), new Promise((resolve) => setTimeout(resolve, 100))]);
    if (!connected) break;
  }
  return { address: host, port };
}

/** The proxy in a process that may open `limit` files. */
function proxyChild(engine: string, port: number, backendPort: number, limit: number): { child: ChildProcess; lines: string[] } {
  const script = fileURLToPath(import.meta.url.replace('contract/tcp-engine', 'agent/net/proxy-child'));
  const child = spawn('sh', ['-c', `ulimit -n ${limit}; exec "$@"`, 'sh', process.execPath, script, engine, String(port), String(backendPort)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  return { child, lines };
}

/** Waits until `value` stays the same for `ms`. */
async function stalled(value: () => number, ms: number): Promise<void> {
  for (let last = -1; last !== value();) {
    last = value();
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 5_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within 5 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function listening(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

async function freePort(host: string): Promise<number> {
  const server = createServer();
  const port = await listening(server, host, 0);
  server.close();
  await once(server, 'close');
  return port;
}
