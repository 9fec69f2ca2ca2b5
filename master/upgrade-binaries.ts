import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { architectureOf } from '../shared/upgrade.ts';

/** A program for agents, as it lies on this master's disk. */
export interface Binary {
  readonly sha256: string;
  readonly bytes: number;
  /** Docker's name of the architecture; undefined when the file does not say. */
  readonly arch: string | undefined;
}

/** Largest program that is taken, and how many are kept. */
export const maxBinaryBytes = 512 * 1024 * 1024;
const kept = 3;

/** What was sent cannot be taken, and why. */
export class BinaryError extends Error {}

const digest = /^[0-9a-f]{64}$/;

/** Programs for agents, in files named by their SHA-256. */
export class Binaries {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async find(sha256: string): Promise<Binary | undefined> {
    if (!digest.test(sha256)) return undefined;
    try {
      const file = await open(this.#path(sha256), 'r');
      try {
        const head = await file.read(Buffer.alloc(20), 0, 20, 0);
        return { sha256, bytes: (await file.stat()).size, arch: architectureOf(head.buffer.subarray(0, head.bytesRead)) };
      } finally {
        await file.close();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Takes a program over, durably, when it is what it is said to be. @throws BinaryError */
  async take(sha256: string, source: Readable): Promise<Binary> {
    if (!digest.test(sha256)) throw new BinaryError(`sha256: ${JSON.stringify(sha256)} is no SHA-256 in hex`);
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const draft = join(this.#directory, `.${sha256}.${process.pid}.${Math.round(performance.now())}`);
    const hash = createHash('sha256');
    let bytes = 0;
    const count = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        hash.update(chunk);
        done(bytes > maxBinaryBytes ? new BinaryError(`a program of more than ${maxBinaryBytes} bytes`) : null, chunk);
      },
    });
    try {
      await pipeline(source, count, createWriteStream(draft, { mode: 0o600, flush: true }));
      const found = hash.digest('hex');
      if (found !== sha256) throw new BinaryError(`what came has SHA-256 ${found}, not ${sha256}`);
      await rename(draft, this.#path(sha256));
    } catch (error) {
      await unlink(draft).catch(() => undefined);
      throw error;
    }
    await this.#removeOld(sha256);
    return (await this.find(sha256))!;
  }

  /** Its bytes from `from` on. */
  read(sha256: string, from: number): Readable {
    return createReadStream(this.#path(sha256), { start: from });
  }

  async #removeOld(but: string): Promise<void> {
    const names = (await readdir(this.#directory)).filter((name) => digest.test(name) && name !== but);
    const aged = await Promise.all(names.map(async (name) => ({ name, ms: (await stat(join(this.#directory, name))).mtimeMs })));
    for (const { name } of aged.sort((a, b) => b.ms - a.ms).slice(kept - 1)) await unlink(join(this.#directory, name));
  }

  #path(sha256: string): string {
    return join(this.#directory, sha256);
  }
}
