/**
 * The durable, ordered key-value store under the API: every write gets the next revision, all writes are in one
 * change log, and reads see committed state only.
 *
 * Values are opaque bytes (the registry keeps JSON documents in them) that callers must not mutate.
 */
export interface Store {
  /** Identity of this database; a new one after a restore from a backup. Agents compare it before they resume. */
  readonly epoch: string;
  /** The newest committed revision; 0 while nothing was ever written. Revisions are gapless. */
  readonly revision: number;
  /** Changes up to this revision may be gone from the log: a watch or an old read must start at or after it. */
  readonly compactedRevision: number;
  /** The committed entry of a key. */
  get(key: string): Entry | undefined;
  /** Revision of a key's current value, 0 if it has none: {@link get} for those who know the value of that revision. */
  revisionOf(key: string): number;
  /** The bytes written at a revision that is still current or not yet compacted. */
  at(revision: number): Change | undefined;
  /** Deletions after a revision up to another one, in order, as far as they are not compacted: cheaper than all changes, whose values need not be fetched. */
  deletions(after: number, upTo: number): readonly Change[];
  /**
   * Committed entries under a prefix, ordered by key, one at a time: nothing is read ahead, so that a caller may
   * stop or yield to the event loop between entries. One iteration sees one snapshot.
   * @throws StatusError 410 Expired when `atRevision` lies before {@link compactedRevision}
   */
  range(prefix: string, options?: RangeOptions): Iterable<Entry>;
  /** Number of keys under a prefix, counted from keys alone. `after` as in {@link RangeOptions}. */
  count(prefix: string, after?: string): number;
  /**
   * Commits all ops in one transaction, or none. The promise resolves when they survive power loss.
   * Ops of one transaction get consecutive revisions in order.
   * @throws ConflictError when an expectation fails; it is thrown only after the state that it lost against is
   *   committed, so that a caller who reads again sees why
   * @throws StoreError when the disk refuses; nothing of it is then visible
   */
  write(ops: readonly Op[]): Promise<readonly number[]>;
  /**
   * Calls `onChanges` with every change after `after`, in revision order, first from the log and then live, one call
   * per commit batch; the same array instance goes to all live subscribers, so work on it can be shared.
   * Ends when `signal` aborts.
   * @throws StatusError 410 Expired when `after` lies before {@link compactedRevision}
   */
  subscribe(after: number, onChanges: (changes: readonly Change[]) => void, signal: AbortSignal): void;
  /** Forgets superseded values and log entries up to and including `revision`. Runs in slices beside other work. */
  compact(revision: number): Promise<void>;
  /** Writes a consistent copy to a new directory while the store goes on. */
  backup(directory: string): Promise<void>;
  /** Waits for what is being written and releases the files. */
  close(): Promise<void>;
}

/** A key's current value. `bytes` are the caller's to keep, but for {@link RangeOptions.brief}. */
export interface Entry {
  readonly key: string;
  readonly revision: number;
  readonly bytes: Uint8Array;
}

/** One line of the change log. */
export interface Change {
  readonly revision: number;
  readonly key: string;
  readonly type: 'put' | 'delete';
  /** The value written; for a delete, the last value as the deleter wrote it (with the deletion's revision in it). */
  readonly bytes: Uint8Array;
  /** Revision of the value that this replaced or deleted; 0 for a creation. Readable by {@link Store.at} until compacted. */
  readonly previous: number;
}

export interface RangeOptions {
  /** Only keys after this one. */
  readonly after?: string;
  /** The state as of this revision; the newest by default. */
  readonly atRevision?: number;
  /** An entry's bytes need not outlive the next call to the store, or the caller's turn of the event loop: saves their copy. */
  readonly brief?: boolean;
}

export interface Op {
  readonly type: 'put' | 'delete';
  readonly key: string;
  /** Revision that the key must have; 0: it must not exist. */
  readonly expect: number;
  /** Makes the bytes once the revision is known (the document carries it). Must be quick and must not throw. */
  readonly value: (revision: number) => Uint8Array;
}

/** An expectation did not hold. `current` is the key's revision by then, 0 if it does not exist. */
export class ConflictError extends Error {
  readonly key: string;
  readonly expected: number;
  readonly current: number;

  constructor(key: string, expected: number, current: number) {
    super(`write of ${JSON.stringify(key)}: expected revision ${expected}, found ${current}`);
    this.name = 'ConflictError';
    this.key = key;
    this.expected = expected;
    this.current = current;
  }
}

/** The disk did not take a write (full, read-only, failing). The store goes on serving reads and tries later writes. */
export class StoreError extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = 'StoreError';
  }
}
