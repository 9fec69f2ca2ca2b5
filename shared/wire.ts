/**
 * WebSocket messages as bytes (RFC 6455, 5.2), as far as the links of agents and fast streams need them: whole binary
 * messages of one frame. All else, which is rare, is left to the package `ws`.
 */

/** Bytes before a payload of that length; a client's frames carry a mask besides. */
export const headBytes = (length: number, masked: boolean): number => (length < 126 ? 2 : length < 65_536 ? 4 : 10) + (masked ? 4 : 0);

/** Writes the head of a binary message; a mask is zero, which is one too. `kind` is the first byte: final, binary. */
export function putHead(to: Buffer, at: number, length: number, masked: boolean, kind = 0x82): void {
  const mask = masked ? 0x80 : 0;
  to[at] = kind;
  if (length < 126) to[at + 1] = mask | length;
  else if (length < 65_536) {
    to[at + 1] = mask | 126;
    to.writeUInt16BE(length, at + 2);
  } else {
    to[at + 1] = mask | 127;
    to.writeBigUInt64BE(BigInt(length), at + 2);
  }
  if (masked) to.writeUInt32BE(0, at + headBytes(length, false));
}

/** Takes a mask away, in place, four bytes at a time. */
export function unmask(bytes: Uint8Array, mask: Uint8Array): void {
  if ((mask[0]! | mask[1]! | mask[2]! | mask[3]!) === 0) return;
  let at = 0;
  for (; at < bytes.length && ((bytes.byteOffset + at) & 3) !== 0; at++) bytes[at]! ^= mask[at & 3]!;
  if (at === bytes.length) return;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (bytes.length - at) >> 2);
  const key = new Int32Array(Uint8Array.of(mask[at & 3]!, mask[(at + 1) & 3]!, mask[(at + 2) & 3]!, mask[(at + 3) & 3]!).buffer)[0]!;
  for (let word = 0; word < words.length; word++) words[word]! ^= key;
  for (at += 4 * words.length; at < bytes.length; at++) bytes[at]! ^= mask[at & 3]!;
}

export interface WireReaderOptions {
  /** The other side is a client. */
  readonly masked: boolean;
  /** A payload; its bytes are good until this returns. */
  readonly message: (bytes: Uint8Array) => void;
  /** Bytes of what is no plain message, or too long to be put together here, to keep: for a parser that knows all of WebSocket. */
  readonly other: (bytes: Buffer) => void;
}

/** Longest message that is put together here from several reads. */
const maxWhole = 1024 * 1024;
const longestHead = 14;

/**
 * Finds plain messages in the bytes of a connection, however they are cut. One that came in one piece is handed over in
 * place; others are put together in one buffer, over and over. `chunk` may be written to and used again after each call.
 */
export class WireReader {
  readonly #options: WireReaderOptions;
  readonly #head = Buffer.allocUnsafe(longestHead);
  /** Bytes of a head that have come. */
  #have = 0;
  /** Bytes of a frame for the other parser that have not come yet. */
  #otherLeft = 0;
  /** What is being put together: all of it, and how much has come. */
  #whole: Buffer | undefined;
  #filled = 0;
  #spare: Buffer | undefined;
  /** Of the frame whose payload is next: where in {@link #head} its mask is. */
  #maskAt = 0;
  /** False once a message came in several frames: where it ends only the other parser knows. */
  #plain = true;

  constructor(options: WireReaderOptions) {
    this.#options = options;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      if (!this.#plain) return this.#options.other(Buffer.from(chunk.subarray(at)));
      if (this.#otherLeft > 0) at += this.#pass(chunk.subarray(at, at + this.#otherLeft));
      else if (this.#whole) at += this.#gather(chunk.subarray(at, at + this.#whole.length - this.#filled));
      else at = this.#begin(chunk, at);
    }
  }

  #pass(bytes: Uint8Array): number {
    this.#otherLeft -= bytes.length;
    this.#options.other(Buffer.from(bytes));
    return bytes.length;
  }

  #gather(bytes: Uint8Array): number {
    const whole = this.#whole!;
    whole.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (this.#filled === whole.length) {
      this.#whole = undefined;
      this.#deliver(whole);
    }
    return bytes.length;
  }

  /** Takes a head, and the payload too if it is all there. Returns where to go on. */
  #begin(chunk: Uint8Array, from: number): number {
    const head = this.#head;
    let at = from;
    while (this.#have < 2 || this.#have < this.#headLength()) {
      if (at === chunk.length) return at;
      head[this.#have++] = chunk[at++]!;
    }
    const headLength = this.#have;
    this.#have = 0;
    const length = this.#payloadLength();
    if (head[0] !== 0x82 || (head[1]! & 0x80) !== (this.#options.masked ? 0x80 : 0) || length > maxWhole) return this.#leave(headLength, length, at);
    this.#maskAt = headLength - 4;
    if (length > chunk.length - at) this.#whole = this.#room(length);
    else {
      // Kept only while one message after the other has to be put together.
      this.#spare = undefined;
      this.#deliver(chunk.subarray(at, at + length));
    }
    return this.#whole ? at : at + length;
  }

  /** Leaves a frame to the other parser; all that follows too when it is not a whole control frame. */
  #leave(headLength: number, length: number, at: number): number {
    const first = this.#head[0]!;
    this.#plain = (first & 0x88) === 0x88;
    this.#otherLeft = length;
    this.#options.other(Buffer.from(this.#head.subarray(0, headLength)));
    return at;
  }

  #headLength(): number {
    const second = this.#head[1]!;
    const short = second & 0x7f;
    return (short === 127 ? 10 : short === 126 ? 4 : 2) + ((second & 0x80) !== 0 ? 4 : 0);
  }

  #payloadLength(): number {
    const short = this.#head[1]! & 0x7f;
    if (short < 126) return short;
    return short === 126 ? this.#head.readUInt16BE(2) : Number(this.#head.readBigUInt64BE(2));
  }

  #room(length: number): Buffer {
    this.#filled = 0;
    if (!this.#spare || this.#spare.length < length) this.#spare = Buffer.allocUnsafeSlow(Math.max(length, 2 * (this.#spare?.length ?? 0)));
    return this.#spare.subarray(0, length);
  }

  #deliver(bytes: Uint8Array): void {
    if (this.#options.masked) unmask(bytes, this.#head.subarray(this.#maskAt, this.#maskAt + 4));
    this.#options.message(bytes);
  }
}
