import { chmod, mkdir, open, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { EmptyDirVolumeSource, HostPathVolumeSource } from '../../shared/kinds/volume.ts';
import { amount } from '../runtime/amount.ts';
import { isMounted, isSeenByEngine, mount, unmount } from './mount-table.ts';
import { setOwnership } from './ownership.ts';

/** What must be at a path for each type, as the kubelet words its absence. */
const checks: Readonly<Record<string, readonly [(found: Stats) => boolean, string]>> = {
  Directory: [(found) => found.isDirectory(), 'is not a directory'],
  DirectoryOrCreate: [(found) => found.isDirectory(), 'is not a directory'],
  File: [(found) => found.isFile(), 'is not a file'],
  FileOrCreate: [(found) => found.isFile(), 'is not a file'],
  Socket: [(found) => found.isSocket(), 'is not a socket file'],
  CharDevice: [(found) => found.isCharacterDevice(), 'is not a character device'],
  BlockDevice: [(found) => found.isBlockDevice(), 'is not a block device'],
};

/** Checks, and where its type says so makes, what a hostPath volume leads to. @throws Error */
export async function prepareHostPath({ path, type }: HostPathVolumeSource): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const check = checks[type ?? ''];
  if (found) {
    if (check && !check[0](found)) throw new Error(`hostPath type check failed: ${path} ${check[1]}`);
    return;
  }
  switch (type) {
    // With no type the engine makes a directory; so does DirectoryOrCreate.
    case undefined: case '': case 'DirectoryOrCreate': return makeDirectory(path, 0o755);
    case 'FileOrCreate': return makeFile(path);
    default: throw new Error(`hostPath type check failed: ${path} ${check?.[1] ?? `has unknown type ${type}`}`);
  }
}

/** Makes a directory with its parents, of these bits whatever the umask is. @throws Error as Go words it */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o755 }).catch((error: NodeJS.ErrnoException) => { throw new Error(`mkdir ${path}: ${words(error)}`); });
  if (made !== undefined) await chmod(path, mode);
}

async function makeFile(path: string): Promise<void> {
  const file = await open(path, 'a', 0o644).catch((error: NodeJS.ErrnoException) => { throw new Error(`open ${path}: ${words(error)}`); });
  await file.chmod(0o644);
  await file.close();
}

const errnoWords: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory', ENOTDIR: 'not a directory', EACCES: 'permission denied', EROFS: 'read-only file system', EPERM: 'operation not permitted', ENOSPC: 'no space left on device',
};
const words = ({ code = '', message }: NodeJS.ErrnoException): string => errnoWords[code] ?? message;

/**
 * Makes an emptyDir, on disk or as a tmpfs, writable by all as the kubelet has it; the group inherits with fsGroup.
 * `mostBytes` bounds a tmpfs whatever it asks for. @throws Error
 */
export async function prepareEmptyDir(path: string, source: EmptyDirVolumeSource, group: number | undefined, mostBytes = Infinity): Promise<void> {
  if (source.medium?.startsWith('HugePages')) throw new Error(`medium ${source.medium} is not served`);
  if (source.medium && source.medium !== 'Memory') throw new Error(`unknown storage medium ${JSON.stringify(source.medium)}`);
  const made = await mkdir(path, { recursive: true });
  const inMemory = source.medium === 'Memory' && !(await isMounted(path));
  if (inMemory) await mountMemory(path, Math.min(amount(source.sizeLimit) || Infinity, mostBytes));
  // What is there already may have been changed by the pod itself.
  if (!made && !inMemory) return;
  await chmod(path, 0o777);
  if (group !== undefined) await setOwnership(path, group);
}

async function mountMemory(path: string, bytes: number): Promise<void> {
  await mount(['-t', 'tmpfs', ...(bytes === Infinity ? [] : ['-o', `size=${Math.trunc(bytes)}`]), 'tmpfs', path]);
  if (await isSeenByEngine(path)) return;
  await unmount(path);
  throw new Error('medium Memory cannot be served: what this agent mounts is not seen by the engine (install it with --no-sandbox)');
}
