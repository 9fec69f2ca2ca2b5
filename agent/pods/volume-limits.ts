import { sleep, type Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import { amount } from '../runtime/amount.ts';
import type { Volumes } from '../volumes/index.ts';
import { isCritical } from './rank.ts';
import type { StorageLimits, StorageUser } from './storage-limits.ts';

/** A pod that may be ended for what it stores. */
export interface LimitedPod extends StorageUser { readonly active: boolean; evict(message: string): unknown }

export interface VolumeLimitsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly volumes: Pick<Volumes, 'usage'>;
  readonly storage: Pick<StorageLimits, 'exceeding'>;
  readonly pods: () => Iterable<LimitedPod>;
}

/** As often as the kubelet looks; where looking itself takes long, less often. */
const everyMs = 10_000;
const shareOfTime = 0.02;

/**
 * Ends pods that store more in an emptyDir than its sizeLimit allows, or more in all than their containers' limits do, until `signal`
 * aborts. The system's pods stay.
 */
export async function watchVolumeLimits(options: VolumeLimitsOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, storage } = options;
  let waitMs = everyMs;
  for (;;) {
    await sleep(clock, waitMs, signal);
    if (signal.aborted) return;
    const begunMs = clock.monotonic();
    await endOverfull(options);
    waitMs = Math.max(everyMs, (clock.monotonic() - begunMs) / shareOfTime);
    // Sees for itself that it does not take too much of the time.
    const over = await storage.exceeding(candidates(options)).catch((error: unknown) => { log.warn('cannot measure what containers store', { error }); });
    for (const [pod, message] of over ?? []) pod.evict(message);
  }
}

const candidates = ({ pods }: VolumeLimitsOptions): LimitedPod[] => [...pods()].filter(({ pod, active }) => active && !isCritical(pod));

async function endOverfull(options: VolumeLimitsOptions): Promise<void> {
  const { log, volumes } = options;
  for (const worker of candidates(options)) {
    if (!worker.pod.spec.volumes?.some((volume) => volume.emptyDir?.sizeLimit)) continue;
    const used = await volumes.usage(worker.pod).catch((error: unknown) => { log.warn('cannot measure volumes', { pod: worker.pod.metadata.name, error }); });
    const message = used && exceeded(worker.pod, used);
    if (message) worker.evict(message);
  }
}

/** What the kubelet says of the first volume that holds more than it may. */
export function exceeded({ spec }: Pod, used: ReadonlyMap<string, number>): string | undefined {
  for (const { name, emptyDir } of spec.volumes ?? []) {
    const limit = amount(emptyDir?.sizeLimit);
    if (limit && (used.get(name) ?? 0) > limit) return `Usage of EmptyDir volume ${JSON.stringify(name)} exceeds the limit ${JSON.stringify(emptyDir?.sizeLimit)}. `;
  }
  return undefined;
}
