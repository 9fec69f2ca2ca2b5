import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

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

async function setAll(path: string, group: number, readOnly: boolean): Promise<void> {
  const found = await lstat(path);
  await lchown(path, found.uid, group);
  if (found.isSymbolicLink()) return;
  await chmod(path, (found.mode & 0o7777) | wantedBits(readOnly, found.isDirectory()));
  if (found.isDirectory()) for (const name of await readdir(path)) await setAll(join(path, name), group, readOnly);
}
