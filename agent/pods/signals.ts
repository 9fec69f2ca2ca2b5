import { readFile, statfs } from 'node:fs/promises';
import type { DiskUsage } from '../runtime/runtime.ts';
import type { Observation, Observations, Signal } from './thresholds.ts';

const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/**
 * How much there is of what can run short. `images`: of the file system that the engine keeps images and containers on;
 * `root`: a directory of the one that volumes are on.
 */
export async function readSignals(images: DiskUsage, root: string): Promise<Observations> {
  const [meminfo, loadavg, pidMax, node] = await Promise.all([
    text('/proc/meminfo'), text('/proc/loadavg'), text('/proc/sys/kernel/pid_max'), statfs(root).catch(() => undefined),
  ]);
  const found = new Map<Signal, Observation>();
  const set = (signal: Signal, available: number, capacity: number): void => {
    if (Number.isFinite(available) && capacity > 0) found.set(signal, { available, capacity });
  };
  set('memory.available', kib(meminfo, 'MemAvailable'), kib(meminfo, 'MemTotal'));
  if (node) {
    set('nodefs.available', node.bavail * node.bsize, node.blocks * node.bsize);
    set('nodefs.inodesFree', node.ffree, node.files);
  }
  set('imagefs.available', images.availableBytes, images.capacityBytes);
  set('imagefs.inodesFree', images.inodesFree ?? 0, images.inodes ?? 0);
  const tasks = Number(loadavg.split(' ')[3]?.split('/')[1] ?? NaN);
  set('pid.available', Number(pidMax) - tasks, Number(pidMax));
  return found;
}

/**
 * Free memory is the kernel's own estimate (MemAvailable), where the kubelet takes what is left of the working set: that
 * counts file pages in use as taken, though the kernel gives them back, and evicts pods from hosts that have memory.
 */
const kib = (meminfo: string, name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(meminfo)?.[1] ?? NaN) * 1024;
