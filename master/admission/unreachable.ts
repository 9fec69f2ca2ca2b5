import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { fieldInvalid, invalid } from '../../shared/status.ts';
import { parseUnreachable, unreachableAnnotation, type UnreachablePolicy } from '../../shared/unreachable.ts';
import type { Admission, Attempt } from '../registry/types.ts';
import { addTolerations } from './default-tolerations.ts';
import { concerns } from './plugin.ts';

/**
 * Puts the annotation `wherry.io/unreachable` into tolerations, which say the same to everybody who knows Kubernetes.
 * Tolerations that the pod itself has for those taints stand. A pod's tolerations can only be added to, so those of
 * a pod that exists stay as they are; the agent follows a changed `stop` at once.
 */
export const unreachable: Admission = {
  name: 'Unreachable',
  handles: (attempt) => concerns(attempt, pods, 'CREATE', 'UPDATE'),
  admit(attempt) {
    const pod = attempt.object as Pod;
    const policy = policyOf(attempt, pod);
    const seconds = policy && tolerationSeconds(policy, pod);
    if (seconds !== undefined && attempt.operation === 'CREATE') addTolerations(pod, seconds);
  },
};

function policyOf({ old, name }: Attempt, { metadata }: Pod): UnreachablePolicy | undefined {
  const text = metadata.annotations?.[unreachableAnnotation];
  if (text === undefined || text === old?.metadata.annotations?.[unreachableAnnotation]) return undefined;
  const policy = parseUnreachable(text);
  if (policy) return policy;
  throw invalid(pods, name || (metadata.generateName ?? ''), [fieldInvalid(`metadata.annotations[${unreachableAnnotation}]`, text,
    'must be "stay", "replace=SECONDS", "stop=SECONDS", or "stop=SECONDS" with one of the others behind a comma')]);
}

/**
 * A pod that stops itself is replaced once it has had its time to end. That time begins with the last word of the node,
 * the toleration's only when the node is found lost, so the two never run side by side.
 */
function tolerationSeconds({ stopSeconds, replaceSeconds }: UnreachablePolicy, { spec }: Pod): number | undefined {
  return replaceSeconds ?? (stopSeconds === undefined ? undefined : stopSeconds + (spec.terminationGracePeriodSeconds ?? 30));
}
