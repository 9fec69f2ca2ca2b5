import type { Change, Entry } from './store.ts';
import { chainOf, headerOf, isDelete, valueStart } from './record.ts';
import { boundsOf, compareKeys, type Bounds } from './order.ts';

/** Keys (without values) read per cursor: no cursor stays open while a caller looks at entries. */
const PAGE = 64;

/** A held read transaction of the database. */
export interface Transaction {
  done(): void;
}

export interface ScanOptions extends Bounds {
  readonly limit?: number;
  readonly transaction: Transaction;
}

/** Key → revision. */
export interface RevisionTable {
  get(key: string, options: { transaction: Transaction }): number | undefined;
  getRange(options: ScanOptions): Iterable<{ key: string; value: number }>;
  getKeysCount(options: ScanOptions): number;
}

/** Revision → record. The bytes that it hands out are good until the next read only. */
export interface RecordTable {
  getBinaryFast(revision: number, options: { transaction: Transaction }): Uint8Array | undefined;
}

export interface Tables {
  /** Every existing key. */
  readonly keys: RevisionTable;
  /** Every deleted key whose deletion is not compacted; never one that is in `keys`. */
  readonly graves: RevisionTable;
  readonly log: RecordTable;
}

/** One state of the store. Whoever reads it over several turns counts as a user of it; see {@link Snapshot.dropped}. */
export class Snapshot {
  readonly revision: number;
  users = 0;
  readonly #tables: Tables;
  readonly #transaction: Transaction;
  /** Made once: point reads are too many to allocate options for each. */
  readonly #options: { transaction: Transaction };
  #dropped = false;

  constructor(tables: Tables, transaction: Transaction, revision: number) {
    this.#tables = tables;
    this.#transaction = transaction;
    this.#options = { transaction };
    this.revision = revision;
  }

  /** Gone, be there users or not: nothing may be read from it any more. */
  get dropped(): boolean {
    return this.#dropped;
  }

  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#transaction.done();
  }

  /** Revision of a key's value, 0 if it has none. */
  revisionOf(key: string): number {
    return this.#tables.keys.get(key, this.#options) ?? 0;
  }

  /** Revision of the deletion that a key without value ended with, 0 if none is remembered. */
  graveOf(key: string): number {
    return this.#tables.graves.get(key, this.#options) ?? 0;
  }

  get(key: string): Entry | undefined {
    const revision = this.#tables.keys.get(key, this.#options);
    return revision === undefined ? undefined : { key, revision, bytes: this.value(revision) };
  }

  at(revision: number): Change | undefined {
    const record = this.record(revision);
    if (!record) return undefined;
    const { key, type, previous } = headerOf(record);
    return { revision, key, type, bytes: copyValue(record), previous };
  }

  /** The value of a revision that is known to be in the log; a `brief` one is good until the next read only. */
  value(revision: number, brief = false): Uint8Array {
    const record = this.record(revision);
    if (!record) throw new Error(`revision ${revision} is missing from the log: the store is damaged, restore a backup`);
    return brief ? record.subarray(valueStart(record)) : copyValue(record);
  }

  /** A record as it lies in the log, until the next read only. */
  record(revision: number): Buffer | undefined {
    const bytes = this.#tables.log.getBinaryFast(revision, this.#options);
    if (!bytes) return undefined;
    return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  count(prefix: string, after: string | undefined): number {
    return this.#tables.keys.getKeysCount({ ...boundsOf(prefix, after), transaction: this.#transaction });
  }

  /** Keys with the revisions of their values as of `revision`, in order. */
  *keysAt(prefix: string, after: string | undefined, revision: number): Generator<readonly [key: string, revision: number]> {
    const live = this.#scan(this.#tables.keys, prefix, after);
    if (revision >= this.revision) return yield* live;
    for (const [key, newest] of merge(live, this.#scan(this.#tables.graves, prefix, after))) {
      const then = this.#revisionAt(newest, revision);
      if (then > 0) yield [key, then];
    }
  }

  *#scan(table: RevisionTable, prefix: string, after: string | undefined): Generator<readonly [string, number]> {
    let position = after;
    for (;;) {
      const page = [...table.getRange({ ...boundsOf(prefix, position), limit: PAGE, transaction: this.#transaction })];
      for (const { key, value } of page) yield [key, value];
      if (page.length < PAGE) return;
      position = page.at(-1)!.key;
    }
  }

  /** Walks a key's history back from its newest change to the value that it had at `revision`; 0 if it had none. */
  #revisionAt(newest: number, revision: number): number {
    let change = newest;
    let record = this.record(change);
    while (record && change > revision) {
      change = chainOf(record);
      record = change > 0 ? this.record(change) : undefined;
    }
    // A change that is not in the log any more can only be a compacted deletion.
    return !record || isDelete(record) ? 0 : change;
  }
}

/** The one copy that is made of a value on its way out. */
function copyValue(record: Buffer): Buffer {
  const start = valueStart(record);
  const value = Buffer.allocUnsafe(record.length - start);
  record.copy(value, 0, start, record.length);
  return value;
}

/** Merges two ordered sequences that have no key in common. */
function* merge(left: Generator<readonly [string, number]>, right: Generator<readonly [string, number]>): Generator<readonly [string, number]> {
  let a = left.next();
  let b = right.next();
  while (!a.done || !b.done) {
    if (b.done || (!a.done && compareKeys(a.value[0], b.value[0]) < 0)) {
      yield a.value!;
      a = left.next();
    } else {
      yield b.value;
      b = right.next();
    }
  }
}
