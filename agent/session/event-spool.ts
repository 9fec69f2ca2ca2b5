import * as v from 'valibot';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { EventReport } from '../../shared/protocol.ts';
import type { State } from '../state/state.ts';

export interface EventSpoolOptions {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
  /** Events that the master is yet to take. */
  readonly waiting: () => Iterable<EventReport>;
  /** Whether they are about to be taken: then they are not worth a write. */
  readonly linked: () => boolean;
  /** How often new ones are written. Default 30 s. */
  readonly everyMs?: number;
  /** How old the written count of a repeating one may become. Default 10 min. */
  readonly staleMs?: number;
}

const prefix = 'event/';

/**
 * Keeps events of an outage in the state, so that they outlive the agent, at few writes: all that are new in half a
 * minute are one, and a repeating event is written again once in ten minutes. An agent that is killed loses no more.
 */
export class EventSpool {
  readonly #options: EventSpoolOptions;

  constructor(options: EventSpoolOptions) {
    this.#options = options;
  }

  /** What an agent before this one could not tell, the oldest first. */
  restored(): EventReport[] {
    const found: EventReport[] = [];
    for (const [key, value] of this.#options.state.notes) {
      const event = key.startsWith(prefix) ? v.safeParse(EventReport, value) : undefined;
      if (event?.success) found.push(event.output);
    }
    return found.sort((a, b) => a.lastMs - b.lastMs);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, everyMs = 30_000, staleMs = 600_000 } = this.#options;
    while (!signal.aborted) {
      await sleep(clock, everyMs, signal);
      await this.#write(signal.aborted ? 0 : staleMs);
    }
  }

  async #write(staleMs: number): Promise<void> {
    const { state, log, waiting, linked } = this.#options;
    const wanted = new Map([...waiting()].map((event) => [`${prefix}${event.key}`, event]));
    const writes: Promise<void>[] = [];
    for (const key of [...state.notes.keys()]) if (key.startsWith(prefix) && !wanted.has(key)) writes.push(state.note(key, undefined));
    for (const [key, event] of linked() && staleMs > 0 ? [] : wanted) {
      const noted = state.notes.get(key) as EventReport | undefined;
      if (!noted || event.lastMs - noted.lastMs >= staleMs) writes.push(state.note(key, event));
    }
    // A disk that refuses is told of by the state itself.
    await Promise.all(writes).catch((error: unknown) => log.debug('cannot keep events', { error }));
  }
}
