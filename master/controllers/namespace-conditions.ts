import type { Kind } from '../../shared/kind.ts';
import type { NamespaceCondition } from '../../shared/kinds/namespace.ts';
import { toTime } from '../../shared/time.ts';

/** Objects of one kind that are still in a namespace. */
export interface Remaining {
  readonly kind: Kind;
  readonly count: number;
  /** Finalizers of all of them, repeated. */
  readonly finalizers: readonly string[];
}

/** Says why a namespace still exists, in the words of Kubernetes' namespace controller. */
export function contentConditions(before: readonly NamespaceCondition[], remaining: readonly Remaining[], errors: readonly Error[], nowMs: number): NamespaceCondition[] {
  const failed = errors.map((error) => error.message).sort().join(', ');
  const left = remaining.map(({ kind, count }) => `${kind.plural}.${kind.group} has ${count} resource instances`).sort().join(', ');
  const held = finalizersOf(remaining).map(([name, count]) => `${name} in ${count} resource instances`).join(', ');
  return [
    fact('NamespaceDeletionDiscoveryFailure', 'False', 'ResourcesDiscovered', 'All resources successfully discovered'),
    fact('NamespaceDeletionGroupVersionParsingFailure', 'False', 'ParsedGroupVersions', 'All legacy kube types successfully parsed'),
    failed
      ? fact('NamespaceDeletionContentFailure', 'True', 'ContentDeletionFailed', `Failed to delete all resource types, ${errors.length} remaining: ${failed}`)
      : fact('NamespaceDeletionContentFailure', 'False', 'ContentDeleted', 'All content successfully deleted, may be waiting on finalization'),
    left
      ? fact('NamespaceContentRemaining', 'True', 'SomeResourcesRemain', `Some resources are remaining: ${left}`)
      : fact('NamespaceContentRemaining', 'False', 'ContentRemoved', 'All content successfully removed'),
    held
      ? fact('NamespaceFinalizersRemaining', 'True', 'SomeFinalizersRemain', `Some content in the namespace has finalizers remaining: ${held}`)
      : fact('NamespaceFinalizersRemaining', 'False', 'ContentHasNoFinalizers', 'All content-preserving finalizers finished'),
  ].map((condition) => {
    const old = before.find(({ type }) => type === condition.type);
    return { ...condition, lastTransitionTime: (old?.status === condition.status && old.lastTransitionTime) || toTime(nowMs) };
  });
}

const fact = (type: string, status: string, reason: string, message: string): NamespaceCondition => ({ type, status, reason, message });

function finalizersOf(remaining: readonly Remaining[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const name of remaining.flatMap(({ finalizers }) => finalizers)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}
