/**
 * A typed view of the part of Node's internal TCP handles that `tcp-raw.ts` uses. Nothing of it is public API:
 * names and behaviour are those of `lib/net.js` and `src/stream_base.cc`, the same on Node 20, 22, 24 and 26.
 */
export interface Bindings {
  readonly TCP: new (type: number) => TcpHandle;
  readonly TCPConnectWrap: new () => ConnectRequest;
  readonly WriteWrap: new () => WriteRequest;
  readonly ShutdownWrap: new () => ShutdownRequest;
  readonly constants: { readonly SOCKET: number; readonly SERVER: number; readonly UV_TCP_IPV6ONLY: number };
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
  /** Results of the last call or callback of any handle, at the indices above. */
  readonly streamBaseState: Int32Array;
}

/** Methods that return a number return 0 or a negative errno. Callbacks are called with the handle as `this`. */
export interface TcpHandle {
  /** Set by the engine: what the handle's reads belong to. */
  owner?: ReadOwner;
  /** Called after each read; a buffer that it returns receives the following ones. */
  onread: (this: TcpHandle) => Uint8Array | undefined;
  onconnection: (this: TcpHandle, status: number, client?: TcpHandle) => void;
  bind(address: string, port: number): number;
  bind6(address: string, port: number, flags: number): number;
  listen(backlog: number): number;
  connect(request: ConnectRequest, address: string, port: number): number;
  connect6(request: ConnectRequest, address: string, port: number): number;
  getsockname(out: { port?: number }): number;
  getpeername(out: { address?: string }): number;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, delaySeconds: number): number;
  /** Reads go to `buffer` from now on, which the caller must keep alive. Each call costs memory until the close. */
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  /** Tries to write at once; what the kernel does not take is written later, and the request then completes. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  shutdown(request: ShutdownRequest): number;
  /** Closes with a reset instead of an end. When it fails, the handle stays open and can never be closed. */
  reset(closed?: () => void): number;
  close(closed?: () => void): void;
}

export interface ReadOwner {
  /** Something was read: `streamBaseState` says how many bytes, or as a negative errno why none. */
  read(): Uint8Array | undefined;
}

export interface ConnectRequest { oncomplete: (status: number) => void }
export interface WriteRequest {
  owner?: { written(status: number, lent: Buffer | undefined): void };
  /** Buffer on loan to the kernel until the request completes. */
  lent?: Buffer | undefined;
  oncomplete: (this: WriteRequest, status: number) => void;
}
export interface ShutdownRequest {
  owner?: { shut(status: number): void };
  oncomplete: (this: ShutdownRequest, status: number) => void;
}

/** @throws when this runtime has no such handles */
export function loadBindings(): Bindings {
  const binding = (process as unknown as { binding?: (name: string) => Partial<Bindings> }).binding;
  if (!binding) throw new Error('process.binding does not exist');
  const all: Partial<Bindings> = { ...binding('tcp_wrap'), ...binding('stream_wrap') };
  const needed = ['TCP', 'TCPConnectWrap', 'WriteWrap', 'ShutdownWrap', 'constants', 'kReadBytesOrError', 'kLastWriteWasAsync', 'streamBaseState'] as const;
  for (const name of needed) if (all[name] === undefined) throw new Error(`the runtime's TCP handles have no ${name}`);
  return all as Bindings;
}
