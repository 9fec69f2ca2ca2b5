import { constants } from 'node:fs';
import { link, open, readFile, rename, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../shared/log.ts';
import { Contents } from './contents.ts';
import { encodeRecord, readRecords, type JournalRecord, type ReadResult } from './records.ts';

/** What was found in a directory, and whether its file may be appended to as it is. */
export interface Loaded {
  readonly contents: Contents;
  /** Good bytes of the current file; anything behind them is to be cut. Undefined: write a new file first. */
  readonly appendAt: number | undefined;
  /** Something was damaged or cut: what is known may be less than what once was. */
  readonly healed: boolean;
}

const names = { current: 'journal', old: 'journal.old', draft: 'journal.new' } as const;
const itemsPerRecord = 64;

/** The files of a journal: the current one, and the one before the last compaction to heal from. */
export class JournalFiles {
  readonly #directory: string;
  readonly #log: Log;

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  /**
   * Reads what is good. A torn tail is cut: the state is an earlier one, whole, and says so by its revision. After any
   * other damage what is known stays, but nothing is claimed to be held, so that the master sends everything again.
   * @throws Error when the files cannot be read or are a later version's
   */
  async load(): Promise<Loaded> {
    await this.#remove(names.draft);
    const current = await this.#read(names.current);
    if (current && isWhole(current) && current.damage !== 'middle') {
      if (current.damage === 'tail') this.#log.warn('journal ends in an unfinished record, which is dropped', { atByte: current.goodBytes });
      return { contents: replayed(current), appendAt: current.goodBytes, healed: current.damage !== 'none' };
    }
    const old = current && isWhole(current) ? undefined : await this.#read(names.old);
    const contents = replayed(old, current);
    if (current || old) {
      contents.held = { epoch: '', revision: 0 };
      this.#log.error('journal is damaged; going on with what is readable and asking the master for all of it', { items: contents.items.size, atByte: current?.goodBytes ?? 0 });
    }
    return { contents, appendAt: undefined, healed: current !== undefined || old !== undefined };
  }

  /** Opens the current file for positioned writes, cut to `size`. */
  async openAt(size: number): Promise<FileHandle> {
    const handle = await open(join(this.#directory, names.current), constants.O_RDWR);
    await handle.truncate(size);
    return handle;
  }

  /** Writes `contents` to a new file, durably. The current one is untouched until {@link install}. */
  async draft(contents: Contents): Promise<{ handle: FileHandle; size: number }> {
    const handle = await open(join(this.#directory, names.draft), 'w', 0o600);
    try {
      let size = 0;
      for (const record of recordsOf(contents)) size += (await handle.write(encodeRecord(record), 0, undefined, size)).bytesWritten;
      await handle.sync();
      return { handle, size };
    } catch (error) {
      await handle.close();
      await this.#remove(names.draft);
      throw error;
    }
  }

  /**
   * Makes the draft the current file; `keep` makes the present current one the old one.
   * A crash at any point leaves one of the two as the current file, whole.
   */
  async install(keep: boolean): Promise<void> {
    if (keep) await this.#keepCurrent();
    await rename(join(this.#directory, names.draft), join(this.#directory, names.current));
    await this.#syncDirectory();
  }

  async #keepCurrent(): Promise<void> {
    const [current, old] = [join(this.#directory, names.current), join(this.#directory, names.old)];
    await this.#remove(`${names.old}.new`);
    await link(current, `${old}.new`);
    await rename(`${old}.new`, old);
  }

  async #read(name: string): Promise<ReadResult | undefined> {
    let bytes;
    try {
      bytes = await readFile(join(this.#directory, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const result = readRecords(bytes);
    const [first] = result.records;
    if (first?.t === 'start' && first.version !== 1) throw new Error(`${join(this.#directory, name)} is of version ${String(first.version)}; this agent reads version 1`);
    return result;
  }

  async #remove(name: string): Promise<void> {
    try {
      await unlink(join(this.#directory, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  async #syncDirectory(): Promise<void> {
    const directory = await open(this.#directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

/** The base of a file is whole when its end mark was read. */
const isWhole = (file: ReadResult): boolean => file.records.some((record) => record.t === 'ready');

function replayed(...files: readonly (ReadResult | undefined)[]): Contents {
  const contents = new Contents();
  for (const file of files) {
    const share = (file?.goodBytes ?? 0) / Math.max(1, file?.records.length ?? 0);
    for (const record of file?.records ?? []) contents.replay(record, share);
  }
  return contents;
}

function* recordsOf(contents: Contents): Generator<JournalRecord> {
  yield { t: 'start', version: 1 };
  const items = [...contents.items.values()];
  for (let at = 0; at < items.length; at += itemsPerRecord) yield { t: 'base', items: items.slice(at, at + itemsPerRecord), notes: [] };
  if (contents.notes.size > 0) yield { t: 'base', items: [], notes: [...contents.notes] };
  yield { t: 'ready', ...contents.held };
}
