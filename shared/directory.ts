import { constants } from 'node:fs';
import { access, mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { plainReason } from './plain-reason.ts';

/** A directory cannot be used; the message is one line for the user. */
export class DirectoryError extends Error {
  readonly code = 'EDIRECTORY';
}

/**
 * Makes a data directory, for its owner only, unless it is there, and sees that it can be written to.
 * @throws DirectoryError naming the path, why not, and the flag
 */
export async function makeDataDirectory(path: string): Promise<void> {
  const directory = resolve(path);
  try {
    await makeDirectory(directory, 0o700);
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new DirectoryError(`cannot use the data directory ${directory}: ${plainReason(error)} (--data-dir names another)`);
  }
}

/**
 * Makes a directory and those above it that are not there, one at a time: Node's recursive mkdir never ends where a
 * parent exists that takes no directories, as in /proc.
 * @returns whether it had to be made
 * @throws DirectoryError saying why not; or the system's error
 */
export async function makeDirectory(path: string, mode: number): Promise<boolean> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
  if (found?.isDirectory()) return false;
  if (found) throw new DirectoryError('it is a file, not a directory');
  const parent = dirname(path);
  if (parent !== path) await makeDirectory(parent, mode);
  try {
    await mkdir(path, { mode });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new DirectoryError(`${parent} takes no directories`);
    if (code !== 'EEXIST') throw error;
  }
  // Another process was quicker, which is as well.
  if (await stat(path).catch(() => undefined)) return false;
  throw new DirectoryError('it is a symbolic link that leads nowhere');
}
