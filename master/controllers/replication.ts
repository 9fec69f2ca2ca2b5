import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { replicationControllers, type ReplicationController, type ReplicationControllerStatus } from '../../shared/kinds/replicationcontroller.ts';
import { controllerOf, splitKey } from '../../shared/meta.ts';
import type { Again } from '../../shared/queue.ts';
import { selectorOf } from '../../shared/selector.ts';
import { isNotFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import type { KindChange } from '../registry/types.ts';
import { defineController, some, type Context } from './controller.ts';
import { labelsKey } from './indexes.ts';
import { claimPods } from './pod-claims.ts';
import { isAvailable, isReady } from './pod.ts';
import { manageReplicas, type ReplicaOwner } from './replicas.ts';

/** Keeps as many pods as a replication controller asks for. */
export const replication = defineController({
  name: 'replication', for: some(replicationControllers), owns: [some(pods)],
  watches: [{ kind: some(pods), keys: adopters }],
  async reconcile(key, context) {
    const { namespace, name } = splitKey(key);
    const rc = context.registry.find(replicationControllers, namespace, name);
    return rc && sync(rc, context);
  },
});

/** Controllers that could adopt an orphan; asked only when its labels or owners have changed. */
function* adopters({ object, previous, namespace, type }: KindChange, { indexes }: Context): Generator<string> {
  if (type === 'DELETED' || controllerOf(object)) return;
  const labels = object.metadata.labels ?? {};
  if (previous && !controllerOf(previous) && labelsKey(previous.metadata.labels ?? {}) === labelsKey(labels)) return;
  yield* indexes.replicationControllers.matching(namespace, labels);
}

const selectsSome = (rc: ReplicationController): boolean => Object.keys(rc.spec.selector ?? {}).length > 0;

async function sync(rc: ReplicationController, context: Context): Promise<Again | void> {
  if (!rc.spec.template || !selectsSome(rc)) return undefined;
  const owner: ReplicaOwner = {
    kind: some(replicationControllers), object: rc, replicas: rc.spec.replicas, selector: selectorOf(rc.spec.selector),
    template: rc.spec.template, component: 'replication-controller',
  };
  const active = await claimPods(owner, context);
  let failure: Error | undefined;
  if (!rc.metadata.deletionTimestamp) await manageReplicas(owner, active, context).catch((error: unknown) => { failure = error as Error; });
  const status = statusOf(rc, active, failure, context.clock.now());
  await writeStatus(rc, status, context);
  if (failure) throw failure;
  const { minReadySeconds = 0, replicas } = rc.spec;
  const waiting = minReadySeconds > 0 && (status.readyReplicas ?? 0) > (status.availableReplicas ?? 0) && status.availableReplicas !== replicas;
  return waiting ? { requeueAfterMs: soonestAvailable(active, minReadySeconds, context.clock.now()) } : undefined;
}

function soonestAvailable(active: readonly Pod[], minReadySeconds: number, nowMs: number): number {
  const left = active.filter((pod) => isReady(pod) && !isAvailable(pod, minReadySeconds, nowMs))
    .map((pod) => Date.parse(pod.status.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '') + minReadySeconds * 1000 - nowMs);
  // Times are whole seconds, so that one more is needed for certain.
  return Math.max(1000, Math.min(...left.filter((ms) => ms > 0), minReadySeconds * 1000) + 1000);
}

function statusOf(rc: ReplicationController, active: readonly Pod[], failure: Error | undefined, nowMs: number): ReplicationControllerStatus {
  const full = selectorOf(rc.spec.template?.metadata?.labels ?? {});
  const count = (holds: (pod: Pod) => boolean): number => active.filter(holds).length;
  return {
    replicas: active.length,
    ...positive('fullyLabeledReplicas', count((pod) => full.matches(pod.metadata.labels ?? {}))),
    ...positive('readyReplicas', count(isReady)),
    ...positive('availableReplicas', count((pod) => isAvailable(pod, rc.spec.minReadySeconds ?? 0, nowMs))),
    observedGeneration: rc.metadata.generation ?? 0,
    ...conditionsOf(rc, active, failure, nowMs),
  };
}

/** Kubernetes leaves counts of zero out. */
const positive = <K extends string>(name: K, count: number): { [P in K]?: number } => (count > 0 ? { [name]: count } as { [P in K]?: number } : {});

/** ReplicaFailure stays as it was first set until a run succeeds. */
function conditionsOf(rc: ReplicationController, active: readonly Pod[], failure: Error | undefined, nowMs: number): Pick<ReplicationControllerStatus, 'conditions'> {
  const before = rc.status.conditions ?? [];
  const known = before.some(({ type }) => type === 'ReplicaFailure');
  if (!failure) return known ? { conditions: before.filter(({ type }) => type !== 'ReplicaFailure') } : keep(before);
  if (known) return keep(before);
  const reason = active.length < rc.spec.replicas ? 'FailedCreate' : 'FailedDelete';
  return { conditions: [...before, { type: 'ReplicaFailure', status: 'True', lastTransitionTime: toTime(nowMs), reason, message: failure.message }] };
}

const keep = (conditions: NonNullable<ReplicationControllerStatus['conditions']>): Pick<ReplicationControllerStatus, 'conditions'> =>
  (conditions.length > 0 ? { conditions } : {});

async function writeStatus(rc: ReplicationController, status: ReplicationControllerStatus, { registry }: Context): Promise<void> {
  const { namespace = '', name = '', uid = '' } = rc.metadata;
  try {
    // The generation that was acted upon is the one to report, also when a newer one has been written meanwhile.
    await registry.modify(replicationControllers, namespace, name, (current) => ({ ...current, status }), { subresource: 'status', preconditions: { uid } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
