import { mkdir } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import type { NFSVolumeSource } from '../../shared/kinds/volume.ts';
import { isMounted, isSeenByEngine, mount, unmount } from './mount-table.ts';

/** Mounts an export by the host's own mount(8), if it is not mounted. @throws Error as the kubelet words it */
export async function prepareNfs(path: string, { server, path: exported, readOnly }: NFSVolumeSource, options: readonly string[]): Promise<void> {
  // mount(8) would take it for an option, and the pod's author would mount what they like.
  if (server.startsWith('-')) throw new Error(`invalid NFS server ${JSON.stringify(server)}`);
  // Before anything that looks into the directory: a server that is away would hold it.
  if (await isMounted(path)) return;
  await mkdir(path, { recursive: true, mode: 0o755 });
  const all = [...(readOnly ? ['ro'] : []), ...options];
  await mount(['-t', 'nfs', ...(all.length > 0 ? ['-o', all.join(',')] : []), `${isIPv6(server) ? `[${server}]` : server}:${exported}`, path]);
  if (await isSeenByEngine(path)) return;
  await unmount(path);
  throw new Error('NFS cannot be served: what this agent mounts is not seen by the engine (install it with --no-sandbox)');
}
