import type { Pod } from '../../shared/kinds/pod.ts';
import { amount } from '../runtime/amount.ts';

/** The most that a tmpfs of a pod may have: what its containers may use, where all of them are limited, and what the node has. */
export function memoryLimit({ spec }: Pod, nodeBytes = Infinity): number {
  const limits = spec.containers.map((container) => amount(container.resources?.limits?.['memory']));
  const sum = limits.reduce<number>((total, limit) => total + (limit || Infinity), 0);
  return Math.min(sum, nodeBytes);
}
