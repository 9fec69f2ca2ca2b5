/** Longest head of a chunk: eight hexadecimal digits and the line's end. */
const headBytes = 10;
const tail = '\r\n';

/** What most answers fit into. */
const firstBytes = 16 * 1024;

/**
 * Gathers the pieces of a body in one buffer, with room around them for what HTTP/1.1's chunked coding wants there: so
 * a chunk is one write of memory that is used again, and a piece is needed no longer than it takes to copy it.
 */
export class Slab {
  #buffer: Buffer;
  #end = headBytes;

  constructor(bytes = firstBytes) {
    this.#buffer = Buffer.allocUnsafeSlow(headBytes + bytes + tail.length);
  }

  /** Bytes gathered. */
  get size(): number {
    return this.#end - headBytes;
  }

  push(piece: Uint8Array): void {
    const end = this.#end + piece.length;
    if (end + tail.length > this.#buffer.length) this.#grow(end);
    this.#buffer.set(piece, this.#end);
    this.#end = end;
  }

  /** What was gathered. A view: good until the next push after {@link clear}. */
  get bytes(): Buffer {
    return this.#buffer.subarray(headBytes, this.#end);
  }

  /** As {@link bytes}, as one chunk of the chunked coding. */
  get chunk(): Buffer {
    const head = `${this.size.toString(16)}${tail}`;
    const start = headBytes - head.length;
    this.#buffer.write(head, start, 'latin1');
    this.#buffer.write(tail, this.#end, 'latin1');
    return this.#buffer.subarray(start, this.#end + tail.length);
  }

  clear(): void {
    this.#end = headBytes;
  }

  #grow(end: number): void {
    const bigger = Buffer.allocUnsafeSlow(Math.max(2 * this.#buffer.length, end + tail.length));
    this.#buffer.copy(bigger, 0, 0, this.#end);
    this.#buffer = bigger;
  }
}
