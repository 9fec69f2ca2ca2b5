import { watch } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface LogFilesOptions {
  /** The file that the engine writes to; older ones are `PATH.1`, `PATH.2`, … */
  readonly path: string;
  readonly timestamps: boolean;
  /** Ms since 1970. */
  readonly sinceMs?: number;
  readonly tailLines?: number;
  /** Whether the container runs, and so may write more. */
  readonly running: () => Promise<boolean>;
  readonly signal: AbortSignal;
}

interface LogFile { readonly handle: FileHandle; readonly inode: bigint }

/** As the kubelet: what no event tells of is looked for this often. */
const lookMs = 1000;
const chunkBytes = 64 * 1024;

/**
 * Follows a container's log in Docker's own files, which its API does not do right: when the engine begins a new file,
 * versions up to 20.10 at least leave lines out and give others twice. Ends with the container, or when `signal` aborts.
 * Each file is open until it was read, so one that is moved or removed meanwhile is still read to its end.
 * @throws Error (ENOENT, EACCES) before the first byte when the files are not to be read here
 */
export async function* followFiles(options: LogFilesOptions): AsyncIterable<Uint8Array> {
  const { path, signal, running } = options;
  const files = await openNewer(path, undefined);
  const first = files[0];
  if (!first) throw Object.assign(new Error(`${path} is not there`), { code: 'ENOENT' });
  const bell = new Bell(path);
  const decode = decoder(options);
  try {
    let offset = await skipTo(files, options.tailLines);
    for (let over = false; !signal.aborted;) {
      const reader = new LineReader(files[0]!.handle, offset);
      for (let lines = await reader.next(); ; lines = await reader.next()) {
        if (signal.aborted) return;
        if (lines.length > 0) {
          const bytes = decode(lines);
          if (bytes.length > 0) yield bytes;
          continue;
        }
        if (files.length > 1) break;
        const newer = await openNewer(path, files[0]!.inode);
        if (newer.length > 0) { files.push(...newer); continue; }
        if (over) return;
        // What it wrote last is in the file by the time that it has ended.
        over = !await running();
        if (!over) await bell.rung(signal);
      }
      await files.shift()!.handle.close();
      offset = 0;
    }
  } finally {
    bell.close();
    for (const { handle } of files) await handle.close();
  }
}

/** Files that are newer than the one of `inode`, all if undefined; oldest first. One is open before the next is looked for, so none that moves is missed. */
async function openNewer(path: string, inode: bigint | undefined): Promise<LogFile[]> {
  if (inode !== undefined && await stat(path, { bigint: true }).then(({ ino }) => ino === inode, () => true)) return [];
  const found: LogFile[] = [];
  for (let number = 0; ; number++) {
    const handle = await open(number === 0 ? path : `${path}.${number}`, 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const itsInode = handle && (await handle.stat({ bigint: true })).ino;
    const known = found.some((file) => file.inode === itsInode);
    if (!handle || itsInode === inode) {
      await handle?.close();
      return found.reverse();
    }
    if (known) await handle.close();
    else found.push({ handle, inode: itsInode! });
  }
}

/** Drops files before the last `lines` lines, and gives where in the first that is left they begin. */
async function skipTo(files: LogFile[], lines: number | undefined): Promise<number> {
  if (lines === undefined) return 0;
  let left = lines;
  for (let index = files.length - 1; index >= 0; index--) {
    const found = await startOfLast(files[index]!.handle, left);
    left = found.left;
    if (left > 0 && index > 0) continue;
    for (const { handle } of files.splice(0, index)) await handle.close();
    return found.offset;
  }
  return 0;
}

/** Where the last `lines` lines of a file begin, or its start and how many are to be found before it. */
async function startOfLast(handle: FileHandle, lines: number): Promise<{ offset: number; left: number }> {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  let left = lines;
  let end = (await handle.stat()).size;
  // The newline that ends the last whole line does not begin one.
  let begins = false;
  while (end > 0) {
    const start = Math.max(0, end - chunkBytes);
    const { bytesRead } = await handle.read(buffer, 0, end - start, start);
    for (let at = buffer.lastIndexOf(10, bytesRead - 1); at >= 0; at = at > 0 ? buffer.lastIndexOf(10, at - 1) : -1) {
      if (begins) left--;
      begins = true;
      if (left <= 0) return { offset: start + at + 1, left: 0 };
    }
    end = start;
  }
  return { offset: 0, left: begins ? left - 1 : left };
}

/** Reads a file from an offset on, in whole lines. */
class LineReader {
  readonly #handle: FileHandle;
  #at: number;
  #buffer = Buffer.allocUnsafe(chunkBytes);
  /** Bytes of a line whose end has not been read. */
  #kept = 0;

  constructor(handle: FileHandle, offset: number) {
    this.#handle = handle;
    this.#at = offset;
  }

  /** The next lines; none at the end of the file as it is now. */
  async next(): Promise<string[]> {
    for (;;) {
      if (this.#kept === this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer, Buffer.allocUnsafe(this.#kept)]);
      const { bytesRead } = await this.#handle.read(this.#buffer, this.#kept, this.#buffer.length - this.#kept, this.#at);
      if (bytesRead === 0) return [];
      this.#at += bytesRead;
      const have = this.#kept + bytesRead;
      const end = this.#buffer.lastIndexOf(10, have - 1);
      if (end < 0) { this.#kept = have; continue; }
      const text = this.#buffer.toString('utf8', 0, end);
      this.#buffer.copyWithin(0, end + 1, have);
      this.#kept = have - end - 1;
      return text.split('\n');
    }
  }
}

interface Entry { readonly log?: string; readonly stream?: string; readonly time?: string }

/** What the container wrote, of lines of the file; a line that came in parts has its time once. */
function decoder({ timestamps, sinceMs }: LogFilesOptions): (lines: readonly string[]) => Uint8Array {
  const within = new Set<string>();
  return (lines) => {
    const texts: string[] = [];
    for (const line of lines) {
      const entry = parsed(line);
      if (!entry) continue;
      const { log = '', stream = '', time = '' } = entry;
      if (sinceMs !== undefined && Date.parse(time) < sinceMs) continue;
      texts.push(timestamps && !within.has(stream) ? `${inNanoseconds(time)} ${log}` : log);
      if (log.endsWith('\n')) within.delete(stream);
      else within.add(stream);
    }
    return Buffer.from(texts.join(''));
  };
}

/** A line that a power loss has cut is passed over. */
function parsed(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}

/** Nine digits of fraction, as Docker's API gives it. */
function inNanoseconds(time: string): string {
  const [seconds = '', fraction = ''] = time.replace(/Z$/, '').split('.');
  return `${seconds}.${fraction.padEnd(9, '0')}Z`;
}

/** Rings when something happens to the files. */
class Bell {
  readonly #close: () => void;
  #rang = false;
  #wake = (): void => {};

  constructor(path: string) {
    const ring = (): void => { this.#rang = true; this.#wake(); };
    try {
      const watcher = watch(dirname(path), ring);
      watcher.on('error', () => watcher.close());
      this.#close = () => watcher.close();
    } catch {
      // No more watches to be had: it is looked from time to time.
      this.#close = () => {};
    }
  }

  /** Resolves once it rang since the last call, after a second, or when `signal` aborts. */
  async rung(signal: AbortSignal): Promise<void> {
    if (!this.#rang && !signal.aborted) {
      let cancel = (): void => {};
      await new Promise<void>((resolve) => {
        const done = (): void => resolve();
        const timer = setTimeout(done, lookMs);
        signal.addEventListener('abort', done, { once: true });
        this.#wake = done;
        cancel = () => { clearTimeout(timer); signal.removeEventListener('abort', done); };
      });
      cancel();
    }
    this.#rang = false;
  }

  close(): void {
    this.#close();
  }
}
