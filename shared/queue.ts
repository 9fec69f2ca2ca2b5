import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

/** What one run of a key asks for: nothing, or to be run again later though nothing changed. */
export interface Again { readonly requeueAfterMs: number }

export interface QueueOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Keys run at a time; never the same key twice. Default 1. */
  readonly concurrency?: number;
  /** First retry delay; doubles to `maxBackoffMs`, each with up to half of it added at random. Defaults 5 ms and 60 s. */
  readonly backoffMs?: number;
  readonly maxBackoffMs?: number;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly run: (key: string, signal: AbortSignal) => Promise<Again | void>;
}

/**
 * Keyed work: a key added many times before it runs, runs once; added while it runs, it runs once more after.
 * A run that throws is retried with exponential backoff. The only place that knows retry policy.
 */
export class Queue {
  readonly #options: QueueOptions;
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { due: number; cancel: () => void }>();
  readonly #idle = new Set<() => void>();
  #signal: AbortSignal | undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Asks for a run of `key` as soon as a place is free. */
  add(key: string): void {
    this.#cancelTimer(key);
    if (this.#running.has(key)) this.#again.add(key);
    else this.#ready.add(key);
    this.#pump();
  }

  /** Asks for a run of `key` in `ms`, unless one is due sooner. */
  addAfter(key: string, ms: number): void {
    if (ms <= 0) return this.add(key);
    const due = this.#options.clock.monotonic() + ms;
    const timer = this.#timers.get(key);
    if (timer && timer.due <= due) return;
    timer?.cancel();
    const cancel = this.#options.clock.after(ms, () => { this.#timers.delete(key); this.add(key); });
    this.#timers.set(key, { due, cancel });
  }

  /** Keys waiting or running, delayed ones not counted. */
  get size(): number {
    return this.#ready.size + this.#running.size;
  }

  /** Works until `signal` aborts and the runs under way have ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#pump();
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    while (this.#running.size > 0) await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  #cancelTimer(key: string): void {
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
  }

  #pump(): void {
    if (!this.#signal || this.#signal.aborted) return;
    for (const key of this.#ready) {
      if (this.#running.size >= (this.#options.concurrency ?? 1)) return;
      this.#ready.delete(key);
      this.#running.add(key);
      void this.#runOne(key, this.#signal);
    }
  }

  async #runOne(key: string, signal: AbortSignal): Promise<void> {
    // Yields first, so that adding never runs the caller's own work inside the call.
    await Promise.resolve();
    try {
      const again = await this.#options.run(key, signal);
      this.#failures.delete(key);
      if (again && !this.#again.has(key)) this.addAfter(key, again.requeueAfterMs);
    } catch (error) {
      if (!signal.aborted) this.#retry(key, error);
    } finally {
      this.#running.delete(key);
      if (this.#again.delete(key)) this.add(key);
      this.#pump();
      if (this.#running.size === 0) {
        for (const done of this.#idle) done();
        this.#idle.clear();
      }
    }
  }

  #retry(key: string, error: unknown): void {
    const { backoffMs = 5, maxBackoffMs = 60_000, random = Math.random, log } = this.#options;
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const delay = Math.min(maxBackoffMs, backoffMs * 2 ** Math.min(30, failures - 1)) * (1 + random() / 2);
    const expected = (error as { reason?: string }).reason === 'Conflict';
    log[expected ? 'debug' : 'warn']('retrying', { key, failures, delayMs: Math.round(delay), error });
    this.addAfter(key, delay);
  }
}
