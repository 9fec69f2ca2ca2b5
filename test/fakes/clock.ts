import type { Clock } from '../../shared/clock.ts';

/** A clock that stands still until it is moved. Timers run in the order in which they are due. */
export class FakeClock implements Clock {
  #now: number;
  #set = 0;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();

  constructor(nowMs = Date.parse('2026-01-02T03:04:05Z')) {
    this.#now = nowMs;
  }

  now(): number {
    return this.#now + this.#set;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#now + Math.max(0, ms), run };
    this.#timers.add(timer);
    return () => { this.#timers.delete(timer); };
  }

  /** Somebody sets the machine's clock: what it shows jumps by `ms`, and no time goes by. */
  jump(ms: number): void {
    this.#set += ms;
  }

  /** Moves on by `ms`, running what falls due on the way. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter((timer) => timer.atMs <= until).sort((a, b) => a.atMs - b.atMs);
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.atMs);
      next.run();
    }
    this.#now = until;
  }
}
