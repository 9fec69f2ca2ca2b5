import { clone } from '../../shared/clone.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { fromTime, toTime } from '../../shared/time.ts';
import type { DeleteOptions, Propagation } from './types.ts';

/** Finalizers that stand for a propagation policy (metav1.FinalizerDeleteDependents, FinalizerOrphanDependents). */
export const foregroundFinalizer = 'foregroundDeletion';
export const orphanFinalizer = 'orphan';

/** What a deletion request does to a stored object; `object` is a private copy. */
export type DeletionPlan<T> =
  | { readonly type: 'remove'; readonly object: T }
  | { readonly type: 'mark'; readonly object: T }
  | { readonly type: 'nothing' };

/** Finalizers in the spec, which kinds with a `finalize` subresource (namespaces) have beside those in the metadata. */
export function specFinalizers(kind: Kind, object: KubeObject): readonly string[] {
  if (!kind.subresources?.some(({ name }) => name === 'finalize')) return [];
  return (object as { spec?: { finalizers?: readonly string[] } }).spec?.finalizers ?? [];
}

/**
 * Decides between removing an object and marking it as being deleted, as apiserver's `BeforeDelete` and
 * `deletionFinalizersForGarbageCollection` do: an object goes when its grace is 0 and no finalizer is left.
 */
export function planDeletion<T extends KubeObject>(kind: Kind<T>, stored: T, options: DeleteOptions, nowMs: number): DeletionPlan<T> {
  const object = clone(stored);
  const { metadata } = object;
  const finalizers = finalizersFor(metadata.finalizers ?? [], options.propagationPolicy ?? kind.defaultPropagation);
  if (finalizers.length > 0) metadata.finalizers = finalizers;
  else delete metadata.finalizers;
  const grace = Math.max(0, kind.gracePeriodSeconds?.(object, options.gracePeriodSeconds) ?? 0);
  const held = specFinalizers(kind as unknown as Kind, object).length > 0;
  if (grace === 0 && finalizers.length === 0 && !held) return { type: 'remove', object };
  if (held) (object as { status?: { phase?: string } }).status = { ...(object as { status?: object }).status, phase: 'Terminating' };
  return mark(object, stored, grace, nowMs);
}

function mark<T extends KubeObject>(object: T, stored: T, grace: number, nowMs: number): DeletionPlan<T> {
  const { metadata } = object;
  const sameFinalizers = String(metadata.finalizers ?? '') === String(stored.metadata.finalizers ?? '');
  if (metadata.deletionTimestamp) {
    const left = metadata.deletionGracePeriodSeconds ?? 0;
    // A later deletion may only shorten the grace.
    if (grace >= left) return sameFinalizers ? { type: 'nothing' } : { type: 'mark', object };
    const started = fromTime(metadata.deletionTimestamp) - left * 1000;
    metadata.deletionTimestamp = toTime(Math.max(nowMs, started + grace * 1000));
  } else {
    metadata.deletionTimestamp = toTime(nowMs + grace * 1000);
    if (metadata.generation) metadata.generation += 1;
  }
  metadata.deletionGracePeriodSeconds = grace;
  return { type: 'mark', object };
}

function finalizersFor(current: readonly string[], policy: Propagation | undefined): string[] {
  if (!policy) return [...current];
  const others = current.filter((finalizer) => finalizer !== foregroundFinalizer && finalizer !== orphanFinalizer);
  if (policy === 'Foreground') return [...others, foregroundFinalizer];
  if (policy === 'Orphan') return [...others, orphanFinalizer];
  return others;
}
