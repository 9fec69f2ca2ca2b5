import { ConflictError, StoreError, type Op } from './store.ts';
import type { LoggedChange } from './record.ts';
import { KEY_LIMIT_BYTES } from './order.ts';

/** Where a key stands: `revision` of its value, 0 if it has none; `chain` as in {@link LoggedChange}. */
export interface Head {
  readonly revision: number;
  readonly chain: number;
}

/** What a store gives its {@link WriteQueue}. */
export interface Backend {
  /** The newest committed revision. */
  revision(): number;
  /** Where a key stands in committed state. */
  head(key: string): Head;
  /** Lays out one change as the store keeps it; `bytes` of the result are what subscribers will see. */
  prepare(change: LoggedChange, creates: boolean): LoggedChange;
  /** Makes all changes durable in one transaction, or none of them. Nothing becomes visible yet. */
  commit(changes: readonly LoggedChange[]): Promise<void>;
  /** Makes what was just committed visible to readers, then to subscribers. Must not throw. */
  publish(changes: readonly LoggedChange[]): void;
}

/** The writes of one event-loop turn (or of all turns that passed while the batch before was on its way). */
interface Batch {
  readonly changes: LoggedChange[];
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: StoreError) => void;
}

interface PendingHead extends Head {
  readonly batch: Batch;
}

/**
 * Turns single writes into durable batches, one on its way at a time: compares expectations with pending over
 * committed state, numbers changes without gaps, and gives both back when a commit fails.
 *
 *     write ──► open batch ──(end of turn, nothing on its way)──► commit ──► publish ──► resolve
 *                   ▲                                               │
 *                   └── rejected too, their revisions given back ◄──┴── fails ──► reject
 */
export class WriteQueue {
  readonly #backend: Backend;
  /** Newest change of each key that is not settled yet. */
  readonly #pending = new Map<string, PendingHead>();
  readonly #jobs: (() => Promise<void>)[] = [];
  #open: Batch | undefined;
  #next: number;
  #draining: Promise<void> | undefined;
  #closed = false;

  constructor(backend: Backend) {
    this.#backend = backend;
    this.#next = backend.revision() + 1;
  }

  /** As `Store.write`. What it is asked within one turn is queued in that order, before it returns. */
  async write(ops: readonly Op[]): Promise<readonly number[]> {
    checkOps(ops);
    for (;;) {
      this.#refuseIfClosed();
      const heads = ops.map((op) => this.#head(op.key));
      const lost = ops.find((op, i) => heads[i]!.revision !== op.expect);
      if (!lost) return this.#enqueue(ops, heads);
      await this.#settled(lost.key);
      const { revision } = this.#backend.head(lost.key);
      if (revision !== lost.expect) throw new ConflictError(lost.key, lost.expect, revision);
      // What it lost against was never committed: it has its chance after all.
    }
  }

  /** Runs a job while no commit is on its way; between two jobs, waiting writes go first. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    this.#refuseIfClosed();
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push(() => job().then(resolve, reject));
      this.#wake();
    });
  }

  /** Refuses what comes from now on, and waits for what came before. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#draining;
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new StoreError('the store is closed', undefined);
  }

  #head(key: string): Head {
    return this.#pending.get(key) ?? this.#backend.head(key);
  }

  /** Resolves when the newest pending change of a key is committed or refused. */
  async #settled(key: string): Promise<void> {
    await this.#pending.get(key)?.batch.done.catch(() => undefined);
  }

  async #enqueue(ops: readonly Op[], heads: readonly Head[]): Promise<readonly number[]> {
    const changes = ops.map((op, i) => this.#change(op, heads[i]!, this.#next + i));
    if (changes.length === 0) return [];
    const batch = (this.#open ??= newBatch());
    this.#next += changes.length;
    for (const change of changes) {
      batch.changes.push(change);
      this.#pending.set(change.key, { revision: change.type === 'put' ? change.revision : 0, chain: change.revision, batch });
    }
    this.#wake();
    await batch.done;
    return changes.map((change) => change.revision);
  }

  #change({ type, key, expect, value }: Op, { chain }: Head, revision: number): LoggedChange {
    return this.#backend.prepare({ revision, key, type, bytes: value(revision), previous: expect, chain }, expect === 0);
  }

  #wake(): void {
    this.#draining ??= this.#drain();
  }

  async #drain(): Promise<void> {
    while (this.#open || this.#jobs.length > 0) {
      await endOfTurn();
      const batch = this.#open;
      this.#open = undefined;
      if (batch) await this.#commit(batch);
      await this.#jobs.shift()?.();
    }
    this.#draining = undefined;
  }

  async #commit(batch: Batch): Promise<void> {
    try {
      await this.#backend.commit(batch.changes);
    } catch (cause) {
      this.#fail(batch, cause);
      return;
    }
    for (const { key } of batch.changes) {
      if (this.#pending.get(key)?.batch === batch) this.#pending.delete(key);
    }
    this.#backend.publish(batch.changes);
    batch.resolve();
  }

  /** Whatever is queued behind carries revisions, and maybe expectations, that the failed batch has made void. */
  #fail(batch: Batch, cause: unknown): void {
    const behind = this.#open;
    this.#open = undefined;
    this.#pending.clear();
    this.#next = this.#backend.revision() + 1;
    const why = cause instanceof Error ? cause.message : String(cause);
    const error = new StoreError(`commit of ${batch.changes.length} changes: ${why}`, cause);
    batch.reject(error);
    behind?.reject(error);
  }
}

function newBatch(): Batch {
  let resolve!: () => void;
  let reject!: (error: StoreError) => void;
  const done = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { changes: [], done, resolve, reject };
}

/** After the callbacks of this turn: what they all write becomes one commit. */
function endOfTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** @throws RangeError for a key that no store could hold, a deletion of nothing, or a key that is written twice */
function checkOps(ops: readonly Op[]): void {
  for (const { type, key, expect } of ops) {
    const bytes = Buffer.byteLength(key);
    if (bytes === 0 || bytes > KEY_LIMIT_BYTES) throw new RangeError(`write of a key of ${bytes} bytes: 1 to ${KEY_LIMIT_BYTES} are possible`);
    if (type === 'delete' && expect === 0) throw new RangeError(`delete of ${JSON.stringify(key)} that expects it not to exist`);
  }
  if (ops.length > 1 && new Set(ops.map(({ key }) => key)).size < ops.length) throw new RangeError('two writes of one key in one transaction');
}
