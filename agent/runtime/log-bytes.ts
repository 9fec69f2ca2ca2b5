import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of the json-file logs in a container's folder of the engine's, the rotated and compressed ones with it; 0 for one that cannot be seen. */
export async function logFileBytes(folder: string): Promise<number> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /-json\.log(\.|$)/.test(name));
  const sizes = await Promise.all(names.map((name) => stat(join(folder, name)).then(({ size }) => size, () => 0)));
  return sizes.reduce((sum, size) => sum + size, 0);
}
