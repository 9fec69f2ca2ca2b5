import { setMaxListeners } from 'node:events';

/**
 * Long-lived tasks under one AbortSignal. `run` resolves when all have ended after an abort; the first task that
 * throws aborts the others, and `run` rejects with its error once they have ended too.
 */
export class Scope {
  readonly #abort = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(parent: AbortSignal) {
    // Everything long-lived listens to its scope's signal: many listeners are no leak.
    setMaxListeners(0, this.#abort.signal);
    if (parent.aborted) this.#abort.abort();
    else parent.addEventListener('abort', () => this.#abort.abort(), { once: true, signal: this.#abort.signal });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Starts a task that must end soon after the signal aborts. */
  start(task: (signal: AbortSignal) => Promise<void>): void {
    const running = task(this.signal)
      .catch((error: unknown) => { this.#failure ??= { error }; this.#abort.abort(); })
      .finally(() => this.#tasks.delete(running));
    this.#tasks.add(running);
  }

  /** Waits for the abort and then for every task. */
  async wait(): Promise<void> {
    if (!this.signal.aborted) await new Promise<void>((resolve) => this.signal.addEventListener('abort', () => resolve(), { once: true }));
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    if (this.#failure) throw this.#failure.error;
  }

  stop(): void {
    this.#abort.abort();
  }
}
