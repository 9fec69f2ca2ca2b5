import type { Duplex } from 'node:stream';

/** Bytes that wait in a connection before its writers do. */
const highWater = 128 * 1024;
/** What a data frame of the agents' channel comes to, with heads before it. */
const bufferBytes = 16 * 1024 + 64;
const maxSpare = 6;

/**
 * Writes to a connection in buffers that it uses again: with fresh ones for each frame, fast streams keep the garbage
 * collector busier than all else.
 */
export class PacedWriter {
  readonly #to: Duplex;
  readonly #spare: Buffer[] = [];

  constructor(to: Duplex) {
    this.#to = to;
  }

  /** Writes parts one after the other; they are copied. Resolves when there is room for more, or the connection is over. Never rejects. */
  write(parts: readonly Uint8Array[]): Promise<void> {
    return this.#write(parts, 0);
  }

  /** The same as one binary message of an established WebSocket of the server's side, between those that it sends itself. */
  message(parts: readonly Uint8Array[]): Promise<void> {
    return this.#write(parts, 0x82);
  }

  /** A text message. */
  text(text: string): Promise<void> {
    return this.#write([Buffer.from(text)], 0x81);
  }

  /** `kind` is the first byte of a WebSocket's message; 0 for none around the parts. */
  #write(parts: readonly Uint8Array[], kind: number): Promise<void> {
    const to = this.#to;
    if (to.destroyed || to.writableEnded) return Promise.resolve();
    let size = 0;
    for (const part of parts) size += part.length;
    const headSize = kind === 0 ? 0 : size < 126 ? 2 : size < 65_536 ? 4 : 10;
    const whole = this.#take(headSize + size);
    if (kind !== 0) writeHead(whole, kind, size);
    let at = headSize;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return this.#hand(whole.subarray(0, at));
  }

  #take(size: number): Buffer {
    return size > bufferBytes ? Buffer.allocUnsafe(size) : this.#spare.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
  }

  #hand(bytes: Buffer): Promise<void> {
    const to = this.#to;
    const full = to.writableLength + bytes.length > highWater;
    return new Promise((resolve) => {
      to.write(bytes, () => {
        if (bytes.buffer.byteLength === bufferBytes && this.#spare.length < maxSpare) this.#spare.push(Buffer.from(bytes.buffer));
        resolve();
      });
      if (!full) resolve();
    });
  }
}

/** Head of an unmasked WebSocket message of one frame (RFC 6455, 5.2). */
function writeHead(to: Buffer, kind: number, size: number): void {
  to[0] = kind;
  if (size < 126) to[1] = size;
  else if (size < 65_536) {
    to[1] = 126;
    to.writeUInt16BE(size, 2);
  } else {
    to[1] = 127;
    to.writeBigUInt64BE(BigInt(size), 2);
  }
}
