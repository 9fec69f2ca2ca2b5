import { randomUUID } from 'node:crypto';
import { expired } from '../../shared/status.ts';
import { StoreError, type Change, type Entry, type Op, type RangeOptions, type Store } from './store.ts';
import { WriteQueue } from './writes.ts';
import { Feed, type OnChanges } from './feed.ts';
import { compareKeys } from './order.ts';
import type { LoggedChange } from './record.ts';

export interface MemoryStoreOptions {
  /** Called before each commit with the number of its changes; what it throws fails the commit, as a full disk would. */
  readonly beforeCommit?: (changes: number) => void;
}

/** The store's contract without a disk, for tests. */
export function openMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options);
}

class MemoryStore implements Store {
  readonly epoch = randomUUID();
  revision = 0;
  compactedRevision = 0;
  readonly #current = new Map<string, Change>();
  /** By revision; holes where compaction has been. */
  readonly #log = new Map<number, Change>();
  readonly #writes: WriteQueue;
  readonly #feed: Feed;
  /** Existing keys in order; absent after a creation or deletion until somebody asks. */
  #sorted: string[] | undefined;
  #swept = 0;
  #closed = false;

  constructor({ beforeCommit }: MemoryStoreOptions) {
    this.#writes = new WriteQueue({
      revision: () => this.revision,
      head: (key) => ({ revision: this.#current.get(key)?.revision ?? 0, chain: 0 }),
      prepare: (change) => change,
      commit: async (changes) => beforeCommit?.(changes.length),
      publish: (changes) => this.#publish(changes),
    });
    this.#feed = new Feed({
      revision: () => this.revision,
      compactedRevision: () => this.compactedRevision,
      read: (after, limit) => this.#changes(after, Math.min(this.revision, after + limit)),
    });
  }

  get(key: string): Entry | undefined {
    this.#refuseIfClosed();
    const change = this.#current.get(key);
    return change && entryOf(change);
  }

  revisionOf(key: string): number {
    this.#refuseIfClosed();
    return this.#current.get(key)?.revision ?? 0;
  }

  at(revision: number): Change | undefined {
    this.#refuseIfClosed();
    return this.#log.get(revision);
  }

  deletions(after: number, upTo: number): Change[] {
    this.#refuseIfClosed();
    return this.#changes(after, Math.min(this.revision, upTo)).filter((change: Change | undefined) => change?.type === 'delete');
  }

  range(prefix: string, options: RangeOptions = {}): Iterable<Entry> {
    this.#refuseIfClosed();
    const { atRevision = this.revision } = options;
    if (atRevision < this.compactedRevision) throw expired(`The provided resource version ${atRevision} is too old: changes up to ${this.compactedRevision} are compacted`);
    return this.#stateAt(atRevision, prefix, options.after).map(entryOf);
  }

  count(prefix: string, after?: string): number {
    this.#refuseIfClosed();
    return this.#keys().filter((key) => isUnder(key, prefix, after)).length;
  }

  write(ops: readonly Op[]): Promise<readonly number[]> {
    return this.#writes.write(ops);
  }

  subscribe(after: number, onChanges: OnChanges, signal: AbortSignal): void {
    this.#refuseIfClosed();
    this.#feed.subscribe(after, onChanges, signal);
  }

  async compact(revision: number): Promise<void> {
    const target = Math.min(revision, this.revision);
    this.compactedRevision = Math.max(this.compactedRevision, target);
    await this.#feed.passed(target);
    await this.#writes.run(async () => this.#sweep(target));
  }

  backup(): Promise<void> {
    return Promise.reject(new StoreError('the store in memory has no backup', undefined));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#feed.close();
    await this.#writes.close();
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new StoreError('the store is closed', undefined);
  }

  #publish(changes: readonly LoggedChange[]): void {
    for (const change of changes) this.#apply(change);
    this.revision = changes.at(-1)!.revision;
    this.#feed.publish(changes);
  }

  #apply(change: Change): void {
    this.#log.set(change.revision, change);
    if (change.type === 'delete') this.#current.delete(change.key);
    else this.#current.set(change.key, change);
    if (change.type === 'delete' || change.previous === 0) this.#sorted = undefined;
  }

  #keys(): string[] {
    return (this.#sorted ??= [...this.#current.keys()].sort(compareKeys));
  }

  #changes(after: number, end: number): Change[] {
    const changes: Change[] = [];
    for (let revision = after + 1; revision <= end; revision++) changes.push(this.#log.get(revision)!);
    return changes;
  }

  /** Undoes the changes since a revision: the first one of each key tells what the key had before. */
  #stateAt(revision: number, prefix: string, after: string | undefined): Change[] {
    const keys = this.#keys().filter((key) => isUnder(key, prefix, after));
    if (revision >= this.revision) return keys.map((key) => this.#current.get(key)!);
    const state = new Map(keys.map((key) => [key, this.#current.get(key)]));
    for (const { key, previous } of this.#changes(revision, this.revision).reverse()) {
      if (isUnder(key, prefix, after)) state.set(key, this.#log.get(previous));
    }
    const changes = [...state.values()].filter((change) => change !== undefined);
    return changes.sort((a, b) => compareKeys(a.key, b.key));
  }

  #sweep(target: number): void {
    for (let revision = this.#swept + 1; revision <= target; revision++) {
      const change = this.#log.get(revision)!;
      this.#log.delete(change.previous);
      if (change.type === 'delete') this.#log.delete(revision);
    }
    this.#swept = Math.max(this.#swept, target);
  }
}

function entryOf({ key, revision, bytes }: Change): Entry {
  return { key, revision, bytes };
}

function isUnder(key: string, prefix: string, after: string | undefined): boolean {
  return key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0);
}
