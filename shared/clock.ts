/** Time as code sees it, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since 1970. Jumps when somebody sets the machine's clock: use it for stamps only. */
  now(): number;
  /** Milliseconds that only ever grow: use it for durations and timeouts. */
  monotonic(): number;
  /** Calls `run` once after `ms`; returns the way to cancel. Does not keep the process alive. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, 2 ** 31 - 1));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or at once when `signal` aborts. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => { cancel(); signal.removeEventListener('abort', done); resolve(); };
    const cancel = clock.after(ms, done);
    signal.addEventListener('abort', done, { once: true });
  });
}
