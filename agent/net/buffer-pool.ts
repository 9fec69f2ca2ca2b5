/** Buffers of one size, at most `limit` in use; up to `spare` that came back are kept for the next taker. */
export class BufferPool {
  readonly #bytes: number;
  readonly #limit: number;
  readonly #spare: number;
  readonly #free: Buffer[] = [];
  #used = 0;

  constructor(options: { readonly bytes: number; readonly limit: number; readonly spare: number }) {
    this.#bytes = options.bytes;
    this.#limit = options.limit;
    this.#spare = options.spare;
  }

  get used(): number {
    return this.#used;
  }

  /** Undefined when `limit` are in use. */
  take(): Buffer | undefined {
    if (this.#used >= this.#limit) return undefined;
    this.#used++;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  give(buffer: Buffer): void {
    this.#used--;
    if (this.#free.length < this.#spare) this.#free.push(buffer);
  }
}
