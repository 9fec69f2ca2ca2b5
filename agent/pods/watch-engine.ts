import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { label } from '../runtime/labels.ts';
import type { Runtime, RuntimeEvent } from '../runtime/runtime.ts';

export interface WatchEngineOptions {
  readonly runtime: Pick<Runtime, 'events'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Told when the engine stops answering, and why, and when it does again. */
  readonly engine?: ((up: boolean, why?: string) => void) | undefined;
  /** Compares everything with the engine, `all` of it anew when events were missed. Rejects when the engine does not answer. */
  readonly resync: (all: boolean) => Promise<void>;
  /** Called with each event of a container that an agent made, in order, after the first `resync`. */
  readonly onEvent: (event: RuntimeEvent) => void;
  /** How often everything is compared with the engine though no event said so. Default 60 s. */
  readonly resyncMs?: number | undefined;
}

/**
 * Follows the engine's events until `signal` aborts, and starts over when it went away: subscribe first, then list, so that
 * nothing falls between.
 */
export async function watchEngine(options: WatchEngineOptions, signal: AbortSignal): Promise<void> {
  const { runtime, clock, log, engine, resync } = options;
  let waitMs = 100;
  /** What was told last: an engine may be away for days, and each line is written to a disk. */
  let told: string | undefined;
  while (!signal.aborted) {
    let why = 'it ended its event stream';
    try {
      const events = await runtime.events(label.owner, signal);
      await resync(true);
      if (told !== undefined) log.info('the engine answers');
      told = undefined;
      engine?.(true);
      waitMs = 100;
      await follow(options, events, signal);
      if (!signal.aborted) log.warn('the engine ended its event stream');
    } catch (error) {
      why = (error as Error).message;
      if (!signal.aborted && why !== told) log.warn('the engine does not answer; trying on', { why });
    }
    if (signal.aborted) return;
    told = why;
    engine?.(false, why);
    await sleep(clock, waitMs, signal);
    waitMs = Math.min(1000, waitMs * 2);
  }
}

/** Passes events on until there are no more, and compares now and then meanwhile. */
async function follow({ clock, log, resync, onEvent, resyncMs = 60_000 }: WatchEngineOptions, events: AsyncIterable<RuntimeEvent>, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const ticking = (async () => {
    const both = AbortSignal.any([signal, over.signal]);
    while (!both.aborted) {
      await sleep(clock, resyncMs, both);
      if (!both.aborted) await resync(false).catch((error: unknown) => log.warn('cannot list containers', { error }));
    }
  })();
  try {
    for await (const event of events) onEvent(event);
  } finally {
    over.abort();
    await ticking;
  }
}
