import { stat } from 'node:fs/promises';
import { makeDirectory } from './host.ts';
import { VolumeError } from './volume-error.ts';

/** Checks the directory of a local volume, or makes it for one that was provisioned. @throws VolumeError */
export async function prepareLocal(name: string, path: string, make: boolean): Promise<void> {
  if (make) await makeDirectory(path, 0o777);
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new VolumeError(`MountVolume.NewMounter initialization failed for volume "${name}" : path "${path}" does not exist`);
  if (!found.isDirectory()) throw new VolumeError(`MountVolume.SetUp failed for volume "${name}" : local volumes of block devices are not served: ${path} is not a directory`);
}
