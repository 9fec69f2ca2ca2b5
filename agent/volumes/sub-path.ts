import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, realpath, rmdir, stat, unlink, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { isMounted, isSeenByEngine, kernelPath, mount, mountsUnder, unmount } from './mount-table.ts';

/** O_PATH of Linux, which Node does not name: a handle for a place, whatever may be read there. */
const O_PATH = 0o10000000;
export const place = O_PATH | constants.O_NOFOLLOW;

export interface SubPath {
  /** The volume. */
  readonly base: string;
  readonly subPath: string;
  /** Where the part is made visible, for one container. */
  readonly target: string;
}

/**
 * Makes a part of a volume mountable by itself and returns its path. The way there is walked step by step without
 * following links, and what is found at its end is mounted by its handle at a path that no pod can reach: a pod that
 * swaps a directory for a link in the meantime gains nothing (CVE-2017-1002101).
 * @throws Error when the way leads out of the volume, or cannot be walked
 */
export async function prepareSubPath({ base, subPath, target }: SubPath): Promise<string> {
  const root = await realpath(base);
  await makeInside(root, subPath);
  const real = await realpath(join(root, subPath));
  if (!isWithin(real, root)) throw new Error(`subpath ${JSON.stringify(real)} not within volume path ${JSON.stringify(root)}`);
  if (await isMounted(target)) await unmount(target);
  const handle = await walk(root, real);
  try {
    await makeTarget(target, (await handle.stat()).isDirectory());
    await bind(`/proc/${process.pid}/fd/${handle.fd}`, target);
  } finally {
    await handle.close();
  }
  if (await isSeenByEngine(target)) return target;
  // An agent that mounts for itself only: the path as it was found, for want of better.
  await unmount(target);
  return real;
}

/**
 * Removes places below a folder at which parts of volumes were visible and, since a reboot, are no more. A container that
 * was made before it must not start with an empty directory instead: without the place it cannot start, and is made anew.
 */
export async function removeUnmounted(folder: string): Promise<void> {
  const mounted = new Set(await mountsUnder(folder));
  const below = async (paths: readonly string[]): Promise<string[]> =>
    (await Promise.all(paths.map(async (path) => (await readdir(path).catch(() => [])).map((name) => join(path, name))))).flat();
  // Volume, container, number: never into what is mounted.
  for (const path of await below(await below(await below([await kernelPath(folder)])))) {
    if (!mounted.has(path)) await rmdir(path).catch(() => unlink(path)).catch(() => undefined);
  }
}

/** BusyBox' mount has no such option, and does not resolve links either way. */
const bind = (from: string, target: string): Promise<void> => mount(['--no-canonicalize', '-o', 'bind', from, target])
  .catch((error: Error) => (/unrecognized option/.test(error.message) ? mount(['-o', 'bind', from, target]) : Promise.reject(error)));

/** Why a path is none inside of a volume. */
export function subPathError(subPath: string): string | undefined {
  if (isAbsolute(subPath)) return `error SubPath \`${subPath}\` must not be an absolute path`;
  return subPath.split('/').includes('..') ? `unable to provision SubPath \`${subPath}\`: must not contain '..'` : undefined;
}

const isWithin = (path: string, root: string): boolean => path === root || path.startsWith(root === '/' ? root : `${root}/`);

/** Follows no link on the way from root to `real`, which is below it. */
async function walk(root: string, real: string): Promise<FileHandle> {
  let at = await open(root, O_PATH | constants.O_DIRECTORY);
  for (const segment of real.slice(root.length).split('/').filter(Boolean)) {
    const next = await open(`/proc/self/fd/${at.fd}/${segment}`, place).finally(() => at.close());
    at = next;
    if ((await at.stat()).isSymbolicLink()) {
      await at.close();
      throw new Error(`${segment} has become a symbolic link`);
    }
  }
  return at;
}

/** Makes what is missing as directories with the volume's own bits, below what is there already. */
async function makeInside(root: string, subPath: string): Promise<void> {
  const segments = normalize(subPath).split('/').filter((segment) => segment && segment !== '.');
  const missing: string[] = [];
  while (segments.length > 0 && !(await stat(join(root, ...segments)).catch(() => undefined))) missing.unshift(segments.pop()!);
  if (missing.length === 0) return;
  const from = await realpath(join(root, ...segments));
  if (!isWithin(from, root)) throw new Error(`path ${JSON.stringify(from)} is outside of allowed base ${JSON.stringify(root)}`);
  const { mode } = await stat(root);
  let at = await walk(root, from);
  try {
    for (const segment of missing) {
      await mkdir(`/proc/self/fd/${at.fd}/${segment}`).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'EEXIST') throw error; });
      const next = await open(`/proc/self/fd/${at.fd}/${segment}`, O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY);
      await at.close();
      at = next;
      // chmod through the handle: neither umask nor a link that took its place matters.
      await chmod(`/proc/self/fd/${at.fd}`, mode & 0o7777);
    }
  } finally {
    await at.close();
  }
}

async function makeTarget(target: string, directory: boolean): Promise<void> {
  await mkdir(directory ? target : dirname(target), { recursive: true, mode: 0o750 });
  if (!directory) await writeFile(target, '', { flag: 'a' });
}
