import type { Toleration } from '../../shared/kinds/affinity.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { runtimeClasses, type RuntimeClass } from '../../shared/kinds/runtimeclass.ts';
import { compareQuantity } from '../../shared/quantity.ts';
import { forbidden } from '../../shared/status.ts';
import type { Admission } from '../registry/types.ts';
import { concerns, type AdmissionContext } from './plugin.ts';

type Amounts = Readonly<Record<string, string>>;

/** Gives a pod what its runtime class says: the overhead, and where it may run. */
export const runtimeClass = ({ registry }: AdmissionContext): Admission => {
  const classOf = (name: string | undefined): RuntimeClass | undefined => (name ? registry.find(runtimeClasses, '', name) : undefined);
  return {
    name: 'RuntimeClass',
    handles: (attempt) => concerns(attempt, pods, 'CREATE'),
    admit({ object, name }) {
      const { spec } = object as Pod;
      const found = classOf(spec.runtimeClassName);
      if (spec.runtimeClassName && !found) throw forbidden(pods, name, `pod rejected: RuntimeClass "${spec.runtimeClassName}" not found`);
      if (found?.overhead?.podFixed) setOverhead(spec, found.overhead.podFixed, name);
      if (found?.scheduling) setScheduling(spec, found.scheduling, name);
    },
    validate({ object, name }) {
      const { spec } = object as Pod;
      if (spec.overhead && !classOf(spec.runtimeClassName)?.overhead?.podFixed) {
        throw forbidden(pods, name, 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead');
      }
    },
  };
};

function setOverhead(spec: Pod['spec'], overhead: Amounts, name: string): void {
  if (spec.overhead && !sameAmounts(spec.overhead, overhead)) throw forbidden(pods, name, 'pod rejected: Pod\'s Overhead doesn\'t match RuntimeClass\'s defined Overhead');
  spec.overhead = { ...overhead };
}

const sameAmounts = (a: Amounts, b: Amounts): boolean => Object.keys(a).length === Object.keys(b).length
  && Object.entries(a).every(([resource, amount]) => b[resource] !== undefined && compareQuantity(amount, b[resource]) === 0);

function setScheduling(spec: Pod['spec'], { nodeSelector = {}, tolerations = [] }: NonNullable<RuntimeClass['scheduling']>, name: string): void {
  for (const [label, value] of Object.entries(nodeSelector)) {
    const own = spec.nodeSelector?.[label];
    if (own !== undefined && own !== value) {
      throw forbidden(pods, name, `conflict: runtimeClass.scheduling.nodeSelector[${label}] = ${value}; pod.spec.nodeSelector[${label}] = ${own}`);
    }
  }
  if (Object.keys(nodeSelector).length > 0) spec.nodeSelector = { ...spec.nodeSelector, ...nodeSelector };
  const own = spec.tolerations ?? [];
  const more = tolerations.filter((toleration) => !own.some((other) => isSame(other, toleration)));
  if (more.length > 0) spec.tolerations = [...own, ...more];
}

const isSame = (a: Toleration, b: Toleration): boolean => (['key', 'operator', 'value', 'effect', 'tolerationSeconds'] as const).every((field) => a[field] === b[field]);
