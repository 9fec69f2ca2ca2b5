import { chmod, chown, lstat, open, readdir } from 'node:fs/promises';
import { place } from './sub-path.ts';

export interface OwnershipOptions {
  /** Files get no write access for the group. */
  readonly readOnly?: boolean;
  /** Leaves all as it is where the root is as it should be (`fsGroupChangePolicy: OnRootMismatch`). */
  readonly onRootMismatch?: boolean;
}

const setGid = 0o2000;
const wantedBits = (readOnly: boolean, directory: boolean): number => (readOnly ? 0o440 : 0o660) | (directory ? setGid | 0o110 : 0);

/**
 * Gives all below a directory to a group, which may then read and write it, and to which new files belong: what fsGroup
 * asks for. Links are given away, but not followed.
 */
export async function setOwnership(path: string, group: number, { readOnly = false, onRootMismatch = false }: OwnershipOptions = {}): Promise<void> {
  if (onRootMismatch) {
    const { gid, mode } = await lstat(path);
    const wanted = wantedBits(readOnly, true);
    if (gid === group && (mode & wanted) === wanted) return;
  }
  await setAll(path, group, readOnly);
}

/** By handles, each opened from the one above: a pod that has the volume too may put links in the place of what was looked at. */
async function setAll(path: string, group: number, readOnly: boolean): Promise<void> {
  const handle = await open(path, place);
  try {
    const own = `/proc/self/fd/${handle.fd}`;
    const found = await handle.stat();
    await chown(own, found.uid, group);
    if (found.isSymbolicLink()) return;
    await chmod(own, (found.mode & 0o7777) | wantedBits(readOnly, found.isDirectory()));
    if (found.isDirectory()) for (const name of await readdir(own)) await setAll(`${own}/${name}`, group, readOnly).catch(unlessGone);
  } finally {
    await handle.close();
  }
}

/** What was removed in the meantime needs no owner. */
function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
