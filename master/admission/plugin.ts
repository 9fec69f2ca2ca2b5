import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import type { Policy } from '../registry/policy.ts';
import type { Registry } from '../registry/registry.ts';
import type { Attempt } from '../registry/types.ts';

/** What plugins work with. */
export interface AdmissionContext {
  readonly registry: Registry;
  readonly clock: Clock;
  /** Who may do what; without it, roles are written unchecked. */
  readonly policy?: Policy;
}

/** Whether an attempt is about objects of a kind themselves, not about one of their subresources. */
export function concerns<T extends KubeObject>(attempt: Attempt, kind: Kind<T>, ...operations: readonly Attempt['operation'][]): boolean {
  return attempt.kind.prefix === kind.prefix && attempt.subresource === '' && operations.includes(attempt.operation);
}
