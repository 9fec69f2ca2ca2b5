import { rm } from 'node:fs/promises';
import { basename, isAbsolute } from 'node:path';
import { StatusError } from '../../shared/status.ts';
import { mountsUnder } from './mount-table.ts';

/**
 * Removes the directory of a volume that this node's provisioner made, at the master's word. The name of such a directory
 * begins with the volume's, and nothing else is removed.
 * @throws StatusError for any other path, and while something is mounted there
 */
export async function removeVolume(volume: string, path: string): Promise<void> {
  const named = /^pvc-[0-9a-f-]{36}$/.test(volume) && basename(path).startsWith(`${volume}_`);
  if (!named || !isAbsolute(path) || path.split('/').includes('..')) throw new StatusError(400, 'BadRequest', `${path} is no directory of the volume ${volume}`);
  const [mounted] = await mountsUnder(path);
  if (mounted !== undefined) throw new StatusError(409, 'Conflict', `${mounted} is mounted`);
  await rm(path, { recursive: true, force: true });
}
