import type { Clock } from '../../shared/clock.ts';

/**
 * Calls `expired` for each item that stays longer than `limitMs` (and up to a quarter more). One timer serves all of
 * them, and none runs while there are none: items of one limit expire in the order in which they came.
 */
export class Deadlines<T> {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #expired: (item: T) => void;
  readonly #since = new Map<T, number>();
  #armed = false;

  constructor(clock: Clock, limitMs: number, expired: (item: T) => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#expired = expired;
  }

  get items(): Iterable<T> {
    return this.#since.keys();
  }

  get size(): number {
    return this.#since.size;
  }

  /** Starts the item's time, again if it is already there. */
  add(item: T): void {
    this.#since.delete(item);
    this.#since.set(item, this.#clock.monotonic());
    this.#arm();
  }

  delete(item: T): void {
    this.#since.delete(item);
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#clock.after(Math.ceil(this.#limitMs / 4), () => this.#sweep());
  }

  #sweep(): void {
    this.#armed = false;
    const before = this.#clock.monotonic() - this.#limitMs;
    for (const [item, sinceMs] of this.#since) {
      if (sinceMs > before) break;
      this.#since.delete(item);
      this.#expired(item);
    }
    if (this.#since.size > 0) this.#arm();
  }
}
