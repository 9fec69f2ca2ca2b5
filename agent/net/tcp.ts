import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, OnReadOpts, Server, Socket } from 'node:net';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { createPortableEngine } from './tcp-portable.ts';
import { createRawEngine } from './tcp-raw.ts';

/** One end: accepted from a client, or on its way to a backend. Reads nothing until it is forwarded. */
export interface TcpConnection {
  /** The peer's address without port; '' when it is gone already. Costs a system call. */
  remoteAddress(): string;
  /** Ends it at once; the peer sees a reset. Does nothing once it is part of a forwarding, or closed. */
  reset(): void;
  /**
   * Takes an accepted connection out of the engine, for one whose other end is no socket: paused, half-open allowed. It
   * reads into `onread`'s buffer where the engine can (`onread` is then true). Undefined when it is closed already.
   */
  toSocket(onread: OnReadOpts): { readonly socket: Socket; readonly onread: boolean } | undefined;
}

/** Two ends whose bytes flow into each other. */
export interface TcpForwarding {
  /** Ends both at once with resets. `ended` is called before this returns, unless it was called already. */
  destroy(): void;
}

export interface TcpServer {
  readonly port: number;
  /** Stops listening at once; connections that were accepted are not touched. */
  close(): void;
}

export interface TcpEvents {
  /** The connection belongs to the receiver, which must forward or reset it. */
  accept(client: TcpConnection): void;
  /** Accepting failed (`code` is set, EMFILE say); the server goes on listening. */
  failed(error: NodeJS.ErrnoException): void;
}

/**
 * Moves bytes between TCP connections, byte-exact: an end of stream is passed on as one (half-close, both ways), a
 * reset as a reset, and a side that does not read stops the other from being read. Keep-alive finds dead peers; an
 * idle connection is never ended for being idle.
 */
export interface TcpEngine {
  readonly name: string;
  /** @throws an error with `code` (EADDRINUSE, EADDRNOTAVAIL, EACCES, EMFILE, …) when it cannot listen */
  listen(address: string, port: number, events: TcpEvents): Promise<TcpServer>;
  /** Starts to connect. `done` is called once, later, with the failure if it failed; never after `reset`. */
  connect(address: string, port: number, done: (error?: NodeJS.ErrnoException) => void): TcpConnection;
  /** Takes over both ends of this engine's own, both connected. `ended` is called once, when both are closed. */
  forward(client: TcpConnection, upstream: TcpConnection, ended: (forwarding: TcpForwarding) => void): TcpForwarding;
}

export interface EngineOptions { readonly clock: Clock; readonly log: Log }

/** The fast engine where it exists and passes its self-test, else the portable one. Takes some milliseconds. */
export async function chooseTcpEngine(options: EngineOptions): Promise<TcpEngine> {
  const portable = createPortableEngine();
  if ('deno' in process.versions) return portable;
  try {
    const raw = createRawEngine(options.clock);
    await selfTest(raw, options.clock);
    return raw;
  } catch (error) {
    options.log.warn('the fast TCP engine does not work on this runtime; using the portable one', { runtime: process.version, error });
    return portable;
  }
}

const selfTestMs = 3_000;

/** Sends a megabyte there and back through the engine, with a half-close. @throws when it does not come back the same */
export async function selfTest(engine: TcpEngine, clock: Clock): Promise<void> {
  const payload = randomBytes(1 << 20);
  const echo = createServer({ allowHalfOpen: true }, (socket) => { socket.on('error', () => socket.destroy()).pipe(socket); });
  const open: TcpForwarding[] = [];
  let cancel = (): void => {};
  let server: TcpServer | undefined;
  const limit = new Promise<never>((_, reject) => {
    cancel = clock.after(selfTestMs, () => reject(new Error(`self-test of the TCP engine took over ${selfTestMs} ms`)));
  });
  try {
    const backend = await listening(echo);
    server = await engine.listen('127.0.0.1', 0, {
      failed: () => {},
      accept: (client) => {
        const upstream = engine.connect('127.0.0.1', backend, (error) => {
          if (error) client.reset();
          else open.push(engine.forward(client, upstream, () => {}));
        });
      },
    });
    const received = await Promise.race([exchange(server.port, payload), limit]);
    if (!received.equals(payload)) throw new Error(`self-test of the TCP engine: ${payload.length} bytes sent, ${received.length} others received`);
  } finally {
    cancel();
    server?.close();
    for (const forwarding of open) forwarding.destroy();
    echo.close();
  }
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Sends everything and the end, and collects what comes back until the end. */
function exchange(port: number, payload: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket: Socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    socket.on('error', reject).on('data', (part) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts)));
    socket.end(payload);
  });
}
