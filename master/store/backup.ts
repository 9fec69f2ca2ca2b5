import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StoreError } from './store.ts';

/**
 * Copies a store beside its target and renames it when all is on disk: what has the right name is whole.
 * @param directory absolute; it must not exist, or be empty
 * @param copy writes the copy into an empty directory
 * @throws StoreError if the target is not empty or the disk refuses; nothing is left behind then
 */
export async function copyTo(directory: string, copy: (directory: string) => Promise<void>): Promise<void> {
  const partial = `${directory}.partial`;
  try {
    await refuseIfNotEmpty(directory);
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true, mode: 0o700 });
    await copy(partial);
    for (const name of await readdir(partial)) await sync(`${partial}/${name}`, 0o600);
    await sync(partial);
    await rename(partial, directory);
    await sync(dirname(directory));
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    throw new StoreError(`backup to ${directory}: ${(cause as Error).message}`, cause);
  }
}

async function refuseIfNotEmpty(directory: string): Promise<void> {
  const files = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (files.length > 0) throw new Error('the directory is not empty');
}

async function sync(path: string, mode?: number): Promise<void> {
  const file = await open(path, 'r');
  try {
    if (mode !== undefined) await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}
