import { stat } from 'node:fs/promises';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import { label, sandboxName } from '../runtime/labels.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Volumes } from '../volumes/index.ts';
import { makeRoom } from './make-room.ts';
import type { Signal } from './thresholds.ts';
import type { ContainerView } from './view.ts';

/** A pod of this node, with its containers. */
export interface DiskUser { readonly pod: Pod; readonly active: boolean; readonly views: readonly ContainerView[] }

export interface PodDiskOptions {
  readonly runtime: Pick<Runtime, 'disk' | 'writtenBytes' | 'images' | 'removeImage' | 'remove'>;
  readonly log: Log;
  readonly volumes: Pick<Volumes, 'usage'>;
  /** Directory of the volumes. */
  readonly root: string;
  /** Owner label of this agent's containers. */
  readonly owner: string;
  /** Image that stays: the sandbox's. */
  readonly keep: string;
  /** Pods of this node, by uid. */
  readonly pods: ReadonlyMap<string, DiskUser>;
}

/** What pods take of the node's disks, and what can be given back of it: `nodefs` has their volumes, `imagefs` the engine's own. */
export class PodDisk {
  readonly #options: PodDiskOptions;

  constructor(options: PodDiskOptions) {
    this.#options = options;
  }

  /** Whether the engine keeps images and containers on another file system than the one that volumes are on. */
  async #engineApart(): Promise<boolean> {
    const [{ device }, { dev }] = await Promise.all([this.#options.runtime.disk(), stat(this.#options.root)]);
    return device !== undefined && device !== dev;
  }

  /**
   * Bytes that pods take of the disk that a signal is of, by uid: what containers have written, by name, and under `''` what is
   * in emptyDirs. Where the engine has a disk of its own, the former are on that one alone.
   */
  async use(pods: readonly Pod[], signal: Signal): Promise<Map<string, Map<string, number>>> {
    const { runtime, volumes, owner, pods: known } = this.#options;
    const apart = await this.#engineApart();
    const [ofNode, ofEngine] = [!apart || signal.startsWith('nodefs.'), !apart || signal.startsWith('imagefs.')];
    const written = ofEngine ? await runtime.writtenBytes(label.owner, owner) : new Map<string, number>();
    return new Map(await Promise.all(pods.map(async (pod): Promise<[string, Map<string, number>]> => {
      const uid = pod.metadata.uid ?? '';
      const stored = ofNode ? await volumes.usage(pod, 'disk').catch(() => new Map<string, number>()) : new Map<string, number>();
      const used = new Map([['', [...stored.values()].reduce((sum, bytes) => sum + bytes, 0)]]);
      for (const { id, name } of known.get(uid)?.views ?? []) if (name !== sandboxName) used.set(name, (used.get(name) ?? 0) + (written.get(id) ?? 0));
      return [uid, used];
    })));
  }

  /** Removes what the node can do without, for want of disk: all of that is the engine's. */
  async makeRoom(signal: Signal): Promise<void> {
    if (signal.startsWith('nodefs.') && await this.#engineApart()) return;
    const { runtime, log, pods, keep } = this.#options;
    await makeRoom({ runtime, log, pods: pods.values(), keep });
  }
}
