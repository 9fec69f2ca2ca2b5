import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { DiskUsage, Runtime } from '../runtime/runtime.ts';

// The kubelet's imageGCHighThresholdPercent and imageGCLowThresholdPercent.
const highPercent = 85;
const lowPercent = 80;

export interface CollectOptions {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Log;
  /** Image that stays: the sandbox's. */
  readonly keep: string;
  readonly lastUsedMs: (id: string) => number;
}

export const usedPercent = ({ capacityBytes, availableBytes }: DiskUsage): number =>
  (capacityBytes === 0 ? 0 : (100 * (capacityBytes - availableBytes)) / capacityBytes);

/** Looks every five minutes until `signal` aborts. */
export async function keepCollecting(options: CollectOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options;
  while (!signal.aborted) {
    await sleep(clock, 300_000, signal);
    if (signal.aborted) return;
    await collectImages(options).catch((error: unknown) => log.warn('cannot collect images', { error }));
  }
}

/**
 * Removes images that nothing uses when the engine's disk is over 85 % full, the longest unused first, until it is under 80 %.
 * The engine itself refuses to remove what a container uses, so there is no race with a pod that starts.
 */
export async function collectImages({ runtime, log, keep, lastUsedMs }: CollectOptions): Promise<number> {
  if (usedPercent(await runtime.disk()) < highPercent) return 0;
  const images = (await runtime.images()).filter((image) => !image.tags.includes(keep));
  let removed = 0;
  for (const image of images.sort((a, b) => lastUsedMs(a.id) - lastUsedMs(b.id) || b.sizeBytes - a.sizeBytes)) {
    if (usedPercent(await runtime.disk()) < lowPercent) break;
    try {
      await runtime.removeImage(image.id);
      removed++;
      log.info('removed an unused image to make room', { image: image.tags[0] ?? image.id, bytes: image.sizeBytes });
    } catch {
      // In use.
    }
  }
  return removed;
}
