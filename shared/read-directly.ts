import { WireReader } from './wire.ts';

/** What is used of the connection under a WebSocket. */
export interface WireConnection {
  readonly readableLength: number;
  write(bytes: Uint8Array, done: () => void): boolean;
  cork(): void;
  uncork(): void;
  pause(): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  removeAllListeners(event: 'data'): unknown;
}

/** The package's own parser. */
export interface OtherParser {
  readonly writable: boolean;
  /** 0 between frames. */
  readonly _state?: number;
  readonly _bufferedBytes?: number;
  write(bytes: Uint8Array): boolean;
}

/**
 * Reads a WebSocket's plain messages past the package, which gets all else. Where the runtime can, they are read into
 * `buffer`, over and over, which many connections may share: a buffer for each read would keep the garbage collector
 * busier than all else. The bytes of a message are good until `message` returns.
 */
export function readDirectly(connection: WireConnection, parser: OtherParser, masked: boolean, buffer: Buffer, message: (bytes: Uint8Array) => void): void {
  // It has begun with a frame, or is another than is known here: it goes on.
  if (parser._state !== 0 || parser._bufferedBytes !== 0) return;
  const reader = new WireReader({ masked, message, other: (bytes) => { if (parser.writable && !parser.write(bytes)) connection.pause(); } });
  const direct = (count: number): boolean => {
    reader.push(buffer.subarray(0, count));
    return true;
  };
  let tried = false;
  connection.removeAllListeners('data');
  connection.on('data', (chunk) => {
    reader.push(chunk);
    // What Node has read before comes first.
    if (tried || connection.readableLength > 0) return;
    tried = true;
    readInto(connection, buffer, direct);
  });
}

/**
 * Has a connection read into a buffer, as `onread` does for those that are made with it: which a server's are not, nor
 * those that an upgrade has handed over. `read` gives false to stop. False where the runtime has no such thing.
 */
export function readInto(connection: object, buffer: Buffer, read: (count: number) => boolean): boolean {
  const socket = connection as Record<symbol, unknown> & { _handle?: { useUserBuffer?: (buffer: Buffer) => void } | null };
  const slot = (name: string): symbol | undefined => Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);
  const [bytes, callback, generator] = [slot('kBuffer'), slot('kBufferCb'), slot('kBufferGen')];
  if (!bytes || !callback || !generator || !socket._handle?.useUserBuffer) return false;
  try {
    socket._handle.useUserBuffer(buffer);
  } catch {
    // Deno has it by name only.
    return false;
  }
  socket[bytes] = buffer;
  socket[callback] = read;
  socket[generator] = null;
  return true;
}
