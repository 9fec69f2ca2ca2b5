import type { Toleration } from '../../shared/kinds/affinity.ts';
import type { Node, Taint } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { isNotFound } from '../../shared/status.ts';
import { fromTime, toTime } from '../../shared/time.ts';
import { covers } from '../../shared/tolerations.ts';
import { some, type Context } from './controller.ts';
import { removeIfThere } from './ensure.ts';
import { isEnded } from './pod.ts';

const component = 'taint-eviction-controller';

/**
 * Deletes the pods of a node that have tolerated its NoExecute taints for as long as they say; returns in how many
 * milliseconds the next one is due. `notBeforeMs`: no time counts before this, on the wall clock.
 */
export async function evict(node: Node, notBeforeMs: number, context: Context): Promise<number | undefined> {
  const taints = (node.spec.taints ?? []).filter(({ effect }) => effect === 'NoExecute');
  if (taints.length === 0) return undefined;
  let nextMs: number | undefined;
  for (const pod of context.indexes.podsOnNode(node.metadata.name ?? '')) {
    if (pod.metadata.deletionTimestamp || isEnded(pod)) continue;
    const leftMs = dueMs(pod, taints, notBeforeMs) - context.clock.now();
    if (leftMs <= 0) await evictPod(pod, context);
    else if (leftMs < Infinity) nextMs = Math.min(nextMs ?? Infinity, leftMs);
  }
  return nextMs;
}

/** When a pod has to go; Infinity for never. One taint that is not tolerated at all is enough for at once. */
export function dueMs(pod: Pod, taints: readonly Taint[], notBeforeMs: number): number {
  let due = Infinity;
  for (const taint of taints) {
    const seconds = toleratedSeconds(pod.spec.tolerations ?? [], taint);
    if (seconds === undefined) return 0;
    due = Math.min(due, Math.max(fromTime(taint.timeAdded), notBeforeMs) + seconds * 1000);
  }
  return due;
}

/** Seconds for which a taint is tolerated, the least that any toleration says; undefined if by none. */
function toleratedSeconds(tolerations: readonly Toleration[], taint: Taint): number | undefined {
  const covering = tolerations.filter((toleration) => covers(toleration, taint));
  if (covering.length === 0) return undefined;
  return Math.min(...covering.map(({ tolerationSeconds }) => (tolerationSeconds === undefined ? Infinity : Math.max(0, tolerationSeconds))));
}

async function evictPod(pod: Pod, { registry, recorder, clock }: Context): Promise<void> {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  recorder.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${namespace}/${name}`, component);
  const condition = {
    type: 'DisruptionTarget', status: 'True', reason: 'DeletionByTaintManager', message: 'Taint manager: deleting due to NoExecute taint', lastTransitionTime: toTime(clock.now()),
  };
  await registry.modify(pods, namespace, name, (current) => {
    const others = (current.status.conditions ?? []).filter(({ type }) => type !== condition.type);
    return { ...current, status: { ...current.status, conditions: [...others, condition] } };
  }, { subresource: 'status', preconditions: { uid } }).catch((error: unknown) => { if (!isNotFound(error)) throw error; });
  await removeIfThere(registry, some(pods), namespace, name, { preconditions: { uid } });
}
