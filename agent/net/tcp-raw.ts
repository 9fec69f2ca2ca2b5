import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { Clock } from '../../shared/clock.ts';
import { BufferPool } from './buffer-pool.ts';
import type { TcpConnection, TcpEngine, TcpEvents, TcpForwarding, TcpServer } from './tcp.ts';
import { loadBindings } from './tcp-handles.ts';
import type { Bindings, ReadOwner, ShutdownRequest, TcpHandle, WriteRequest } from './tcp-handles.ts';

const quietBytes = 16 * 1024;
const busyBytes = 256 * 1024;
/** Busy directions at once; further ones go on with quiet reads. 8 MB in all. */
const maxBusy = 32;
/** A busy direction that reads less than this, `smallReads` times in a row, is quiet again. */
const smallBytes = 8 * 1024;
const smallReads = 16;
const sweepMs = 1_000;
const keepAliveSeconds = 60;
const backlog = 4_096;
const endOfFile = -4095;

/**
 * The fast engine. Every quiet connection reads into one shared buffer, so that it costs two handles and two small
 * objects; its bytes are copied aside before they are written, because a write that the kernel does not take at once
 * goes on using them. A read that fills the shared buffer makes its direction busy: it gets a large buffer of its own,
 * written from without a copy, and gives it back when its reads become small or stop.
 *
 * ```
 * quiet ──read fills the buffer──▶ busy ──16 small reads, or none for a while──▶ quiet
 * either ──kernel takes only a part──▶ source not read until the rest is written ──▶ the same
 * ```
 * @throws when the runtime has no such handles
 */
export function createRawEngine(clock: Clock): TcpEngine {
  return new RawEngine(loadBindings(), clock);
}

class RawConnection implements TcpConnection {
  handle: TcpHandle | undefined;
  connected: boolean;

  constructor(handle: TcpHandle, connected: boolean) {
    this.handle = handle;
    this.connected = connected;
  }

  remoteAddress(): string {
    const peer: { address?: string } = {};
    this.handle?.getpeername(peer);
    return peer.address ?? '';
  }

  reset(): void {
    const handle = this.release();
    if (handle) closeHandle(handle, this.connected);
  }

  toSocket(onread: OnReadOpts): { readonly socket: Socket; readonly onread: boolean } | undefined {
    const handle = this.release();
    return handle && { socket: new Socket({ handle, onread, allowHalfOpen: true, readable: true, writable: true, pauseOnCreate: true } as SocketConstructorOpts), onread: true };
  }

  release(): TcpHandle | undefined {
    const handle = this.handle;
    this.handle = undefined;
    return handle;
  }
}

class RawEngine implements TcpEngine {
  readonly name = 'raw';
  readonly #native: Bindings;
  readonly #buffers: Buffers;

  constructor(native: Bindings, clock: Clock) {
    this.#native = native;
    this.#buffers = new Buffers(native, clock);
  }

  async listen(address: string, port: number, events: TcpEvents): Promise<TcpServer> {
    const { TCP, constants } = this.#native;
    const handle = new TCP(constants.SERVER);
    const check = (status: number, call: string): void => {
      if (status === 0) return;
      handle.close();
      throw systemError(status, `${call} ${address}:${port}`);
    };
    check(address.includes(':') ? handle.bind6(address, port, constants.UV_TCP_IPV6ONLY) : handle.bind(address, port), 'bind');
    // Accepted sockets inherit both from the listening one: four system calls less for each.
    handle.setNoDelay(true);
    handle.setKeepAlive(true, keepAliveSeconds);
    handle.onconnection = (status, client) => {
      if (client) events.accept(new RawConnection(client, true));
      else events.failed(systemError(status, 'accept'));
    };
    check(handle.listen(backlog), 'listen');
    const name: { port?: number } = {};
    handle.getsockname(name);
    return { port: name.port ?? port, close: () => handle.close() };
  }

  connect(address: string, port: number, done: (error?: NodeJS.ErrnoException) => void): TcpConnection {
    const { TCP, TCPConnectWrap, constants } = this.#native;
    const handle = new TCP(constants.SOCKET);
    const connection = new RawConnection(handle, false);
    const request = new TCPConnectWrap();
    request.oncomplete = (status) => {
      if (!connection.handle) return;
      connection.connected = status === 0;
      done(status === 0 ? undefined : systemError(status, `connect ${address}:${port}`));
    };
    handle.setNoDelay(true);
    handle.setKeepAlive(true, keepAliveSeconds);
    const status = address.includes(':') ? handle.connect6(request, address, port) : handle.connect(request, address, port);
    if (status !== 0) queueMicrotask(() => request.oncomplete(status));
    return connection;
  }

  forward(client: RawConnection, upstream: RawConnection, ended: (forwarding: TcpForwarding) => void): TcpForwarding {
    const a = client.release();
    const b = upstream.release();
    if (!a || !b) throw new Error('cannot forward a closed connection');
    const request = new Direction(this.#buffers, a, b, ended);
    const response = new Direction(this.#buffers, b, a, ended);
    request.join(response);
    request.start();
    response.start();
    return request;
  }
}

/** The buffers that all connections of an engine read into and write from. */
class Buffers {
  readonly native: Bindings;
  readonly state: Int32Array;
  /** All quiet reads land here; its bytes are valid only within the callback. */
  readonly shared = Buffer.allocUnsafeSlow(quietBytes);
  readonly busy = new BufferPool({ bytes: busyBytes, limit: maxBusy, spare: 4 });
  readonly #asides = new BufferPool({ bytes: quietBytes, limit: Infinity, spare: 16 });
  readonly #busyOnes = new Set<Direction>();
  readonly #clock: Clock;
  #aside = this.#asides.take()!;
  #request: WriteRequest | undefined;
  #sweeping = false;

  constructor(native: Bindings, clock: Clock) {
    this.native = native;
    this.state = native.streamBaseState;
    this.#clock = clock;
  }

  /** A copy of the first `count` shared bytes, valid until the next call unless `lend` is called. */
  copyAside(count: number): Buffer {
    this.shared.copy(this.#aside, 0, 0, count);
    return this.#aside;
  }

  /** The last copy belongs to a pending write now; it comes back through `giveBack`. */
  lendAside(): Buffer {
    const lent = this.#aside;
    this.#aside = this.#asides.take()!;
    return lent;
  }

  giveBack(lent: Buffer): void {
    this.#asides.give(lent);
  }

  /** A request to write with; the same one again until `keepRequest` says that it is in use. */
  request(): WriteRequest {
    if (this.#request) return this.#request;
    this.#request = new this.native.WriteWrap();
    this.#request.oncomplete = writeComplete;
    return this.#request;
  }

  keepRequest(): void {
    this.#request = undefined;
  }

  watch(direction: Direction): void {
    this.#busyOnes.add(direction);
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#clock.after(sweepMs, () => this.#sweep());
  }

  unwatch(direction: Direction): void {
    this.#busyOnes.delete(direction);
  }

  #sweep(): void {
    for (const direction of this.#busyOnes) direction.sweep();
    this.#sweeping = this.#busyOnes.size > 0;
    if (this.#sweeping) this.#clock.after(sweepMs, () => this.#sweep());
  }
}

/** Bytes of one connection's half: read from `source`, written to `sink`. Two of them make a forwarding. */
class Direction implements ReadOwner, TcpForwarding {
  readonly #buffers: Buffers;
  readonly #source: TcpHandle;
  readonly #sink: TcpHandle;
  readonly #ended: (forwarding: TcpForwarding) => void;
  #twin: Direction = this;
  #first = false;
  #closed = false;
  /** The end of the source was passed on completely. */
  #finished = false;
  /** It is being passed on, behind what is still to be written. */
  #finishing = false;
  #writing = false;
  /** Its own buffer while it is busy. */
  #own: Buffer | undefined;
  #small = 0;
  /** Sweeps without a read, and how many of them to wait for: twice as many each time, as each costs memory. */
  #idleSweeps = 0;
  #patience = 1;

  constructor(buffers: Buffers, source: TcpHandle, sink: TcpHandle, ended: (forwarding: TcpForwarding) => void) {
    this.#buffers = buffers;
    this.#source = source;
    this.#sink = sink;
    this.#ended = ended;
  }

  join(twin: Direction): void {
    this.#twin = twin;
    twin.#twin = this;
    this.#first = true;
  }

  start(): void {
    this.#source.owner = this;
    this.#source.useUserBuffer(this.#buffers.shared);
    this.#source.onread = readComplete;
    const status = this.#source.readStart();
    if (status !== 0) this.#close(true);
  }

  destroy(): void {
    this.#close(true);
  }

  read(): Uint8Array | undefined {
    if (this.#closed) return undefined;
    const count = this.#buffers.state[this.#buffers.native.kReadBytesOrError]!;
    if (count > 0) return this.#own ? this.#readBusy(this.#own, count) : this.#readQuiet(count);
    if (count === endOfFile) this.#finish();
    else if (count < 0) this.#close(true);
    return undefined;
  }

  #readQuiet(count: number): Uint8Array | undefined {
    const own = count === quietBytes ? this.#buffers.busy.take() : undefined;
    if (own) {
      this.#own = own;
      this.#small = 0;
      this.#buffers.watch(this);
      this.#buffers.shared.copy(own, 0, 0, count);
      this.#write(own, count);
      return own;
    }
    if (this.#write(this.#buffers.copyAside(count), count)) this.#buffers.lendAside();
    return undefined;
  }

  #readBusy(own: Buffer, count: number): Uint8Array | undefined {
    this.#idleSweeps = 0;
    this.#small = count < smallBytes ? this.#small + 1 : 0;
    const pending = this.#write(own, count);
    if (pending || this.#small < smallReads || this.#closed) return undefined;
    this.#release();
    return this.#buffers.shared;
  }

  /** Says whether the kernel left a part for later; reading stops until that is written. */
  #write(buffer: Buffer, count: number): boolean {
    const buffers = this.#buffers;
    const request = buffers.request();
    const status = this.#sink.writeBuffer(request, count === buffer.length ? buffer : buffer.subarray(0, count));
    if (status !== 0) {
      this.#close(true);
      return false;
    }
    if (buffers.state[buffers.native.kLastWriteWasAsync] === 0) return false;
    buffers.keepRequest();
    request.owner = this;
    request.lent = buffer === this.#own ? undefined : buffer;
    this.#writing = true;
    this.#source.readStop();
    return true;
  }

  written(status: number, lent: Buffer | undefined): void {
    if (lent) this.#buffers.giveBack(lent);
    this.#writing = false;
    if (this.#closed) return;
    if (status !== 0 || this.#source.readStart() !== 0) this.#close(true);
  }

  #finish(): void {
    this.#source.readStop();
    this.#release();
    const request: ShutdownRequest = new this.#buffers.native.ShutdownWrap();
    request.owner = this;
    request.oncomplete = shutdownComplete;
    const status = this.#sink.shutdown(request);
    this.#finishing = status === 0;
    if (status !== 0) this.#close(true);
  }

  shut(status: number): void {
    this.#finishing = false;
    if (this.#closed) return;
    if (status !== 0) return this.#close(true);
    this.#finished = true;
    if (this.#twin.#finished) this.#close(false);
  }

  /** A direction that has read nothing for a while gives its buffer back. */
  sweep(): void {
    if (this.#writing || ++this.#idleSweeps <= this.#patience) return;
    this.#patience = Math.min(this.#patience * 2, 1_024);
    this.#release();
    this.#source.useUserBuffer(this.#buffers.shared);
  }

  #release(): void {
    if (!this.#own) return;
    this.#buffers.busy.give(this.#own);
    this.#buffers.unwatch(this);
    this.#own = undefined;
    this.#idleSweeps = 0;
  }

  #close(reset: boolean): void {
    if (this.#closed) return;
    this.#closed = this.#twin.#closed = true;
    closeHandle(this.#source, reset && !this.#twin.#finishing);
    closeHandle(this.#sink, reset && !this.#finishing);
    this.#release();
    this.#twin.#release();
    this.#ended(this.#first ? this : this.#twin);
  }
}

function readComplete(this: TcpHandle): Uint8Array | undefined {
  return this.owner?.read();
}

function writeComplete(this: WriteRequest, status: number): void {
  this.owner?.written(status, this.lent);
}

function shutdownComplete(this: ShutdownRequest, status: number): void {
  this.owner?.shut(status);
}

/**
 * A handle that refuses a reset cannot be closed any more either, so it must not be asked when it would refuse:
 * not before it is connected, nor while its end is on its way.
 */
function closeHandle(handle: TcpHandle, reset: boolean): void {
  if (reset) handle.reset();
  else handle.close();
}

function systemError(status: number, what: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`${what}: ${code}`), { code, errno: status });
}
