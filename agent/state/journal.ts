import { mkdir, type FileHandle } from 'node:fs/promises';
import type { Item } from '../../shared/protocol.ts';
import type { Log } from '../../shared/log.ts';
import type { Contents } from './contents.ts';
import { JournalFiles, type Loaded } from './journal-files.ts';
import { lockDirectory } from './lock.ts';
import { encodeRecord, type JournalRecord } from './records.ts';
import { isFull, type Batch, type State } from './state.ts';

/** Garbage that is not worth a compaction, in bytes. */
const smallFile = 128 * 1024;

export interface JournalOptions {
  /** Made if missing. One process at a time may have it. */
  readonly directory: string;
  readonly log: Log;
  /** Told when the disk begins to refuse writes, and (undefined) when it takes them again. */
  readonly onTrouble?: (error: Error | undefined) => void;
  /** Called before each write; what it throws fails the write, as a full disk would. For tests. */
  readonly beforeWrite?: () => void;
}

/** Something to be written, and what follows from its being durable. */
interface Pending {
  readonly bytes: Buffer;
  readonly commit: () => void;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

/**
 * The {@link State} on disk: an append-only file of checksummed records. All that is asked for in one event-loop turn is
 * one write and one fdatasync. When more than half of the file is garbage a new one takes its place, and the one before
 * is kept to heal from (see {@link JournalFiles.load}).
 *
 * Notes are visible at once; items when they are durable.
 */
export class Journal implements State {
  readonly #files: JournalFiles;
  readonly #contents: Contents;
  readonly #log: Log;
  readonly #unlock: () => Promise<void>;
  readonly #beforeWrite: () => void;
  readonly #onTrouble: (error: Error | undefined) => void;
  #troubled = false;
  readonly #listeners = new Set<(keys: readonly string[]) => void>();
  /** Notes for the next write. */
  readonly #notes = new Map<string, unknown>();
  /** Keys of notes that a failed write took with it; the next one has them again. */
  readonly #unwritten = new Set<string>();
  #noteWaiters: { done: () => void; failed: (error: Error) => void }[] = [];
  #pending: Pending[] = [];
  #writing: Promise<void> | undefined;
  /** Undefined when the file cannot be trusted to end where it should: a new one is written first. */
  #handle: FileHandle | undefined;
  #size = 0;
  #compactAt = smallFile;
  #bytesWritten = 0;
  /** What will be held once everything pending is durable. */
  #newest: { readonly epoch: string; readonly revision: number };
  #closed = false;
  /** The files were damaged, or ended in an unfinished write: what is held may be less than what once was. */
  readonly healed: boolean;

  private constructor(files: JournalFiles, { contents, healed }: Loaded, options: JournalOptions, unlock: () => Promise<void>) {
    this.#files = files;
    this.#contents = contents;
    this.healed = healed;
    this.#log = options.log;
    this.#beforeWrite = options.beforeWrite ?? (() => {});
    this.#onTrouble = options.onTrouble ?? (() => {});
    this.#unlock = unlock;
    this.#newest = contents.held;
  }

  /**
   * A disk that is full does not keep a state from being opened: what is there is run, and written to when there is room.
   * @throws Error when another process has the directory, it cannot be read, or nothing is there and nothing can be written
   */
  static async open(options: JournalOptions): Promise<Journal> {
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const unlock = await lockDirectory(options.directory);
    try {
      const files = new JournalFiles(options.directory, options.log);
      const loaded = await files.load();
      const { appendAt } = loaded;
      const journal = new Journal(files, loaded, options, unlock);
      if (appendAt === undefined) await journal.#begin();
      else journal.#use(await files.openAt(appendAt), appendAt);
      return journal;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    try {
      await this.#rewrite(false);
    } catch (error) {
      if (this.#contents.items.size === 0) throw error;
      this.#trouble(error as Error);
    }
  }

  get held(): { readonly epoch: string; readonly revision: number } {
    return this.#contents.held;
  }

  get items(): ReadonlyMap<string, Item> {
    return this.#contents.items;
  }

  get notes(): ReadonlyMap<string, unknown> {
    return this.#contents.notes;
  }

  /** Bytes given to the disk since this journal was opened: what wears flash. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** @throws Error also for a batch older than what is held of the same epoch */
  apply(batch: Batch): Promise<void> {
    const { epoch, revision } = this.#newest;
    if (batch.epoch === epoch && batch.revision < revision) return Promise.reject(new Error(`revision ${batch.revision} is older than ${revision}, which is held`));
    if (batch.epoch !== epoch && !batch.complete) return Promise.reject(new Error(`an update of epoch ${batch.epoch} does not fit what is held of epoch ${epoch}`));
    this.#newest = { epoch: batch.epoch, revision: batch.revision };
    const bytes = encodeRecord({ t: 'batch', ...batch });
    return this.#write(bytes, () => {
      const changed = this.#contents.apply(batch, bytes.length);
      this.#tell(changed);
    });
  }

  note(key: string, value: unknown): Promise<void> {
    if (JSON.stringify(this.#contents.notes.get(key)) === JSON.stringify(value) && !this.#notes.has(key) && !this.#unwritten.has(key)) return this.#writing ?? Promise.resolve();
    this.#contents.setNote(key, value, 0);
    this.#notes.set(key, value);
    return this.#promise((done, failed) => { this.#noteWaiters.push({ done, failed }); });
  }

  /** Writes what an earlier write failed to, or a few bytes to find out whether the disk takes them. @throws when it does not */
  async flush(): Promise<void> {
    const [key] = this.#unwritten;
    if (key !== undefined) await this.note(key, this.#contents.notes.get(key));
    else await this.#write(encodeRecord({ t: 'notes', set: [], removed: [] }), () => {});
  }

  subscribe(listener: (keys: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#writing) await this.#writing;
    await this.#handle?.close();
    await this.#unlock();
  }

  #tell(keys: readonly string[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(keys);
      } catch (error) {
        this.#log.error('a subscriber of the state failed', { error });
      }
    }
  }

  #write(bytes: Buffer, commit: () => void): Promise<void> {
    return this.#promise((done, failed) => { this.#pending.push({ bytes, commit, done, failed }); });
  }

  #promise(enqueue: (done: () => void, failed: (error: Error) => void) => void): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('the state is closed'));
    return new Promise((done, failed) => {
      enqueue(done, failed);
      this.#writing ??= this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0 || this.#notes.size > 0) {
      // The rest of this turn joins.
      await new Promise((resolve) => { setImmediate(resolve); });
      const group = [...this.#pending.splice(0), ...this.#takeNotes()];
      try {
        await this.#append(Buffer.concat(group.map(({ bytes }) => bytes)));
      } catch (error) {
        this.#newest = this.#contents.held;
        this.#trouble(error as Error);
        for (const { failed } of [...group, ...this.#pending.splice(0)]) failed(error as Error);
        continue;
      }
      this.#trouble(undefined);
      for (const { commit, done } of group) { commit(); done(); }
      await this.#compactIfWorth();
    }
    // In the same turn as the last look at the queue, so that nobody adds to it in between.
    this.#writing = undefined;
  }

  #takeNotes(): Pending[] {
    if (this.#notes.size === 0) return [];
    for (const key of this.#unwritten) this.#notes.set(key, this.#contents.notes.get(key));
    const all = [...this.#notes];
    this.#notes.clear();
    this.#unwritten.clear();
    const waiters = this.#noteWaiters;
    this.#noteWaiters = [];
    const set = all.filter(([, value]) => value !== undefined);
    const record: JournalRecord = { t: 'notes', set, removed: all.filter(([, value]) => value === undefined).map(([key]) => key) };
    const bytes = encodeRecord(record);
    const commit = (): void => {
      // Only the size is new; a later value may already be visible.
      for (const [key] of set) if (this.#contents.notes.has(key)) this.#contents.setNote(key, this.#contents.notes.get(key), bytes.length / set.length);
    };
    return [{ bytes, commit, done: () => waiters.forEach(({ done }) => done()), failed: (error) => { for (const [key] of all) this.#unwritten.add(key); waiters.forEach(({ failed }) => failed(error)); } }];
  }

  /**
   * Appends durably, or fails: for want of room with the file as it was, else with the file to be replaced, since after a
   * failed fsync nobody knows what it holds.
   */
  async #append(bytes: Buffer): Promise<void> {
    if (!this.#handle) await this.#rewrite(false);
    const handle = this.#handle!;
    let written = false;
    try {
      this.#beforeWrite();
      for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at, bytes.length - at, this.#size + at)).bytesWritten;
      written = true;
      await handle.datasync();
      this.#size += bytes.length;
      this.#bytesWritten += bytes.length;
    } catch (error) {
      if (written || !isFull(error) || !await handle.truncate(this.#size).then(() => true, () => false)) {
        this.#handle = undefined;
        await handle.close().catch(() => {});
      }
      throw error;
    }
  }

  #trouble(error: Error | undefined): void {
    if (this.#troubled === (error !== undefined)) return;
    this.#troubled = error !== undefined;
    if (error) this.#log.error('the disk refuses what this node is to remember; pods go on, and nothing new is taken on until there is room', { why: error.message });
    else this.#log.info('the disk takes writes again');
    this.#onTrouble(error);
  }

  async #compactIfWorth(): Promise<void> {
    if (this.#size < this.#compactAt || this.#size < 2 * this.#contents.liveBytes) return;
    try {
      await this.#rewrite(true);
    } catch (error) {
      // The present file is still good; try again when it has grown some more.
      this.#compactAt = this.#size + Math.max(smallFile, this.#contents.liveBytes);
      this.#log.warn('compacting the journal failed', { error });
    }
  }

  async #rewrite(keep: boolean): Promise<void> {
    const { handle, size } = await this.#files.draft(this.#contents);
    this.#bytesWritten += size;
    // From here on the present handle may be of a file that is no longer the current one.
    await this.#handle?.close();
    this.#handle = undefined;
    try {
      await this.#files.install(keep);
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#use(handle, size);
  }

  #use(handle: FileHandle, size: number): void {
    this.#handle = handle;
    this.#size = size;
    this.#compactAt = smallFile;
  }
}
