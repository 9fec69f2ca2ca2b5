/** The other side sent something that is no SPDY/3.1. The connection ends. */
export class SpdyError extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'SpdyError';
  }
}

const version = 3;
const type = { synStream: 1, synReply: 2, rstStream: 3, settings: 4, ping: 6, goAway: 7, headers: 8, windowUpdate: 9 } as const;
const flagFin = 1;
/** Largest control frame taken; data frames may have any length, as they are not kept. */
const maxControl = 64 * 1024;

/** Why a stream is reset (SPDY draft 3.1, 2.6.3). */
export const resetCode = { protocolError: 1, invalidStream: 2, refused: 3, cancel: 5, internalError: 6 } as const;

/** Why a connection ends. */
export const goAwayCode = { ok: 0, protocolError: 1, internalError: 2 } as const;

/** A frame, or a piece of a data frame; header blocks are still compressed. */
export type SpdyEvent =
  | { readonly type: 'synStream' | 'synReply' | 'headers'; readonly id: number; readonly fin: boolean; readonly block: Uint8Array }
  | { readonly type: 'data'; readonly id: number; readonly bytes: Uint8Array; readonly fin: boolean }
  | { readonly type: 'rstStream'; readonly id: number; readonly code: number }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'goAway' }
  | { readonly type: 'windowUpdate'; readonly id: number; readonly delta: number };

/**
 * Takes the bytes of a connection apart, however they are cut.
 *
 * ```
 * control  1|version(15) type(16)   flags(8) length(24)   payload
 * data     0|stream(31)             flags(8) length(24)   bytes
 * ```
 * Pieces of data frames come out as they arrive; `fin` is on the last one. Frames of unknown type are passed over, as the
 * protocol has it, and settings too.
 */
export class SpdyParser {
  readonly #head = Buffer.alloc(8);
  #have = 0;
  #left = 0;
  #inFrame = false;
  #control: Uint8Array[] = [];

  /** @throws SpdyError */
  *push(chunk: Uint8Array): Generator<SpdyEvent> {
    for (let at = 0; at < chunk.length || (this.#inFrame && this.#left === 0);) {
      if (!this.#inFrame) {
        const take = Math.min(8 - this.#have, chunk.length - at);
        this.#head.set(chunk.subarray(at, at + take), this.#have);
        at += take;
        this.#have += take;
        if (this.#have < 8) return;
        this.#begin();
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#left);
      at += bytes.length;
      this.#left -= bytes.length;
      const event = this.#payload(bytes);
      if (event) yield event;
    }
  }

  #begin(): void {
    this.#have = 0;
    this.#inFrame = true;
    this.#left = this.#head.readUIntBE(5, 3);
    if (!this.#isControl) return;
    const spoken = this.#head.readUInt16BE(0) & 0x7fff;
    if (spoken !== version) throw new SpdyError(`SPDY version ${spoken}`);
    if (this.#left > maxControl) throw new SpdyError(`control frame of ${this.#left} bytes`);
  }

  get #isControl(): boolean {
    return (this.#head[0]! & 0x80) !== 0;
  }

  #payload(bytes: Uint8Array): SpdyEvent | undefined {
    const complete = this.#left === 0;
    if (complete) this.#inFrame = false;
    const fin = (this.#head[4]! & flagFin) !== 0;
    if (!this.#isControl) return { type: 'data', id: this.#head.readUInt32BE(0), bytes, fin: fin && complete };
    this.#control.push(bytes);
    return complete ? controlEvent(this.#head.readUInt16BE(2), fin, Buffer.concat(this.#control.splice(0))) : undefined;
  }
}

function controlEvent(kind: number, fin: boolean, payload: Buffer): SpdyEvent | undefined {
  const number = (at: number): number => {
    if (payload.length < at + 4) throw new SpdyError(`control frame of type ${kind} with ${payload.length} bytes`);
    return payload.readUInt32BE(at);
  };
  const id = (): number => number(0) & 0x7fff_ffff;
  switch (kind) {
    case type.synStream: number(6); return { type: 'synStream', id: id(), fin, block: payload.subarray(10) };
    case type.synReply: return { type: 'synReply', id: id(), fin, block: payload.subarray(4) };
    case type.headers: return { type: 'headers', id: id(), fin, block: payload.subarray(4) };
    case type.rstStream: return { type: 'rstStream', id: id(), code: number(4) };
    case type.ping: return { type: 'ping', id: number(0) };
    case type.goAway: return { type: 'goAway' };
    case type.windowUpdate: return { type: 'windowUpdate', id: id(), delta: number(4) & 0x7fff_ffff };
    // Settings and what nobody knows.
    default: return undefined;
  }
}

function control(kind: number, fin: boolean, ...payload: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(8);
  const length = payload.reduce((sum, { length: bytes }) => sum + bytes, 0);
  head.writeUInt16BE(0x8000 | version, 0);
  head.writeUInt16BE(kind, 2);
  head.writeUIntBE(length, 5, 3);
  head[4] = fin ? flagFin : 0;
  return Buffer.concat([head, ...payload]);
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

export const synStreamFrame = (id: number, block: Uint8Array, fin: boolean): Buffer => control(type.synStream, fin, numbers(id, 0), Buffer.alloc(2), block);
export const synReplyFrame = (id: number, block: Uint8Array): Buffer => control(type.synReply, false, numbers(id), block);
export const rstStreamFrame = (id: number, code: number): Buffer => control(type.rstStream, false, numbers(id, code));
export const pingFrame = (id: number): Buffer => control(type.ping, false, numbers(id));
export const goAwayFrame = (lastId: number, code: number): Buffer => control(type.goAway, false, numbers(lastId, code));

/** What comes before `length` bytes of data. */
export function dataHead(id: number, length: number, fin: boolean): Buffer {
  const head = Buffer.allocUnsafe(8);
  head.writeUInt32BE(id, 0);
  head[4] = fin ? flagFin : 0;
  head.writeUIntBE(length, 5, 3);
  return head;
}

/** Corrects the head of data that has become longer. */
export const growData = (head: Buffer, length: number): void => { head.writeUIntBE(length, 5, 3); };
