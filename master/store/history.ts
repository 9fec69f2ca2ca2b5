import { sleep, systemClock, type Clock } from '../../shared/clock.ts';
import { StoreError, type Store } from './store.ts';

export interface CompactionOptions {
  /** Changes younger than this are never forgotten. */
  readonly keepMs: number;
  /** Neither are this many newest ones, however old; 1000 by default. */
  readonly keepRevisions?: number;
  /** Time between two looks; a change may outlive `keepMs` by this. A tenth of `keepMs` by default. */
  readonly everyMs?: number;
  /** What the disk refused; the next look tries again. */
  readonly onError?: (error: StoreError) => void;
  readonly clock?: Clock;
}

/** The store was at `revision` at the time `at`, so every later revision is younger. */
interface Mark {
  readonly at: number;
  readonly revision: number;
}

/**
 * Keeps the watch window: compacts the store again and again to where it was `keepMs` ago. Ages are counted from its
 * own start, so a restarted master keeps what it finds for another `keepMs`. Resolves when `signal` aborts.
 */
export async function runCompaction(store: Store, options: CompactionOptions, signal: AbortSignal): Promise<void> {
  const { keepMs, keepRevisions = 1000, everyMs = keepMs / 10, clock = systemClock } = options;
  let marks: readonly Mark[] = [];
  while (!signal.aborted) {
    const now = clock.monotonic();
    marks = mark(marks, { at: now, revision: store.revision }, keepMs);
    const [oldest] = marks;
    const target = Math.min(oldest!.at + keepMs <= now ? oldest!.revision : 0, store.revision - keepRevisions);
    if (target > store.compactedRevision) await compact(store, target, options.onError);
    await sleep(clock, everyMs, signal);
  }
}

/** Adds a mark and forgets those that a later one, old enough too, makes needless. */
function mark(marks: readonly Mark[], newest: Mark, keepMs: number): readonly Mark[] {
  const old = marks.findLastIndex(({ at }) => at + keepMs <= newest.at);
  return [...marks.slice(Math.max(old, 0)), newest];
}

async function compact(store: Store, revision: number, onError: CompactionOptions['onError']): Promise<void> {
  try {
    await store.compact(revision);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    onError?.(error);
  }
}
