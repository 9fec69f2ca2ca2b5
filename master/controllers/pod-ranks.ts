import type { Pod } from '../../shared/kinds/pod.ts';
import { fromTime } from '../../shared/time.ts';
import { isReady, podCondition } from './pod.ts';

const deletionCost = 'controller.kubernetes.io/pod-deletion-cost';
const phaseOrder: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };

/**
 * The pods to delete first, of pods that are one too many: unassigned before assigned, Pending before Running, unready
 * before ready, cheap before dear (`pod-deletion-cost`), on the more crowded node, ready for a shorter time, restarted
 * more often, younger. As Kubernetes' `controller.ActivePodsWithRanks`.
 */
export function podsToDelete(active: readonly Pod[], count: number, nowMs: number): Pod[] {
  if (count >= active.length) return [...active];
  const onNode = new Map<string, number>();
  for (const { spec } of active) if (spec.nodeName) onNode.set(spec.nodeName, (onNode.get(spec.nodeName) ?? 0) + 1);
  const facts = active.map((pod) => factsOf(pod, onNode.get(pod.spec.nodeName ?? '') ?? 0));
  return facts.sort((a, b) => compare(a, b, nowMs)).slice(0, count).map(({ pod }) => pod);
}

interface Facts {
  readonly pod: Pod;
  readonly neighbours: number;
  readonly ready: boolean;
  readonly readyMs: number;
  readonly restarts: number;
  readonly createdMs: number;
  readonly cost: number;
}

function factsOf(pod: Pod, neighbours: number): Facts {
  const ready = isReady(pod);
  const cost = Number(pod.metadata.annotations?.[deletionCost] ?? 0);
  return {
    pod, neighbours, ready,
    readyMs: ready ? fromTime(podCondition(pod, 'Ready')?.lastTransitionTime) : 0,
    restarts: Math.max(0, ...(pod.status.containerStatuses ?? []).map((status) => status.restartCount)),
    createdMs: fromTime(pod.metadata.creationTimestamp),
    cost: Number.isInteger(cost) ? cost : 0,
  };
}

/** Negative when `a` is to go before `b`. */
function compare(a: Facts, b: Facts, nowMs: number): number {
  return Number(Boolean(a.pod.spec.nodeName)) - Number(Boolean(b.pod.spec.nodeName))
    || (phaseOrder[a.pod.status.phase ?? 'Pending'] ?? 0) - (phaseOrder[b.pod.status.phase ?? 'Pending'] ?? 0)
    || Number(a.ready) - Number(b.ready)
    || a.cost - b.cost
    || b.neighbours - a.neighbours
    || (a.ready && b.ready ? compareAges(a.readyMs, b.readyMs, a, b, nowMs) : 0)
    || b.restarts - a.restarts
    || compareAges(a.createdMs, b.createdMs, a, b, nowMs);
}

/**
 * The younger first; ages in the same power of two of nanoseconds count as equal and are told apart by uid, which
 * spreads deletions over ages. An unknown time counts as youngest.
 */
function compareAges(aMs: number, bMs: number, a: Facts, b: Facts, nowMs: number): number {
  if (aMs === bMs) return 0;
  if (aMs === 0 || bMs === 0) return aMs === 0 ? -1 : 1;
  const difference = ageRank(nowMs - aMs) - ageRank(nowMs - bMs);
  if (difference !== 0) return difference;
  return (a.pod.metadata.uid ?? '') < (b.pod.metadata.uid ?? '') ? -1 : 1;
}

const ageRank = (ageMs: number): number => (ageMs > 0 ? Math.floor(Math.log2(ageMs * 1e6)) : -1);
