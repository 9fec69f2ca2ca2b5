/** A bucket of tokens: `burst` at once, `perSecond` in the long run. Times are monotonic, in ms. */
export class Throttle {
  readonly #perMs: number;
  readonly #burst: number;
  #level: number;
  #atMs: number;

  constructor(limits: { readonly perSecond: number; readonly burst: number }, nowMs: number) {
    this.#perMs = limits.perSecond / 1000;
    this.#burst = this.#level = limits.burst;
    this.#atMs = nowMs;
  }

  /** Takes tokens, borrowing what is not there; returns the milliseconds until the debt is paid, 0 if there is none. */
  take(cost: number, nowMs: number): number {
    this.#level = Math.min(this.#burst, this.#level + (nowMs - this.#atMs) * this.#perMs) - cost;
    this.#atMs = nowMs;
    return this.#level >= 0 ? 0 : -this.#level / this.#perMs;
  }
}
