import { mkdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { readText, writeDurably } from '../session/files.ts';

/** How an upgrade ended, kept until the master has heard of it. */
const Result = v.object({ sha256: v.string(), phase: v.picklist(['done', 'failed']), version: v.string(), detail: v.string() });
export type Result = v.InferOutput<typeof Result>;

const fileOf = (dataDir: string): string => join(dataDir, 'upgrade.json');

/** The result that is still to be told; undefined when there is none that can be read. */
export async function readResult(dataDir: string): Promise<Result | undefined> {
  const text = await readText(fileOf(dataDir)).catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const parsed = v.safeParse(Result, JSON.parse(text));
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}

export async function writeResult(dataDir: string, result: Result): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await writeDurably(fileOf(dataDir), `${JSON.stringify(result)}\n`, 0o600);
}

export async function forgetResult(dataDir: string): Promise<void> {
  await unlink(fileOf(dataDir)).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
}
