import type { Container } from '../../shared/kinds/container.ts';
import type { PodSpec } from '../../shared/kinds/pod-spec.ts';
import { amount } from './amount.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const compute = ['cpu', 'memory'] as const;

/** Quality of service, as k8s.io/kubernetes/pkg/apis/core/v1/helper/qos works it out: all limited, none, or in between. */
export function qosClass(spec: Pick<PodSpec, 'containers' | 'initContainers'>): QosClass {
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  const amounts = all.flatMap((c) => compute.map((name) => ({
    limit: positive(c.resources?.limits?.[name]), request: positive(c.resources?.requests?.[name] ?? c.resources?.limits?.[name]),
  })));
  if (amounts.every((a) => a.limit === undefined && a.request === undefined)) return 'BestEffort';
  return amounts.every((a) => a.limit !== undefined && a.request === a.limit) ? 'Guaranteed' : 'Burstable';
}

const positive = (quantity: string | undefined): number | undefined => amount(quantity) || undefined;

/**
 * `oom_score_adj` of a container, as the kubelet's qos policy sets it: the less of its node a burstable one asked for, the
 * sooner it goes, but a sidecar no sooner than those whom it serves.
 */
export function oomScoreAdjust(spec: PodSpec, container: Pick<Container, 'resources' | 'restartPolicy'>, nodeMemoryBytes: number): number {
  if (spec.priorityClassName === 'system-node-critical') return -997;
  switch (qosClass(spec)) {
    case 'Guaranteed': return -997;
    case 'BestEffort': return 1000;
    case 'Burstable': {
      const own = memoryRequest(container);
      const request = container.restartPolicy === 'Always' ? Math.max(own, Math.min(...spec.containers.map(memoryRequest))) : own;
      const score = Math.trunc(1000 - (1000 * request) / Math.max(1, nodeMemoryBytes));
      return Math.max(3, Math.min(999, score));
    }
  }
}

const memoryRequest = ({ resources }: Pick<Container, 'resources'>): number => amount(resources?.requests?.['memory'] ?? resources?.limits?.['memory']) ?? 0;
