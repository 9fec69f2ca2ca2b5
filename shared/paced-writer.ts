import type { Writable } from 'node:stream';
import { headBytes, putHead } from './wire.ts';

/** Bytes that wait in a connection before its writers do. */
const highWater = 128 * 1024;
/** What is written at a time: four TLS records. */
const batchBytes = 64 * 1024;
const maxSpare = 2;
/** From that length on the head of a WebSocket's message has a length of two bytes. */
const leastJoined = 126;

/** A part of a sequence of bytes. */
export interface Piece {
  /** Of which sequence. */
  readonly key: number;
  /** Before the bytes. */
  readonly head: Uint8Array;
  readonly bytes: Uint8Array;
  /** Corrects a head whose bytes have become that many. */
  readonly grow?: (head: Buffer, count: number) => void;
}

/** The last piece in a batch: where its message begins and its own head. */
interface Last { readonly key: number; readonly kind: number; readonly at: number; readonly headAt: number; readonly bytesAt: number }

/**
 * Writes to a connection in buffers that it uses again: with fresh ones for each frame, fast streams keep the garbage
 * collector busier than all else. What comes while a write is under way leaves in one piece after it.
 */
export class PacedWriter {
  readonly #to: Writable;
  readonly #spare: Buffer[] = [];
  #batch: Buffer | undefined;
  #last: Last | undefined;
  /** Bytes in the batch. */
  #filled = 0;
  /** Writes that the connection has not done. */
  #under = 0;
  #room: Promise<void> | undefined;
  #wake = (): void => {};

  constructor(to: Writable) {
    this.#to = to;
    to.once('close', () => this.#wake());
  }

  /** Writes parts one after the other; they are copied. A promise asks to wait: it resolves when there is room for more, or the connection is over. */
  write(parts: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#write(parts, 0);
  }

  /** The same as one binary message of an established WebSocket of the server's side, between those that it sends itself. */
  message(parts: readonly Uint8Array[]): Promise<void> | undefined {
    return this.#write(parts, 0x82);
  }

  /**
   * As {@link message}, or {@link write} when not `framed`, of a head and bytes. What follows of the same sequence before
   * they have left becomes part of them: readers of few long messages have less to do than those of many short ones.
   */
  piece(piece: Piece, framed: boolean): Promise<void> | undefined {
    const kind = framed ? 0x82 : 0;
    const { key, head, bytes } = piece;
    const last = this.#last;
    if (last && last.key === key && last.kind === kind && this.#filled + bytes.length <= batchBytes && !this.#to.destroyed && !this.#to.writableEnded) return this.#extend(last, piece);
    const waits = this.#write([head, bytes], kind);
    // A short message's own head has no room for a greater length.
    const at = this.#filled - bytes.length - head.length - (framed ? headBytes(head.length + bytes.length, false) : 0);
    if (this.#filled > 0 && bytes.length >= leastJoined) this.#last = { key, kind, at, headAt: this.#filled - bytes.length - head.length, bytesAt: this.#filled - bytes.length };
    return waits;
  }

  #extend({ kind, at, headAt, bytesAt }: Last, { bytes, grow }: Piece): Promise<void> | undefined {
    const batch = this.#batch!;
    batch.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (kind !== 0) batch.writeUInt16BE(this.#filled - headAt, at + 2);
    grow?.(batch.subarray(headAt, bytesAt), this.#filled - bytesAt);
    return this.#pace();
  }

  /** A text message. */
  text(text: string): Promise<void> | undefined {
    return this.#write([Buffer.from(text)], 0x81);
  }

  /** Hands all to the connection: what others write to it comes after that. */
  flush(): void {
    const batch = this.#batch;
    if (!batch || this.#filled === 0) return;
    this.#batch = undefined;
    this.#last = undefined;
    this.#hand(batch.subarray(0, this.#filled), batch);
    this.#filled = 0;
  }

  /** `kind` is the first byte of a WebSocket's message; 0 for none around the parts. */
  #write(parts: readonly Uint8Array[], kind: number): Promise<void> | undefined {
    if (this.#to.destroyed || this.#to.writableEnded) return undefined;
    let size = 0;
    for (const part of parts) size += part.length;
    const whole = size + (kind === 0 ? 0 : headBytes(size, false));
    this.#last = undefined;
    if (this.#filled + whole > batchBytes) this.flush();
    if (whole > batchBytes) {
      const own = Buffer.allocUnsafe(whole);
      put(own, 0, parts, size, kind);
      this.#hand(own);
    } else {
      this.#batch ??= this.#spare.pop() ?? Buffer.allocUnsafeSlow(batchBytes);
      this.#filled = put(this.#batch, this.#filled, parts, size, kind);
    }
    if (this.#under === 0) this.flush();
    return this.#pace();
  }

  #pace(): Promise<void> | undefined {
    if (this.#to.writableLength + this.#filled <= highWater) return undefined;
    this.#room ??= new Promise((resolve) => { this.#wake = resolve; });
    return this.#room;
  }

  #hand(bytes: Buffer, buffer?: Buffer): void {
    this.#under++;
    this.#to.write(bytes, () => {
      this.#under--;
      if (buffer && this.#spare.length < maxSpare) this.#spare.push(buffer);
      if (this.#under === 0 && !this.#to.destroyed && !this.#to.writableEnded) this.flush();
      if (!this.#room || (this.#under > 0 && this.#to.writableLength + this.#filled > highWater)) return;
      this.#room = undefined;
      this.#wake();
    });
  }
}

/** Returns where it ends. */
function put(to: Buffer, from: number, parts: readonly Uint8Array[], size: number, kind: number): number {
  let at = from;
  if (kind !== 0) {
    putHead(to, at, size, false, kind);
    at += headBytes(size, false);
  }
  for (const part of parts) {
    to.set(part, at);
    at += part.length;
  }
  return at;
}
