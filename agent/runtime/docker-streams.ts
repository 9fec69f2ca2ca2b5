import type { ProcessOutput } from './runtime.ts';

/** Payloads of Docker's multiplexed streams, whichever they are of, in the order in which they came. */
export async function* demultiplex(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const reader = new MultiplexReader();
  for await (const chunk of chunks) {
    const pieces = [...reader.push(chunk)];
    if (pieces.length > 0) yield joined(pieces);
  }
}

/** The same, with what is of standard output apart from what is of standard error, and good until the next is asked for. */
export async function* demultiplexed(chunks: AsyncIterable<Uint8Array>): AsyncIterable<ProcessOutput> {
  const reader = new MultiplexReader();
  let buffer = Buffer.alloc(0);
  const together = (pieces: readonly ProcessOutput[], most: number): Uint8Array => {
    if (pieces.length === 1) return pieces[0]!.bytes;
    if (buffer.length < most) buffer = Buffer.allocUnsafeSlow(most);
    let at = 0;
    for (const { bytes } of pieces) {
      buffer.set(bytes, at);
      at += bytes.length;
    }
    return buffer.subarray(0, at);
  };
  for await (const chunk of chunks) {
    const run: ProcessOutput[] = [];
    for (const piece of reader.push(chunk)) {
      if (run[0] && run[0].from !== piece.from) yield { from: run[0].from, bytes: together(run.splice(0), chunk.length) };
      run.push(piece);
    }
    if (run[0]) yield { from: run[0].from, bytes: together(run, chunk.length) };
  }
}

/** Docker has a frame for every line of a log: passed on one by one, each would cost as much as a full one. */
const joined = (pieces: readonly ProcessOutput[]): Uint8Array => (pieces.length === 1 ? pieces[0]!.bytes : Buffer.concat(pieces.map(({ bytes }) => bytes)));

/** Takes frames of `[stream, 0, 0, 0, length (4, big-endian)]` and that many bytes apart, however they are cut. */
class MultiplexReader {
  readonly #header = Buffer.alloc(8);
  #have = 0;
  #left = 0;

  *push(chunk: Uint8Array): Generator<ProcessOutput> {
    for (let at = 0; at < chunk.length;) {
      if (this.#left === 0) {
        const take = Math.min(8 - this.#have, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + take), this.#have);
        this.#have += take;
        at += take;
        if (this.#have < 8) return;
        this.#have = 0;
        this.#left = this.#header.readUInt32BE(4);
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#left);
      this.#left -= bytes.length;
      at += bytes.length;
      yield { from: this.#header[0] === 2 ? 2 : 1, bytes };
    }
  }
}

/** Lines of a UTF-8 stream, without their ends; empty ones are dropped. */
export async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part.trim()) yield part;
  }
  if (rest.trim()) yield rest;
}
