import type { Clock } from '../../shared/clock.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { PodCondition } from '../../shared/kinds/pod-status.ts';
import { conflict, isConflict, notFound, unavailable } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import { ConflictError, StoreError } from '../store/store.ts';
import { storeKey, type Registry } from './registry.ts';
import type { WriteOptions } from './types.ts';

/** The part of a Binding object that counts. */
export interface BindingTarget {
  readonly target: { readonly name: string; readonly kind?: string };
  /** Of the pod that is meant, and what goes onto it beside the node. */
  readonly metadata?: { readonly uid?: string; readonly annotations?: Readonly<Record<string, string>> };
}

export interface BindOptions extends Pick<WriteOptions, 'dryRun'> {
  readonly clock: Clock;
  /** Told the revision of the write before anybody sees it; told again if the write has to be tried again. */
  readonly onRevision?: (revision: number) => void;
}

/** How often a bind that other writers keep beating is tried. */
const maxAttempts = 8;

/**
 * Assigns a pod to a node: `spec.nodeName` and the condition PodScheduled in one write; returns its revision.
 * A pod's spec is immutable to everybody else, so this goes to the store without the checks of an ordinary update:
 * everything that it does not name stays as it is.
 * @throws StatusError 404; 409 when the pod is being deleted, is another one, or has a node already
 */
export async function bind(registry: Registry, namespace: string, podName: string, binding: BindingTarget, options: BindOptions): Promise<number> {
  for (let tries = 1; ; tries++) {
    const stored = registry.newest(pods, namespace, podName);
    checkBindable(stored.object, podName, binding);
    if (options.dryRun) return stored.revision;
    const bound = assigned(stored.object, binding, options.clock.now());
    try {
      return await write(registry, namespace, podName, stored.revision, bound, options.onRevision);
    } catch (error) {
      if (!isConflict(error) || tries >= maxAttempts) throw error;
    }
  }
}

function checkBindable(pod: Pod, name: string, { target, metadata }: BindingTarget): void {
  const refuse = (why: string) => conflict({ group: '', plural: 'pods/binding', kind: 'Binding' }, name, why);
  if (metadata?.uid && metadata.uid !== pod.metadata.uid) {
    throw conflict(pods, name, `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${pod.metadata.uid}`);
  }
  if (pod.metadata.deletionTimestamp) throw refuse(`pod ${name} is being deleted, cannot be assigned to a host`);
  if (pod.spec.nodeName) throw refuse(`pod ${name} is already assigned to node ${JSON.stringify(pod.spec.nodeName)}`);
  if (pod.spec.schedulingGates?.length) throw refuse(`pod ${name} has non-empty .spec.schedulingGates`);
  if (!target.name) throw refuse(`pod ${name} cannot be assigned to a node without a name`);
}

function assigned(pod: Pod, { target, metadata }: BindingTarget, nowMs: number): Pod {
  const scheduled: PodCondition = { type: 'PodScheduled', status: 'True', lastTransitionTime: toTime(nowMs) };
  const others = (pod.status.conditions ?? []).filter((condition) => condition.type !== 'PodScheduled');
  const { nominatedNodeName: _done, ...status } = pod.status;
  return {
    ...pod,
    metadata: { ...pod.metadata, ...(metadata?.annotations ? { annotations: { ...pod.metadata.annotations, ...metadata.annotations } } : {}) },
    spec: { ...pod.spec, nodeName: target.name },
    status: { ...status, conditions: [...others, scheduled] },
  };
}

async function write(registry: Registry, namespace: string, name: string, expect: number, pod: Pod, onRevision: BindOptions['onRevision']): Promise<number> {
  const value = (revision: number): Uint8Array => {
    onRevision?.(revision);
    return registry.stamped(pod, revision);
  };
  try {
    const [revision] = await registry.store.write([{ type: 'put', key: storeKey(pods, namespace, name), expect, value }]);
    return revision!;
  } catch (error) {
    if (error instanceof ConflictError) throw error.current === 0 ? notFound(pods, name) : conflict(pods, name);
    if (error instanceof StoreError) throw unavailable(`the store cannot take writes: ${error.message}`);
    throw error;
  }
}
