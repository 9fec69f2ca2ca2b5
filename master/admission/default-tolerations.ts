import type { Toleration } from '../../shared/kinds/affinity.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { Admission } from '../registry/types.ts';
import { concerns } from './plugin.ts';

const keys = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'] as const;
/** How long a pod stays on a node that is not ready or not heard of. */
const tolerationSeconds = 300;

/** Lets pods outlast five minutes of trouble with their node, unless they say otherwise. */
export const defaultTolerations: Admission = {
  name: 'DefaultTolerationSeconds',
  handles: (attempt) => concerns(attempt, pods, 'CREATE', 'UPDATE'),
  admit(attempt) {
    addTolerations(attempt.object as Pod, tolerationSeconds);
  },
};

/** Lets a pod outlast trouble with its node for so many seconds (Infinity: for ever), where it says nothing of its own. */
export function addTolerations({ spec }: Pod, seconds: number): void {
  for (const key of keys) {
    if ((spec.tolerations ?? []).some((toleration) => covers(toleration, key))) continue;
    (spec.tolerations ??= []).push({ key, operator: 'Exists', effect: 'NoExecute', ...(seconds === Infinity ? {} : { tolerationSeconds: seconds }) });
  }
}

const covers = (toleration: Toleration, key: string): boolean =>
  (!toleration.key || toleration.key === key) && (!toleration.effect || toleration.effect === 'NoExecute');
