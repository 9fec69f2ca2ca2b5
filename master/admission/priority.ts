import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { forbidden } from '../../shared/status.ts';
import type { Admission } from '../registry/types.ts';
import { concerns } from './plugin.ts';

/** The classes that every cluster has. */
const systemClasses: Readonly<Record<string, number>> = { 'system-cluster-critical': 2_000_000_000, 'system-node-critical': 2_000_001_000 };

/** A writer that leaves the priority out does not mean to change it. */
function keepPriority(spec: Pod['spec'], old: Pod['spec']): void {
  if (old.priority !== undefined) spec.priority ??= old.priority;
  if (old.preemptionPolicy !== undefined) spec.preemptionPolicy ??= old.preemptionPolicy;
}

/** Turns a pod's priority class into its number; 0 without one. A pod cannot choose the number itself. */
export const priority: Admission = {
  name: 'Priority',
  handles: (attempt) => concerns(attempt, pods, 'CREATE', 'UPDATE'),
  admit(attempt) {
    const { spec } = attempt.object as Pod;
    if (attempt.old) return keepPriority(spec, (attempt.old as Pod).spec);
    const name = spec.priorityClassName;
    const value = name ? systemClasses[name] : 0;
    if (value === undefined) throw forbidden(pods, attempt.name, `no PriorityClass with name ${name} was found`);
    if (spec.priority !== undefined && spec.priority !== value) {
      throw forbidden(pods, attempt.name,
        `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`);
    }
    spec.priority = value;
    spec.preemptionPolicy ??= 'PreemptLowerPriority';
  },
};
