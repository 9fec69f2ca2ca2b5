import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createProxy } from '../../../agent/net/proxy.ts';
import { Reach } from '../../../agent/net/reach.ts';
import type { RelayWish } from '../../../agent/net/relay.ts';
import type { Backend } from '../../../agent/net/routes.ts';
import type { TcpEngine } from '../../../agent/net/tcp.ts';
import { createPortableEngine } from '../../../agent/net/tcp-portable.ts';
import { createRawEngine } from '../../../agent/net/tcp-raw.ts';
import { relay } from '../../../agent/streams/port-forward.ts';
import type { ByteStream } from '../../../shared/byte-stream.ts';
import { Channel, relayWindow } from '../../../shared/channel.ts';
import { systemClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';

/** Two channels with nothing but the event loop between them: the master's side, joined, and that of the pod's node. */
class Way {
  readonly near: Channel;
  readonly #far: Channel;
  readonly wishes: RelayWish[] = [];
  /** Port on 127.0.0.1 that the far node finds the pod at. */
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
    const side = (name: 'master' | 'agent', other: () => Channel): Channel => {
      let buffered = 0;
      return new Channel({
        side: name, bufferedBytes: () => buffered,
        send: (frame, sent) => {
          const copy = Uint8Array.from(frame);
          buffered += copy.length;
          setImmediate(() => { buffered -= copy.length; other().receive(copy); sent?.(); });
        },
      });
    };
    this.near = side('agent', () => this.#far);
    this.#far = side('master', () => this.near);
  }

  readonly open = (wish: RelayWish): ByteStream => {
    this.wishes.push(wish);
    const stream = this.near.open(relayWindow);
    void this.#serve(this.#far.accept(stream.id, relayWindow), wish.address === '127.0.9.2' ? 1 : this.#port);
    return stream;
  };

  /** As the connection to the master does with what it is asked for. */
  async #serve(stream: ByteStream, port: number): Promise<void> {
    const abort = new AbortController();
    stream.onReset(() => abort.abort());
    try {
      const request = { type: 'relay', namespace: 'default', pod: 'web', uid: '', port } as const;
      for await (const bytes of relay(request, stream, { address: () => '127.0.0.1' }, abort.signal)) await stream.write(bytes);
      stream.end();
      stream.discard();
    } catch (error) {
      stream.reset(502, (error as Error).message);
    }
  }
}

interface Scene { readonly way: Way; readonly port: number; readonly stop: () => Promise<void>; readonly stats: () => { relayed: number; established: number; failedConnects: number; descriptors: number } }

/** A proxy in front of `backends`, which the far node has at `server`. */
async function scene(engine: TcpEngine, server: Server, backends: readonly Backend[], isInside = true): Promise<Scene> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const way = new Way((server.address() as AddressInfo).port);
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => { free.close(resolve); });
  const reach = new Reach({ clock: systemClock, nodeName: 'n1', isInside: () => isInside });
  const proxy = createProxy({ clock: systemClock, log: silentLog, random: () => 0, tcp: engine, relays: { reach, linked: () => true, open: way.open } });
  const abort = new AbortController();
  const running = proxy.run(abort.signal);
  proxy.apply([{ protocol: 'TCP', address: '127.0.0.1', port, service: 'default/web:http', affinitySeconds: 0, backends }]);
  await proxy.settled();
  return { way, port, stats: () => proxy.stats(), stop: async () => { abort.abort(); await running; server.close(); } };
}

const far: Backend = { address: '127.0.9.1', port: 80, nodeName: 'n2', slice: 'default/web-1' };

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error('not within 20 s');
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
}

function tests(name: string, make: () => TcpEngine): void {
  const test = suite(`relay with the ${name} engine`);

  test('a connection is byte-exact both ways, and each direction ends by itself', async () => {
    const payload = Buffer.alloc(5_000_000, 'wherry and some more');
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      const parts: Buffer[] = [];
      socket.on('error', () => {}).on('data', (part) => parts.push(part)).on('end', () => socket.end(Buffer.concat(parts)));
    });
    const { port, stats, way, stop } = await scene(make(), echo, [far]);
    const parts: Buffer[] = [];
    const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true }).on('data', (part) => parts.push(part));
    client.end(payload);
    await once(client, 'end');
    assert.ok(Buffer.concat(parts).equals(payload));
    assert.equal(way.wishes, [{ namespace: 'default', slice: 'web-1', address: '127.0.9.1', port: 80 }]);
    await until(() => stats().established === 0 && stats().descriptors === 1 && way.near.size === 0);
    assert.is(stats().relayed, 1);
    await stop();
  });

  test('a reset of either side becomes one of the other', async () => {
    const accepted: Socket[] = [];
    const resets: string[] = [];
    const server = createServer((socket) => { accepted.push(socket.on('error', (error: NodeJS.ErrnoException) => resets.push(`server ${error.code}`)).on('data', () => {})); });
    const { port, stats, stop } = await scene(make(), server, [far]);
    const dial = async (): Promise<Socket> => {
      const before = accepted.length;
      const socket = connect(port, '127.0.0.1').on('error', (error: NodeJS.ErrnoException) => resets.push(`client ${error.code}`)).on('data', () => {});
      socket.write('hello');
      await until(() => accepted.length > before);
      return socket;
    };
    await dial();
    accepted[0]!.resetAndDestroy();
    await until(() => resets.length === 1);
    const client = await dial();
    client.resetAndDestroy();
    await until(() => resets.length === 2);
    assert.equal(resets, ['client ECONNRESET', 'server ECONNRESET']);
    // Gone before the master's answer has come, or just after: the pod hears of it all the same.
    for (let count = 0; count < 20; count++) {
      const hasty = connect(port, '127.0.0.1').on('error', () => {}).on('data', () => {});
      const before = accepted.length;
      await until(() => accepted.length > before);
      hasty.resetAndDestroy();
    }
    await until(() => accepted.every((socket) => socket.destroyed));
    await until(() => stats().established === 0);
    await stop();
  });

  test('a client that reads nothing stops the pod', async () => {
    let sent = 0;
    const server = createServer((socket) => {
      const chunk = Buffer.alloc(65_536);
      const more = (): void => { do sent += chunk.length; while (!socket.destroyed && socket.write(chunk)); };
      socket.on('error', () => {}).on('drain', more);
      more();
    });
    const { port, stop } = await scene(make(), server, [far]);
    const client = connect(port, '127.0.0.1').pause().on('error', () => {});
    let last = -1;
    while (sent !== last) {
      last = sent;
      await new Promise((resolve) => { setTimeout(resolve, 300); });
    }
    assert.ok(sent < 64 * 2 ** 20, `${sent} bytes sent`);
    client.destroy();
    await stop();
  });

  test('a pod that refuses is left for the next; one that is out of direct reach is asked for through the master', async () => {
    const server = createServer((socket) => { socket.on('error', () => {}).end('here'); });
    const refusing: Backend = { ...far, address: '127.0.9.2' };
    // Nothing listens at either address on this host.
    const { port, way, stats, stop } = await scene(make(), server, [refusing, far], false);
    const parts: Buffer[] = [];
    await once(connect(port, '127.0.0.1').on('data', (part) => parts.push(part)), 'close');
    assert.is(Buffer.concat(parts).toString(), 'here');
    assert.equal(way.wishes.map(({ address }) => address), ['127.0.9.2', '127.0.9.1']);
    assert.is(stats().failedConnects, 1);
    await stop();
  });

  test.run();
}

if (!('deno' in process.versions)) tests('raw', () => createRawEngine(systemClock));
tests('portable', () => createPortableEngine());
