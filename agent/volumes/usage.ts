import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of disk below a directory, as du(1) counts them; links count as what they are, other file systems are left out. */
export async function usedBytes(path: string): Promise<number> {
  const root = await lstat(path).catch(() => undefined);
  return root ? below(path, root.dev, new Set()) : 0;
}

async function below(path: string, device: number, seen: Set<number>): Promise<number> {
  const found = await lstat(path).catch(() => undefined);
  if (!found || found.dev !== device) return 0;
  // A file of several names takes up its room once.
  if (!found.isDirectory() && found.nlink > 1) {
    if (seen.has(found.ino)) return 0;
    seen.add(found.ino);
  }
  let sum = found.blocks * 512;
  if (found.isDirectory()) for (const name of await readdir(path).catch(() => [])) sum += await below(join(path, name), device, seen);
  return sum;
}
