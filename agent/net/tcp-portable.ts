import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { TcpConnection, TcpEngine, TcpEvents, TcpForwarding, TcpServer } from './tcp.ts';

const bufferBytes = 64 * 1024;
const keepAliveMs = 60_000;
const backlog = 4_096;

/**
 * The engine for every runtime, on public API only. Upstream sockets read into one buffer of their own again and
 * again (`onread`); accepted ones cannot, so requests cost an allocation per read.
 */
export function createPortableEngine(): TcpEngine {
  return new PortableEngine();
}

class PortableEngine implements TcpEngine {
  readonly name = 'portable';

  listen(address: string, port: number, events: TcpEvents): Promise<TcpServer> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs });
    server.on('connection', (socket) => events.accept(new PortableConnection(socket)));
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port, backlog, ipv6Only: address.includes(':') }, () => {
        server.off('error', reject).on('error', (error) => events.failed(error));
        resolve({ port: (server.address() as AddressInfo).port, close: () => { server.close(); } });
      });
    });
  }

  connect(address: string, port: number, done: (error?: NodeJS.ErrnoException) => void): TcpConnection {
    const socket = connect({
      host: address, port, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs,
      onread: {
        buffer: Buffer.allocUnsafeSlow(bufferBytes),
        callback: (count, buffer) => connection.sink === undefined || connection.sink(buffer as Buffer, count),
      },
    });
    const connection = new PortableConnection(socket);
    const failed = (error: NodeJS.ErrnoException): void => { if (connection.socket) done(error); };
    socket.pause().once('error', failed).once('connect', () => {
      socket.off('error', failed);
      if (connection.socket) done();
    });
    return connection;
  }

  forward(client: PortableConnection, upstream: PortableConnection, ended: (forwarding: TcpForwarding) => void): TcpForwarding {
    const from = client.release();
    const to = upstream.release();
    if (!from || !to) throw new Error('cannot forward a closed connection');
    const forwarding = new PortableForwarding(from, to, ended);
    upstream.sink = (buffer, count) => forwarding.respond(buffer, count);
    forwarding.start();
    return forwarding;
  }
}

class PortableConnection implements TcpConnection {
  socket: Socket | undefined;
  /** Receives what an upstream socket reads; false stops the reading. The bytes are valid only within the call. */
  sink: ((buffer: Buffer, count: number) => boolean) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
  }

  remoteAddress(): string {
    return this.socket?.remoteAddress ?? '';
  }

  reset(): void {
    const socket = this.release();
    if (socket) resetSocket(socket);
  }

  toSocket(): { readonly socket: Socket; readonly onread: boolean } | undefined {
    const socket = this.release();
    return socket && { socket, onread: false };
  }

  release(): Socket | undefined {
    const socket = this.socket;
    this.socket = undefined;
    return socket;
  }
}

class PortableForwarding implements TcpForwarding {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #ended: (forwarding: TcpForwarding) => void;
  #over = false;

  constructor(client: Socket, upstream: Socket, ended: (forwarding: TcpForwarding) => void) {
    this.#client = client;
    this.#upstream = upstream;
    this.#ended = ended;
  }

  start(): void {
    const client = this.#client;
    const upstream = this.#upstream;
    client.on('data', (bytes: Buffer) => { if (!upstream.write(bytes)) client.pause(); });
    upstream.on('drain', () => client.resume());
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      from.on('end', () => to.end()).on('error', () => this.destroy()).on('close', () => this.#closed());
    }
    if (client.destroyed || upstream.destroyed) return this.destroy();
    client.resume();
    upstream.resume();
  }

  /** The buffer may be read into again only when all of it is written: usually at once. */
  respond(buffer: Buffer, count: number): boolean {
    const upstream = this.#upstream;
    let waiting = false;
    this.#client.write(buffer.subarray(0, count), () => { if (waiting) upstream.resume(); });
    waiting = this.#client.writableLength > 0;
    return !waiting;
  }

  destroy(): void {
    resetSocket(this.#client);
    resetSocket(this.#upstream);
    this.#end();
  }

  #closed(): void {
    if (this.#client.destroyed && this.#upstream.destroyed) this.#end();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#ended(this);
  }
}

/**
 * A socket that is not connected cannot be reset, and one whose end is on its way would refuse it and could then never
 * be closed (its handle leaks): those are only closed.
 */
function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const ending = socket.writableEnded && !socket.writableFinished;
  if (ending || socket.connecting || socket.readyState === 'closed') socket.destroy();
  else socket.resetAndDestroy();
}
