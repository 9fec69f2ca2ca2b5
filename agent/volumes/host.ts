import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, open, readFile, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { promisify } from 'node:util';
import type { EmptyDirVolumeSource, HostPathVolumeSource } from '../../shared/kinds/volume.ts';
import { amount } from '../runtime/amount.ts';

const run = promisify(execFile);

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
    case undefined: case '': case 'DirectoryOrCreate': await mkdir(path, { recursive: true, mode: 0o755 }); return;
    case 'FileOrCreate': await (await open(path, 'a', 0o644)).close(); return;
    default: throw new Error(`hostPath type check failed: ${path} ${check?.[1] ?? `has unknown type ${type}`}`);
  }
}

/** Makes an emptyDir, on disk or as a tmpfs, writable by all as the kubelet has it; the group inherits with fsGroup. @throws Error */
export async function prepareEmptyDir(path: string, source: EmptyDirVolumeSource, group: number | undefined): Promise<void> {
  if (source.medium?.startsWith('HugePages')) throw new Error(`medium ${source.medium} is not served`);
  const made = await mkdir(path, { recursive: true });
  const mount = source.medium === 'Memory' && !(await mountsUnder(path)).includes(path);
  if (mount) await mountMemory(path, source);
  // What is there already may have been changed by the pod itself.
  if (!made && !mount) return;
  if (group !== undefined) await chown(path, -1, group);
  await chmod(path, group === undefined ? 0o777 : 0o2777);
}

async function mountMemory(path: string, { sizeLimit }: EmptyDirVolumeSource): Promise<void> {
  const size = amount(sizeLimit);
  await run('mount', ['-t', 'tmpfs', ...(size ? ['-o', `size=${Math.trunc(size)}`] : []), 'tmpfs', path]);
  // An agent with a mount namespace of its own (`install --sandbox`) is alone in seeing it.
  const table = await readFile('/proc/1/mountinfo', 'utf8').catch(() => undefined);
  if (table === undefined || mountPoints(table).includes(path)) return;
  await run('umount', ['-l', path]);
  throw new Error('medium Memory cannot be served: what this agent mounts is not seen by the engine (install it with --no-sandbox)');
}

/** Unmounts what is mounted below a folder, so that it can be removed. */
export async function unmountAll(folder: string): Promise<void> {
  for (const path of (await mountsUnder(folder)).reverse()) await run('umount', ['-l', path]).catch(() => undefined);
}

async function mountsUnder(folder: string): Promise<string[]> {
  return mountPoints(await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')).filter((path) => path === folder || path.startsWith(`${folder}/`));
}

const mountPoints = (table: string): string[] => table.split('\n').map((line) => unescaped(line.split(' ')[4] ?? ''));

/** The kernel writes blanks as octal. */
const unescaped = (path: string): string => path.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
