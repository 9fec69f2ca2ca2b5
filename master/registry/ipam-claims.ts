import type { Clock } from '../../shared/clock.ts';
import type { Op, Store } from '../store/store.ts';

/** How long a pick is remembered until its transaction must have ended one way or the other. */
const inFlightMs = 10_000;

/**
 * Values that are taken, as store keys: a claim is written in the transaction of the object that uses the value, so two
 * writers can never both get it and a restart forgets nothing. What was handed out but is not committed yet is
 * remembered in memory, so that concurrent creations do not pick the same value and lose a transaction to each other.
 */
export class Claims {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #prefix: string;
  /** Value → when it is forgotten, in order of that time. */
  readonly #inFlight = new Map<string, number>();

  /** `prefix` is that of the claims' store keys, such as `claims/ip/`. */
  constructor(store: Store, clock: Clock, prefix: string) {
    this.#store = store;
    this.#clock = clock;
    this.#prefix = prefix;
  }

  /** Committed for some object. */
  taken(value: string): boolean {
    return this.#store.get(this.#prefix + value) !== undefined;
  }

  /** Neither committed nor about to be. */
  free(value: string): boolean {
    this.#forgetOld();
    return !this.#inFlight.has(value) && !this.taken(value);
  }

  /** The op that takes a value for an object; its transaction fails if somebody else is faster. */
  claim(value: string, owner: string): Op {
    this.#inFlight.delete(value);
    this.#inFlight.set(value, this.#clock.monotonic() + inFlightMs);
    return { type: 'put', key: this.#prefix + value, expect: 0, value: () => Buffer.from(owner) };
  }

  /** The op that frees a value; none when it is not taken. */
  release(value: string): Op[] {
    const entry = this.#store.get(this.#prefix + value);
    return entry ? [{ type: 'delete', key: entry.key, expect: entry.revision, value: () => entry.bytes }] : [];
  }

  #forgetOld(): void {
    const now = this.#clock.monotonic();
    for (const [value, until] of this.#inFlight) {
      if (until > now) return;
      this.#inFlight.delete(value);
    }
  }
}
