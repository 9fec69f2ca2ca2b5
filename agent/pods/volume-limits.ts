import { sleep, type Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import { amount } from '../runtime/amount.ts';
import type { Volumes } from '../volumes/index.ts';

export interface VolumeLimitsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly volumes: Pick<Volumes, 'usage'>;
  readonly workers: () => Iterable<{ readonly pod: Pod; readonly active: boolean; evict(message: string): unknown }>;
}

/** As often as the kubelet looks; where looking itself takes long, less often. */
const everyMs = 10_000;
const shareOfTime = 0.02;

/** Ends pods that store more in an emptyDir than its sizeLimit allows, until `signal` aborts. */
export async function watchVolumeLimits({ clock, log, volumes, workers }: VolumeLimitsOptions, signal: AbortSignal): Promise<void> {
  let waitMs = everyMs;
  for (;;) {
    await sleep(clock, waitMs, signal);
    if (signal.aborted) return;
    const begunMs = clock.monotonic();
    for (const worker of [...workers()]) {
      if (!worker.active || !worker.pod.spec.volumes?.some((volume) => volume.emptyDir?.sizeLimit)) continue;
      const used = await volumes.usage(worker.pod).catch((error: unknown) => { log.warn('cannot measure volumes', { pod: worker.pod.metadata.name, error }); });
      const message = used && exceeded(worker.pod, used);
      if (message) worker.evict(message);
    }
    waitMs = Math.max(everyMs, (clock.monotonic() - begunMs) / shareOfTime);
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
