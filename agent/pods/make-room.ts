import type { Log } from '../../shared/log.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { slots, type ContainerView } from './view.ts';

export interface MakeRoomOptions {
  readonly runtime: Pick<Runtime, 'images' | 'removeImage' | 'remove'>;
  readonly log: Log;
  readonly pods: Iterable<{ readonly pod: Pod; readonly active: boolean; readonly views: readonly ContainerView[] }>;
  /** Image that stays: the sandbox's. */
  readonly keep: string;
}

/** Docker's own registry goes without saying. */
const plainName = (image: string): string => image.replace(/^(index\.)?docker\.io\//, '').replace(/^library\//, '');

/** What the engine may call an image that a container names: `a`, `a:latest`; `a@sha256:…` for `a:1@sha256:…`. */
const namesOf = (image: string): string[] => [plainName(image), `${plainName(image)}:latest`, plainName(image).replace(/:[^/:@]*@/, '@')];

/**
 * Removes containers of pods that have ended, and images that nothing uses: what a node can do without when its disk is
 * full. Images that a pod of this node names stay: without a master, or a link, they might not be had again.
 */
export async function makeRoom({ runtime, log, pods, keep }: MakeRoomOptions): Promise<void> {
  const wanted = new Set([plainName(keep)]);
  for (const { pod, active, views } of pods) {
    if (active) for (const { container: { image = '' } } of slots(pod)) for (const name of namesOf(image)) wanted.add(name);
    if (active || views.some(({ state }) => state === 'running')) continue;
    // What the engine cannot remove is no reason to leave the rest.
    for (const { id } of views) await runtime.remove(id).catch((error: unknown) => log.warn('cannot remove a container to make room', { id, error }));
  }
  for (const { id, tags, digests, sizeBytes } of await runtime.images()) {
    if ([...tags, ...digests].some((name) => wanted.has(plainName(name)))) continue;
    // Refused for an image that a container uses.
    const removed = await runtime.removeImage(id).then(() => true, () => false);
    if (removed) log.info('removed an unused image to make room', { image: tags[0] ?? id, bytes: sizeBytes });
  }
}
