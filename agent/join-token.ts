import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readText } from './session/files.ts';

/** Where `install` leaves the join token for the first start; readable by its owner only. */
export const joinTokenPath = (dataDir: string): string => join(dataDir, 'join-token');

/** The join token left by `install`, if there is one. */
export async function readJoinToken(dataDir: string): Promise<string | undefined> {
  return (await readText(joinTokenPath(dataDir)))?.trim() || undefined;
}

/** Forgets the join token: a node that is enrolled needs none any more. */
export async function removeJoinToken(dataDir: string): Promise<void> {
  await unlink(joinTokenPath(dataDir)).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
}
