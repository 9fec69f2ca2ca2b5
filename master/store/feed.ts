import { expired } from '../../shared/status.ts';
import type { Change } from './store.ts';

/** Changes read from the log per event-loop turn while a subscriber catches up. */
const SLICE = 256;

export type OnChanges = (changes: readonly Change[]) => void;

/** What a store gives its {@link Feed}. */
export interface Log {
  revision(): number;
  compactedRevision(): number;
  /** The changes after `after`, at most `limit` of them, in order and without a gap; empty at the end of the log. */
  read(after: number, limit: number): readonly Change[];
}

interface Subscriber {
  /** The newest revision that it has been given. */
  position: number;
  readonly onChanges: OnChanges;
}

/** Who is to hear of changes: those that are up to date at once, the others from the log until they have caught up. */
export class Feed {
  readonly #log: Log;
  readonly #live = new Set<Subscriber>();
  readonly #replaying = new Set<Subscriber>();
  #waiting: { readonly revision: number; readonly resolve: () => void }[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** As `Store.subscribe`. */
  subscribe(after: number, onChanges: OnChanges, signal: AbortSignal): void {
    const compacted = this.#log.compactedRevision();
    if (after < compacted) throw expired(`too old resource version: ${after} (${compacted})`);
    if (signal.aborted) return;
    const subscriber: Subscriber = { position: after, onChanges };
    signal.addEventListener('abort', () => this.#remove(subscriber), { once: true });
    if (after >= this.#log.revision()) this.#live.add(subscriber);
    else {
      this.#replaying.add(subscriber);
      setImmediate(() => this.#replay(subscriber));
    }
  }

  /** Hands the newest changes to everybody who has had all before them. They must be readable from the log by now. */
  publish(changes: readonly Change[]): void {
    for (const subscriber of this.#live) give(subscriber, changes);
  }

  /** Resolves when nobody reads the log at or before a revision any more. Later subscribers are the caller's concern. */
  async passed(revision: number): Promise<void> {
    if (!this.#isRead(revision)) return;
    await new Promise<void>((resolve) => this.#waiting.push({ revision, resolve }));
  }

  close(): void {
    this.#live.clear();
    this.#replaying.clear();
    this.#release();
  }

  #replay(subscriber: Subscriber): void {
    if (!this.#replaying.has(subscriber)) return;
    give(subscriber, this.#log.read(subscriber.position, SLICE));
    // The callback may have ended its own subscription.
    if (!this.#replaying.has(subscriber)) return;
    if (subscriber.position < this.#log.revision()) setImmediate(() => this.#replay(subscriber));
    else {
      this.#replaying.delete(subscriber);
      this.#live.add(subscriber);
    }
    this.#release();
  }

  #remove(subscriber: Subscriber): void {
    this.#live.delete(subscriber);
    this.#replaying.delete(subscriber);
    this.#release();
  }

  #isRead(revision: number): boolean {
    for (const { position } of this.#replaying) if (position < revision) return true;
    return false;
  }

  #release(): void {
    if (this.#waiting.length === 0) return;
    const ready = this.#waiting.filter(({ revision }) => !this.#isRead(revision));
    this.#waiting = this.#waiting.filter((waiter) => !ready.includes(waiter));
    for (const { resolve } of ready) resolve();
  }
}

function give(subscriber: Subscriber, changes: readonly Change[]): void {
  const last = changes.at(-1);
  if (!last || last.revision <= subscriber.position) return;
  const { position } = subscriber;
  subscriber.position = last.revision;
  try {
    subscriber.onChanges(changes[0]!.revision > position ? changes : changes.filter((change) => change.revision > position));
  } catch (error) {
    // A bug of the subscriber's: it surfaces as one, but neither the commit nor the other subscribers pay for it.
    setImmediate(() => {
      throw error;
    });
  }
}
