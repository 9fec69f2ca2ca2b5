import * as v from 'valibot';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { State } from '../state/state.ts';

/** The note: by the machine's clock when the master was last heard of, and how long it had been silent at least. */
const Silence = v.object({ sinceMs: v.number(), atLeastMs: v.number() });
const noteKey = 'silence';

export interface OutageOptions {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether anything on this node depends on how long an outage lasts: only then is it worth a write to flash. */
  readonly matters: () => boolean;
}

/**
 * How long this node has been without a master. A master counts once it has said all that this node must know, so that
 * nothing is begun again that has become another node's meanwhile.
 *
 * While the agent runs it counts on its monotonic clock. For an agent that starts during an outage the machine's clock is
 * all there is; should that have been set back, what was noted last is the least.
 */
export class Outage {
  readonly #options: OutageOptions;
  /** Monotonic time at which the master fell silent; undefined while it is there. */
  #sinceMs: number | undefined;

  constructor(options: OutageOptions) {
    this.#options = options;
    const { state, clock } = options;
    const noted = v.safeParse(Silence, state.notes.get(noteKey));
    const before = noted.success ? Math.max(noted.output.atLeastMs, clock.now() - noted.output.sinceMs) : 0;
    this.#sinceMs = clock.monotonic() - before;
  }

  /** Milliseconds without a master; undefined while there is one. */
  get ms(): number | undefined {
    return this.#sinceMs === undefined ? undefined : this.#options.clock.monotonic() - this.#sinceMs;
  }

  /** The master is there (undefined), or was last heard of at a monotonic time. */
  link(heardMs: number | undefined): void {
    if (heardMs === undefined) {
      this.#sinceMs = undefined;
      if (this.#options.state.notes.has(noteKey)) this.#write(undefined);
    } else if (this.#sinceMs === undefined) {
      this.#sinceMs = heardMs;
      this.keep();
    }
  }

  /** Makes what is known of the outage last beyond this process. */
  keep(): void {
    const { ms } = this;
    if (ms === undefined || !this.#options.matters()) return;
    this.#write({ sinceMs: Math.round(this.#options.clock.now() - ms), atLeastMs: Math.round(ms) });
  }

  #write(note: v.InferOutput<typeof Silence> | undefined): void {
    this.#options.state.note(noteKey, note).catch((error: unknown) => this.#options.log.warn('cannot keep since when the master is away', { error }));
  }
}
