import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodCondition } from '../../shared/kinds/pod-status.ts';
import { fromTime } from '../../shared/time.ts';

/** Succeeded or Failed: its containers have ended for good. */
export const isEnded = (pod: Pod): boolean => pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed';

/** Neither ended nor being deleted: counts towards replicas. */
export const isActive = (pod: Pod): boolean => !isEnded(pod) && !pod.metadata.deletionTimestamp;

export const podCondition = (pod: Pod, type: string): PodCondition | undefined =>
  pod.status.conditions?.find((condition) => condition.type === type);

export const isReady = (pod: Pod): boolean => podCondition(pod, 'Ready')?.status === 'True';

/** Ready for at least `minReadySeconds`. */
export function isAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  const ready = podCondition(pod, 'Ready');
  if (ready?.status !== 'True') return false;
  if (minReadySeconds === 0) return true;
  const since = fromTime(ready.lastTransitionTime);
  return since > 0 && since + minReadySeconds * 1000 <= nowMs;
}
