import type { Kind } from '../../shared/kind.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { PodTemplateSpec } from '../../shared/kinds/pod-spec.ts';
import { controllerRef, type KubeObject } from '../../shared/meta.ts';
import { dnsSubdomainErrors } from '../../shared/names.ts';
import type { Selector } from '../../shared/selector.ts';
import { isNotFound, StatusError } from '../../shared/status.ts';
import type { Context } from './controller.ts';
import { podsToDelete } from './pod-ranks.ts';

/** A controller of equal pods, as {@link manageReplicas} sees it. */
export interface ReplicaOwner {
  readonly kind: Kind;
  readonly object: KubeObject;
  readonly replicas: number;
  readonly selector: Selector;
  readonly template: PodTemplateSpec;
  /** Who reports, such as `replication-controller`. */
  readonly component: string;
}

/** Pods created or deleted in one run at most (Kubernetes' `BurstReplicas`). */
const burst = 500;

/** Creates what is missing or deletes what is too much. @throws the first error met, after all has been tried */
export async function manageReplicas(owner: ReplicaOwner, active: readonly Pod[], context: Context): Promise<void> {
  const missing = owner.replicas - active.length;
  if (missing > 0) await slowStart(Math.min(missing, burst), () => createPod(owner, context));
  else if (missing < 0) {
    const doomed = podsToDelete(active, Math.min(-missing, burst), context.clock.now());
    await allSettled(doomed.map((pod) => deletePod(owner, pod, context)));
  }
}

/**
 * Calls `create` `count` times in batches of 1, 2, 4, …, each batch at once; stops after a batch with a failure, so that
 * what fails for all fails only once.
 */
export async function slowStart(count: number, create: () => Promise<void>): Promise<void> {
  let left = count;
  for (let size = Math.min(1, left); size > 0; size = Math.min(2 * size, left)) {
    await allSettled(Array.from({ length: size }, create));
    left -= size;
  }
}

async function allSettled(runs: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(runs)) if (result.status === 'rejected') throw result.reason;
}

async function createPod(owner: ReplicaOwner, context: Context): Promise<void> {
  const { object, component } = owner;
  try {
    const pod = await context.registry.create(pods, object.metadata.namespace ?? '', podFrom(owner));
    context.recorder.event(object, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.object.metadata.name}`, component);
    await context.seen(pod.revision);
  } catch (error) {
    // Nothing can be created in a namespace that is ending, and nobody needs to hear of it.
    if (isNamespaceEnding(error)) return;
    context.recorder.event(object, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`, component);
    throw error;
  }
}

async function deletePod({ object, component }: ReplicaOwner, pod: Pod, context: Context): Promise<void> {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  try {
    await context.registry.delete(pods, namespace, name, { preconditions: { uid } });
    context.recorder.event(object, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`, component);
  } catch (error) {
    if (isNotFound(error)) return;
    context.recorder.event(object, 'Warning', 'FailedDelete', `Error deleting: ${(error as Error).message}`, component);
    throw error;
  }
}

/** The document of a new pod. */
export function podFrom({ object, template }: ReplicaOwner): unknown {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const prefix = `${object.metadata.name}-`;
  return {
    metadata: {
      generateName: dnsSubdomainErrors(prefix, true).length === 0 ? prefix : object.metadata.name,
      ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}), ...(finalizers ? { finalizers } : {}),
      ownerReferences: [controllerRef(object)],
    },
    spec: template.spec,
  };
}

const isNamespaceEnding = (error: unknown): boolean =>
  error instanceof StatusError && (error.details?.causes ?? []).some((cause) => cause.reason === 'NamespaceTerminating');
