import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { fromTime } from '../../shared/time.ts';
import { stopSecondsOf, unreachableAnnotation } from '../../shared/unreachable.ts';
import type { Ending } from './plan.ts';

/** Why a pod failed as a whole: what its status says for good. */
export interface Failure {
  readonly reason: string;
  readonly message: string;
  /** The node never took it on. */
  readonly rejected?: boolean;
  /** Time that its containers have to end, in seconds; the pod's own by default. */
  readonly graceSeconds?: number;
  /** The node ended it for want of something, which its conditions tell. */
  readonly disrupted?: boolean;
}

/** Grace of a pod that is no longer wanted here at all, in seconds. */
export const forcedGraceSeconds = 2;

/** When the pod's activeDeadlineSeconds are over, in ms since 1970; Infinity without one. */
export function deadlineMs(pod: Pod, status: PodStatus | undefined): number {
  const started = fromTime(status?.startTime);
  return pod.spec.activeDeadlineSeconds === undefined || started === 0 ? Infinity : started + pod.spec.activeDeadlineSeconds * 1000;
}

export const deadlineExceeded: Failure = { reason: 'DeadlineExceeded', message: 'Pod was active on the node longer than the specified deadline' };

/** How long without a master the pod goes on; Infinity: as long as it takes. */
export const pauseAfterMs = (pod: Pod): number => (stopSecondsOf(pod) ?? Infinity) * 1000;

/** What the containers of a paused pod wait for. */
export const unreachable = (pod: Pod): Failure => ({ reason: 'NodeUnreachable', message: `stopped after ${stopSecondsOf(pod)} s without a master (${unreachableAnnotation})` });

export interface EndingInput {
  readonly pod: Pod;
  /** The pod is not, or no longer, assigned to this node. */
  readonly removed: boolean;
  readonly failure: Failure | undefined;
  /** Last reported, by this agent or the one before it. */
  readonly status: PodStatus | undefined;
  /** For how long there has been no master, in ms; undefined: there is one. */
  readonly outageMs: number | undefined;
}

/** Whether and how the pod is to end. What is over stays over: a terminal phase once reported is never left. */
export function endingOf({ pod, removed, failure, status, outageMs = -1 }: EndingInput): Ending | undefined {
  const grace = pod.spec.terminationGracePeriodSeconds ?? 30;
  if (removed) return { kind: 'deleted', graceSeconds: Math.min(forcedGraceSeconds, pod.metadata.deletionGracePeriodSeconds ?? grace) };
  if (pod.metadata.deletionTimestamp) return { kind: 'deleted', graceSeconds: pod.metadata.deletionGracePeriodSeconds ?? grace };
  const over = status?.phase === 'Failed' || status?.phase === 'Succeeded';
  if (failure || over) return { kind: 'terminal', graceSeconds: failure?.graceSeconds ?? grace };
  return outageMs >= pauseAfterMs(pod) ? { kind: 'paused', graceSeconds: grace } : undefined;
}
