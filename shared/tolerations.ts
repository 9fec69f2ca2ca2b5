import type { Toleration } from './kinds/affinity.ts';
import type { Taint } from './kinds/node.ts';

/** Whether one of the tolerations covers a taint (`v1helper.TolerationsTolerateTaint`). */
export const tolerates = (tolerations: readonly Toleration[] | undefined, taint: Pick<Taint, 'key' | 'value' | 'effect'>): boolean =>
  (tolerations ?? []).some((toleration) => covers(toleration, taint));

/** An empty key with Exists covers all taints; an empty effect all effects. */
export function covers({ key, operator = 'Equal', value = '', effect }: Toleration, taint: Pick<Taint, 'key' | 'value' | 'effect'>): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  if (operator === 'Exists') return true;
  return Boolean(key) && value === (taint.value ?? '');
}
