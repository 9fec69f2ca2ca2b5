import { randomUUID } from 'node:crypto';
import { mkdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { plainReason } from '../../shared/plain-reason.ts';
import { expired } from '../../shared/status.ts';
import type { Change, Entry, Op, RangeOptions, Store } from './store.ts';
import { StoreError } from './store.ts';
import { WriteQueue, type Head } from './writes.ts';
import { Feed, type OnChanges } from './feed.ts';
import { Snapshot, type RecordTable, type RevisionTable, type Tables } from './snapshot.ts';
import { chainOf, encodeRecord, isDelete, keyOf, valueStart, type LoggedChange } from './record.ts';
import { KEY_LIMIT_BYTES } from './order.ts';
import { isRunning, thisProcess, type Owner } from './owner.ts';
import { checkDataFile } from './datafile.ts';
import { copyTo } from './backup.ts';

export interface LmdbStoreOptions {
  /** Holds data.mdb and lock.mdb; made, readable by this user only, if it does not exist. */
  readonly directory: string;
  /** How long an iteration may hold on to a state that is not the newest before it goes on from the log; 10 s by default. */
  readonly holdMs?: number;
}

/** Layout version, in meta/format. A store with a greater one is not opened. */
const FORMAT = 1;
/** Address space reserved for the file at first; LMDB maps more when it grows beyond. */
const MAP_BYTES = 16 * 2 ** 30;
/** Log entries per transaction while compacting. */
const SWEEP = 1000;
/** A commit of one write blocks the loop, which saves two thread switches, while commits take less than this. */
const BLOCKING_MS = 1;

interface Meta {
  format: number;
  epoch: string;
  /** Inode of the data file that `epoch` and `owner` belong to: a copy is a store of its own. */
  inode: number;
  /** The process that has the store open; absent after a clean close. */
  owner: Owner;
  /** As {@link Store.compactedRevision}. */
  compacted: number;
  /** How far the log has been swept on the way to `compacted`. */
  swept: number;
}

interface Environment extends Tables {
  readonly root: RootDatabase;
  readonly meta: Database<Meta[keyof Meta], keyof Meta>;
  readonly keys: RevisionTable & Database<number, string>;
  readonly graves: RevisionTable & Database<number, string>;
  readonly log: RecordTable & Database<Uint8Array, number>;
}

/**
 * Opens the store in a directory, or makes an empty one.
 * @throws Error naming the file and what to do, if another process has it open, if it is damaged, foreign or newer
 */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<Store> {
  const directory = resolve(options.directory);
  const file = join(directory, 'data.mdb');
  let root: RootDatabase | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    checkDataFile(file);
    root = open(environmentOptions(directory));
    const env = openTables(root);
    const owner = claim(env, statSync(file).ino);
    if (!owner) return new LmdbStore(env, options.holdMs ?? 10_000);
    throw new OpenError(`data directory ${directory} is in use by process ${owner.pid}`);
  } catch (error) {
    await root?.close();
    throw error instanceof OpenError ? error : unusable(file, error);
  }
}

/** The store cannot be opened: another master has it, or it is not what it should be. One line for the user. */
class OpenError extends Error {
  override readonly name = 'OpenError';
}

class LmdbStore implements Store {
  readonly epoch: string;
  readonly #env: Environment;
  readonly #holdMs: number;
  readonly #writes: WriteQueue;
  readonly #feed: Feed;
  /** States that are not the newest any more but still being iterated over, with the timers that end that. */
  readonly #held = new Map<Snapshot, NodeJS.Timeout>();
  readonly #backups = new Set<Promise<void>>();
  #newest: Snapshot;
  #compacted: number;
  #swept: number;
  #sweeping: Promise<void> = Promise.resolve();
  /** Moving average of what a commit takes. */
  #commitMs = BLOCKING_MS;
  #closing: Promise<void> | undefined;

  constructor(env: Environment, holdMs: number) {
    this.#env = env;
    this.#holdMs = holdMs;
    this.epoch = env.meta.get('epoch') as string;
    this.#compacted = (env.meta.get('compacted') as number | undefined) ?? 0;
    this.#swept = (env.meta.get('swept') as number | undefined) ?? 0;
    this.#newest = this.#take(Math.max(lastKey(env.log) ?? 0, this.#compacted));
    this.#feed = new Feed({
      revision: () => this.revision,
      compactedRevision: () => this.#compacted,
      read: (after, limit) => this.#read(after, limit),
    });
    this.#writes = new WriteQueue({
      revision: () => this.revision,
      head: (key) => this.#head(key),
      prepare,
      commit: (changes) => this.#commit(changes),
      publish: (changes) => this.#publish(changes),
    });
  }

  get revision(): number {
    return this.#newest.revision;
  }

  get compactedRevision(): number {
    return this.#compacted;
  }

  get(key: string): Entry | undefined {
    this.#refuseIfClosed();
    return isPossible(key) ? this.#newest.get(key) : undefined;
  }

  revisionOf(key: string): number {
    this.#refuseIfClosed();
    return isPossible(key) ? this.#newest.revisionOf(key) : 0;
  }

  at(revision: number): Change | undefined {
    this.#refuseIfClosed();
    return this.#newest.at(revision);
  }

  deletions(after: number, upTo: number): Change[] {
    this.#refuseIfClosed();
    const found: Change[] = [];
    const end = Math.min(this.revision, upTo);
    for (let revision = after + 1; revision <= end; revision++) {
      const record = this.#newest.record(revision);
      const change = record && isDelete(record) ? this.#newest.at(revision) : undefined;
      if (change) found.push(change);
    }
    return found;
  }

  range(prefix: string, options: RangeOptions = {}): Iterable<Entry> {
    this.#refuseIfClosed();
    if (options.atRevision !== undefined) this.#refuseIfCompacted(options.atRevision);
    return { [Symbol.iterator]: () => this.#iterate(prefix, options) };
  }

  count(prefix: string, after?: string): number {
    this.#refuseIfClosed();
    return this.#newest.count(prefix, after);
  }

  async write(ops: readonly Op[]): Promise<readonly number[]> {
    return this.#writes.write(ops);
  }

  subscribe(after: number, onChanges: OnChanges, signal: AbortSignal): void {
    this.#refuseIfClosed();
    this.#feed.subscribe(after, onChanges, signal);
  }

  async compact(revision: number): Promise<void> {
    const target = Math.min(revision, this.revision);
    // Nobody may start from there on; who did before is waited for. Iterations hold states of their own.
    this.#compacted = Math.max(this.#compacted, target);
    await this.#feed.passed(target);
    const sweep = this.#sweeping.then(() => this.#sweepTo(target));
    this.#sweeping = sweep.catch(() => undefined);
    await sweep;
  }

  async backup(directory: string): Promise<void> {
    this.#refuseIfClosed();
    const copying = copyTo(resolve(directory), (target) => this.#env.root.backup(target, true));
    this.#backups.add(copying);
    await copying.finally(() => this.#backups.delete(copying));
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#feed.close();
    await this.#writes.close();
    await Promise.allSettled([...this.#backups, this.#sweeping]);
    for (const snapshot of [...this.#held.keys(), this.#newest]) this.#drop(snapshot);
    try {
      this.#env.root.transactionSync(() => this.#env.meta.removeSync('owner'));
    } catch {
      // A full disk: the next master sees that this process has ended.
    }
    await this.#env.root.close();
  }

  #refuseIfClosed(): void {
    if (this.#closing) throw new StoreError('the store is closed', undefined);
  }

  #refuseIfCompacted(revision: number): void {
    if (revision < this.#compacted) throw expired(`The provided resource version ${revision} is too old: changes up to ${this.#compacted} are compacted`);
  }

  // Reading

  *#iterate(prefix: string, options: RangeOptions): Generator<Entry> {
    const revision = Math.min(options.atRevision ?? Infinity, this.revision);
    let position = options.after;
    for (let ended = false; !ended; ) {
      const snapshot = this.#hold(revision);
      try {
        ended = true;
        for (const [key, at] of snapshot.keysAt(prefix, position, revision)) {
          yield { key, revision: at, bytes: snapshot.value(at, options.brief) };
          position = key;
          ended = !snapshot.dropped;
          if (!ended) break;
        }
      } finally {
        this.#release(snapshot);
      }
    }
  }

  /** The newest state, kept for an iteration that wants to see how things were at `revision`. */
  #hold(revision: number): Snapshot {
    this.#refuseIfClosed();
    this.#refuseIfCompacted(revision);
    this.#newest.users += 1;
    return this.#newest;
  }

  #release(snapshot: Snapshot): void {
    snapshot.users -= 1;
    if (snapshot.users === 0 && snapshot !== this.#newest) this.#drop(snapshot);
  }

  #drop(snapshot: Snapshot): void {
    clearTimeout(this.#held.get(snapshot));
    this.#held.delete(snapshot);
    snapshot.drop();
  }

  #take(revision: number): Snapshot {
    try {
      return new Snapshot(this.#env, this.#env.root.useReadTransaction(), revision);
    } catch (error) {
      if (this.#held.size === 0) throw error;
      // All reader slots are taken by iterations: they have to go on from the log.
      for (const snapshot of this.#held.keys()) this.#drop(snapshot);
      return this.#take(revision);
    }
  }

  /** Replaces the newest state. Pages that only the old one needs can be used again once nobody iterates over it. */
  #renew(revision: number): void {
    const old = this.#newest;
    this.#env.root.resetReadTxn();
    this.#newest = this.#take(revision);
    if (old.users === 0) old.drop();
    else this.#held.set(old, setTimeout(() => this.#drop(old), this.#holdMs).unref());
  }

  #read(after: number, limit: number): Change[] {
    const changes: Change[] = [];
    const end = Math.min(this.revision, after + limit);
    for (let revision = after + 1; revision <= end; revision++) {
      const change = this.#newest.at(revision);
      if (!change) throw new Error(`revision ${revision} is missing from the log: the store is damaged, restore a backup`);
      changes.push(change);
    }
    return changes;
  }

  // Writing

  #head(key: string): Head {
    const revision = this.#newest.revisionOf(key);
    return { revision, chain: revision || this.#newest.graveOf(key) };
  }

  async #commit(changes: readonly LoggedChange[]): Promise<void> {
    await this.#transact(changes.length, () => {
      for (const change of changes) this.#put(change as StoredChange);
    });
  }

  #put({ revision, key, type, chain, previous, record }: StoredChange): void {
    const { keys, graves, log } = this.#env;
    void log.put(revision, record);
    if (type === 'put') {
      void keys.put(key, revision);
      if (previous === 0 && chain > 0) void graves.remove(key);
    } else {
      void keys.remove(key);
      void graves.put(key, revision);
    }
  }

  /** Runs the puts and removes of `action` as one transaction. Durable when it resolves; undone if it rejects. */
  async #transact(size: number, action: () => void): Promise<void> {
    const started = performance.now();
    if (size === 1 && this.#commitMs < BLOCKING_MS) this.#env.root.transactionSync(action);
    else await commitError(this.#env.root.batch(action));
    this.#commitMs += (performance.now() - started - this.#commitMs) / 8;
  }

  #publish(changes: readonly Change[]): void {
    this.#renew(changes.at(-1)!.revision);
    this.#feed.publish(changes);
  }

  // Compaction

  async #sweepTo(target: number): Promise<void> {
    while (this.#swept < target) await this.#writes.run(() => this.#sweepSlice(target));
  }

  /**
   * Goes through the log up to `target` and removes what each change superseded, and deletions themselves.
   * What remains of the log up to there are the values that were current at `target`.
   */
  async #sweepSlice(target: number): Promise<void> {
    const end = Math.min(target, this.#swept + SWEEP);
    const records: number[] = [];
    const graves: string[] = [];
    for (let revision = this.#swept + 1; revision <= end; revision++) {
      const record = this.#newest.record(revision);
      // Only damage can have taken it, which is not for compaction to report.
      if (!record) continue;
      const chain = chainOf(record);
      if (chain > 0) records.push(chain);
      if (!isDelete(record)) continue;
      records.push(revision);
      graves.push(keyOf(record));
    }
    const stale = graves.filter((key) => inRange(this.#newest.graveOf(key), 1, end));
    try {
      await this.#transact(Infinity, () => this.#remove(records, stale, end));
    } catch (cause) {
      throw new StoreError(`compaction to revision ${target}: ${(cause as Error).message}`, cause);
    }
    this.#swept = end;
    this.#renew(this.revision);
  }

  #remove(records: readonly number[], graves: readonly string[], swept: number): void {
    for (const revision of records) void this.#env.log.remove(revision);
    for (const key of graves) void this.#env.graves.remove(key);
    void this.#env.meta.put('compacted', this.#compacted);
    void this.#env.meta.put('swept', swept);
  }
}

/** A change together with the record that goes to disk; `bytes` is the end of it. */
interface StoredChange extends LoggedChange {
  readonly record: Buffer;
}

function prepare(change: LoggedChange, creates: boolean): StoredChange {
  const record = encodeRecord(change.type, change.key, change.chain, creates, change.bytes);
  return { ...change, record, bytes: record.subarray(valueStart(record)) };
}

const inRange = (n: number, from: number, to: number): boolean => n >= from && n <= to;
const isPossible = (key: string): boolean => key !== '' && Buffer.byteLength(key) <= KEY_LIMIT_BYTES;

/** Waits for a batch; the reason for its failure is in a promise of its own. */
async function commitError(batch: Promise<boolean>): Promise<void> {
  try {
    await batch;
  } catch (error) {
    const reason = (error as { commitError?: Promise<never> }).commitError;
    await Promise.race([reason, new Promise((resolve) => setImmediate(resolve))]);
    throw error;
  }
}

// Opening

function unusable(file: string, cause: unknown): Error {
  const { message, code } = cause as { message: string; code?: string | number };
  // An error of the system's, from the file functions or from LMDB, says nothing about the contents.
  const system = typeof code === 'string' ? !code.startsWith('ERR_') : Number(code) > 0;
  const advice = system ? '' : '. Put a backup in its place, or move it away to start empty';
  return new OpenError(`cannot open the store ${file}: ${system ? plainReason(cause) : message}${advice}`, { cause });
}

function environmentOptions(path: string): Parameters<typeof open>[0] & { path: string } {
  const options = {
    path,
    maxDbs: 8,
    mapSize: MAP_BYTES,
    maxReaders: 1024,
    // Values hold secrets.
    permissionsMode: 0o600,
    // Power cuts lose or tear nothing only without this (or with safeRestore, which is no faster).
    overlappingSync: false,
    // The batches are made here: start one at once.
    eventTurnBatching: false,
    txnStartThreshold: 1,
  };
  return options;
}

function openTables(root: RootDatabase): Environment {
  const { entryCount } = root.getStats() as { entryCount: number };
  const existing = root.openDB({ name: 'meta', encoding: 'json', create: false } as { name: string });
  if (entryCount > 0 && !existing) throw new Error('it is the database of another program');
  const meta = root.openDB<Meta[keyof Meta], keyof Meta>({ name: 'meta', encoding: 'json' });
  const format = meta.get('format') as number | undefined;
  if (format !== undefined && format !== FORMAT) throw new Error(`it was written by a newer version of Wherry (layout ${format}, this one knows ${FORMAT})`);
  const revisions = { encoder: { encode: encodeRevision, decode: decodeRevision }, keyEncoder };
  const keys = root.openDB<number, string>({ name: 'keys', ...revisions });
  const graves = root.openDB<number, string>({ name: 'graves', ...revisions });
  const log = root.openDB<Uint8Array, number>({ name: 'log', encoding: 'binary' });
  // The package's own types leave out options that its functions take.
  return { root, meta, keys, graves, log } as unknown as Environment;
}

/** Keys are compared by their UTF-8; bounds of ranges come as bytes. */
const keyEncoder = {
  writeKey: (key: string | Uint8Array, target: Buffer, position: number): number => {
    if (typeof key === 'string') return position + target.write(key, position);
    target.set(key, position);
    return position + key.length;
  },
  readKey: (target: Buffer, start: number, end: number): string => target.toString('utf8', start, end),
};

function encodeRevision(revision: number): Buffer {
  const bytes = Buffer.allocUnsafe(6);
  bytes.writeUIntBE(revision, 0, 6);
  return bytes;
}

function decodeRevision(bytes: Buffer): number {
  return bytes.readUIntBE(0, 6);
}

/**
 * Makes this process the owner and gives a new or copied file (its inode tells) an epoch: in one transaction, so that
 * of two processes one wins.
 * @returns the owner that is still there instead
 */
function claim({ root, meta }: Environment, inode: number): Owner | undefined {
  return root.transactionSync(() => {
    const same = meta.get('inode') === inode;
    const owner = meta.get('owner') as Owner | undefined;
    if (same && owner && isRunning(owner)) return owner;
    meta.putSync('format', FORMAT);
    meta.putSync('owner', thisProcess());
    if (same) return undefined;
    meta.putSync('inode', inode);
    meta.putSync('epoch', randomUUID());
    return undefined;
  });
}

function lastKey(log: Database<Uint8Array, number>): number | undefined {
  for (const key of log.getKeys({ reverse: true, limit: 1 })) return key;
  return undefined;
}
