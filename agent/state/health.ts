import { sleep, type Clock } from '../../shared/clock.ts';

export interface HealthOptions {
  readonly clock: Clock;
  /** Told when the disk begins to refuse, with why, and (undefined) when it takes writes again. */
  readonly onChange: (why: string | undefined) => void;
  /** How often a disk that refuses is tried. Default 5 s. */
  readonly retryMs?: number;
}

/** Whether the disk takes what the agent has to remember. Somebody has to find out that it does again: this does. */
export class StateHealth {
  readonly #options: HealthOptions;
  #why: string | undefined;
  #wake: (() => void) | undefined;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Undefined: it does. */
  get trouble(): string | undefined {
    return this.#why;
  }

  /** The journal's `onTrouble`. */
  readonly note = (error: Error | undefined): void => {
    this.#why = error?.message;
    this.#options.onChange(this.#why);
    this.#wake?.();
  };

  /** Tries `flush` while the disk refuses, until `signal` aborts. */
  async run(flush: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, retryMs = 5000 } = this.#options;
    const stop = (): void => this.#wake?.();
    signal.addEventListener('abort', stop, { once: true });
    while (!signal.aborted) {
      if (this.#why === undefined) await new Promise<void>((resolve) => { this.#wake = resolve; });
      await sleep(clock, retryMs, signal);
      // What it fails with is known already.
      if (!signal.aborted && this.#why !== undefined) await flush().catch(() => {});
    }
  }
}
