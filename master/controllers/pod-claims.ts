import type { Kind } from '../../shared/kind.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { controllerOf, controllerRef, keyOf, type KubeObject } from '../../shared/meta.ts';
import type { Selector } from '../../shared/selector.ts';
import { isConflict, isNotFound } from '../../shared/status.ts';
import type { Context } from './controller.ts';
import { isActive } from './pod.ts';

export interface Claimer {
  readonly kind: Kind;
  readonly object: KubeObject;
  readonly selector: Selector;
}

/**
 * The active pods that a controller manages: its own that match, after it has released those that no longer do and
 * adopted orphans that do (`PodControllerRefManager`). A controller that is being deleted adopts and releases nothing.
 */
export async function claimPods(claimer: Claimer, context: Context): Promise<Pod[]> {
  const uid = claimer.object.metadata.uid ?? '';
  const claimed = new Map<string, Pod>();
  for (const pod of context.indexes.podsOf(uid)) {
    if (!isActive(pod) || controllerOf(pod)?.uid !== uid) continue;
    if (claimer.selector.matches(pod.metadata.labels ?? {})) claimed.set(keyOf(pod), pod);
    else if (!claimer.object.metadata.deletionTimestamp) await release(claimer, pod, context);
  }
  for (const pod of context.indexes.podsMatching(claimer.object.metadata.namespace ?? '', claimer.selector)) {
    if (!isActive(pod) || controllerOf(pod)) continue;
    const adopted = await adopt(claimer, pod, context);
    if (adopted) claimed.set(keyOf(adopted), adopted);
  }
  return [...claimed.values()];
}

/** Takes a pod over, unless the controller is going, the pod is, or somebody else was faster. */
async function adopt({ kind, object }: Claimer, pod: Pod, context: Context): Promise<Pod | undefined> {
  const { registry } = context;
  const { namespace = '', name = '', uid } = object.metadata;
  const fresh = registry.find(kind, namespace, name);
  if (!fresh || fresh.metadata.uid !== uid || fresh.metadata.deletionTimestamp) return undefined;
  let taken = false;
  const stored = await ifThere(pod, (podName) => registry.modify(pods, namespace, podName, (current) => {
    taken = !current.metadata.deletionTimestamp && !controllerOf(current);
    if (!taken) return undefined;
    (current.metadata.ownerReferences ??= []).push(controllerRef(object));
    return current;
  }, { preconditions: { uid: pod.metadata.uid ?? '' } }));
  if (!taken || !stored) return undefined;
  await context.seen(stored.revision);
  return stored.object;
}

async function release({ object }: Claimer, pod: Pod, context: Context): Promise<void> {
  const { registry } = context;
  const stored = await ifThere(pod, (podName) => registry.modify(pods, pod.metadata.namespace ?? '', podName, (current) => {
    const owners = (current.metadata.ownerReferences ?? []).filter((owner) => owner.uid !== object.metadata.uid);
    if (owners.length > 0) current.metadata.ownerReferences = owners;
    else delete current.metadata.ownerReferences;
    return current;
  }, { preconditions: { uid: pod.metadata.uid ?? '' } }));
  if (stored) await context.seen(stored.revision);
}

/** Runs a write of a pod; undefined when that pod is no more. */
async function ifThere<R>(pod: Pod, write: (name: string) => Promise<R>): Promise<R | undefined> {
  try {
    return await write(pod.metadata.name ?? '');
  } catch (error) {
    if (isNotFound(error) || isConflict(error)) return undefined;
    throw error;
  }
}
