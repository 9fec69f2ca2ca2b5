import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { podNetworkNote } from '../net/pod-network.ts';
import { removePodNetwork, type PodNetworkRemoval } from '../net/pod-network-removal.ts';
import { label } from '../runtime/labels.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { holderOf } from '../state/lock.ts';
import { unmountAll } from '../volumes/mount-table.ts';
import { heldOnDisk } from './disk-status.ts';
import { StepError } from './steps.ts';

export interface PurgeOptions {
  readonly dataDir: string;
  readonly runtime: Pick<Runtime, 'containers' | 'stop' | 'remove'> & PodNetworkRemoval['engine'];
  readonly report: (line: string) => void;
}

const graceSeconds = 10;

/**
 * Removes what a stopped agent leaves for its next start: containers of its pods, the route of the service range, the pod
 * network with its routes and rules, its identity, state and volumes.
 * @throws StepError with one line for the user, when the agent runs or something cannot be removed; what was done stays
 */
export async function purge(options: PurgeOptions): Promise<void> {
  const { dataDir, report } = options;
  const pid = await holderOf(join(dataDir, 'state'));
  if (pid !== undefined) throw new StepError(`process ${pid} still runs the agent of ${dataDir}: stop it first, then run uninstall --purge again`);
  report(`removed ${await removeContainers(options)} containers`);
  const { notes } = await heldOnDisk(dataDir, []);
  const cidr = (notes.get('cluster') as { serviceCIDR?: string } | undefined)?.serviceCIDR;
  if (cidr && await removeRoute(cidr)) report(`removed the route of ${cidr}`);
  for (const what of await removeNetwork(options, notes.get(podNetworkNote))) report(`removed ${what}`);
  try {
    await unmountAll(dataDir);
    await rm(dataDir, { recursive: true, force: true });
  } catch (error) {
    throw new StepError(`cannot remove ${dataDir}: ${(error as Error).message}`);
  }
  report(`removed ${dataDir}`);
}

async function removeContainers({ runtime, dataDir }: PurgeOptions): Promise<number> {
  try {
    const found = await runtime.containers(label.owner, dataDir);
    // Sandboxes last: the others are in their namespaces.
    const [sandboxes, others] = [found.filter((one) => one.labels[label.container] === 'POD'), found.filter((one) => one.labels[label.container] !== 'POD')];
    for (const group of [others, sandboxes]) {
      await Promise.all(group.map(async ({ id, state }) => {
        if (state === 'running') await runtime.stop(id, graceSeconds);
        await runtime.remove(id);
      }));
    }
    return found.length;
  } catch (error) {
    throw new StepError(`cannot remove the containers of ${dataDir}: ${(error as Error).message}`);
  }
}

function removeNetwork({ runtime, dataDir }: PurgeOptions, kept: unknown): Promise<string[]> {
  return removePodNetwork({ owner: dataDir, kept, engine: runtime }).catch((error: Error) => { throw new StepError(`cannot remove the pod network of ${dataDir}: ${error.message}`); });
}

function removeRoute(cidr: string): Promise<boolean> {
  return new Promise((done) => { execFile('ip', ['-4', 'route', 'del', 'local', cidr, 'dev', 'lo'], { timeout: 10_000 }, (error) => done(!error)); });
}
