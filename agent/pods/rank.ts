import type { Pod } from '../../shared/kinds/pod.ts';
import { amount } from '../runtime/amount.ts';
import { amountText, quantityOf, starvedOf, type Observations, type Starved, type Threshold } from './thresholds.ts';

/** A pod that may have to go, with what it takes of the thing that runs short. */
export interface Claimant {
  readonly pod: Pod;
  /** Undefined: not known. */
  readonly used: number | undefined;
  readonly requested: number;
}

/** Priorities from here on are the system's (`system-cluster-critical` and up). */
const criticalPriority = 2_000_000_000;

/** Pods that are never evicted for what the node lacks. */
export const isCritical = ({ spec }: Pod): boolean => (spec.priority ?? 0) >= criticalPriority;

/**
 * Those to go first come first, as the kubelet ranks them: who uses more than it asked for (or is not known to use less), then the
 * lower priority, then who exceeds its request by more. Pure.
 */
export function rank<T extends Claimant>(claimants: readonly T[]): T[] {
  const exceeds = ({ used, requested }: Claimant): number => (used === undefined || used > requested ? 0 : 1);
  const over = ({ used, requested }: Claimant): number => (used === undefined ? Infinity : used - requested);
  const more = (a: number, b: number): number => (a === b ? 0 : b - a);
  return [...claimants].sort((a, b) => exceeds(a) - exceeds(b) || (a.pod.spec.priority ?? 0) - (b.pod.spec.priority ?? 0) || more(over(a), over(b)));
}

/** Why a pod was evicted, in the kubelet's words. `used`: what each container takes, by name. */
export function evictionMessage(threshold: Threshold, seen: Observations, pod: Pod, used: ReadonlyMap<string, number>): string {
  const starved = starvedOf(threshold.signal);
  const at = seen.get(threshold.signal);
  const met = at ? `Threshold quantity: ${amountText(quantityOf(threshold, at.capacity))}, available: ${amountText(at.available)}. ` : '';
  return `The node was low on resource: ${starved}. ${met}${excesses(starved, pod, used)}`;
}

/** The kubelet speaks of containers where it knows their requests. */
function excesses(starved: Starved, { spec }: Pod, used: ReadonlyMap<string, number>): string {
  if (starved !== 'memory' && starved !== 'ephemeral-storage') return '';
  return [...(spec.initContainers ?? []), ...spec.containers].map(({ name = '', resources }) => {
    const request = resources?.requests?.[starved] ?? '0';
    const taken = used.get(name);
    if (taken === undefined || taken <= (amount(request) ?? 0)) return '';
    return `Container ${name} was using ${amountText(Math.ceil(taken / 1024) * 1024)}, request is ${request}, has larger consumption of ${starved}. `;
  }).join('');
}
