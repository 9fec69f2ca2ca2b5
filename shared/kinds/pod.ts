import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dflt } from '../schema.ts';
import { fieldForbidden, type FieldError } from '../status.ts';
import { podColumns } from './pod-columns.ts';
import { normalizePod, qosClass } from './pod-defaults.ts';
import { PodSpec } from './pod-spec.ts';
import { PodStatus } from './pod-status.ts';
import { validatePodUpdate } from './pod-update.ts';
import { validatePod } from './pod-validation.ts';
import { podWarnings } from './pod-warnings.ts';

const PodSchema = topLevel('core.v1.Pod', {
  spec: dflt(PodSpec, { containers: [] }, 'What the pod should be.'),
  status: dflt(PodStatus, {}, 'What is known of it.'),
}, 'Containers that run together on one node.');
export type Pod = ObjectOf<typeof PodSchema>;

/** Has ended for good. */
export const isTerminal = (pod: Pod): boolean => pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed';

/** Ephemeral containers are for pods that run. */
const validateCreate = ({ spec }: Pod): FieldError[] =>
  (spec.ephemeralContainers?.length ? [fieldForbidden('spec.ephemeralContainers', 'cannot be set on create')] : []);

/** Held back until its gates are gone; the scheduler says what comes then. */
const gated = (): NonNullable<PodStatus['conditions']>[number] =>
  ({ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message: 'Scheduling is blocked due to non-empty scheduling gates' });

/** Nothing runs that could use the time if the pod has no node or has ended. */
function gracePeriodSeconds(pod: Pod, requested: number | undefined): number {
  if (!pod.spec.nodeName || isTerminal(pod)) return 0;
  const seconds = requested ?? pod.spec.terminationGracePeriodSeconds;
  return seconds < 0 ? 1 : seconds;
}

export const pods = defineKind<Pod>({
  group: '', version: 'v1', kind: 'Pod', plural: 'pods', shortNames: ['po'], categories: ['all'], namespaced: true, generation: true, schema: PodSchema,
  status: true,
  subresources: [
    { name: 'attach', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
    { name: 'binding', kind: 'Binding', verbs: ['create'] },
    { name: 'ephemeralcontainers', kind: 'Pod', verbs: ['get', 'patch', 'update'] },
    { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
    { name: 'exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
    { name: 'log', kind: 'Pod', verbs: ['get'] },
    { name: 'portforward', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
    { name: 'proxy', kind: 'PodProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] },
  ],
  selectableFields: {
    'spec.nodeName': (o) => o.spec.nodeName ?? '',
    'spec.restartPolicy': (o) => o.spec.restartPolicy,
    'spec.schedulerName': (o) => o.spec.schedulerName,
    'spec.serviceAccountName': (o) => o.spec.serviceAccountName ?? '',
    'spec.hostNetwork': (o) => String(o.spec.hostNetwork ?? false),
    'status.phase': (o) => o.status.phase ?? '',
    'status.podIP': (o) => o.status.podIPs?.[0]?.ip ?? o.status.podIP ?? '',
    'status.nominatedNodeName': (o) => o.status.nominatedNodeName ?? '',
  },
  normalize: normalizePod,
  prepareCreate: (o) => { o.status = { phase: 'Pending', ...(o.spec.schedulingGates?.length ? { conditions: [gated()] } : {}), qosClass: qosClass(o.spec) }; },
  validateCreate,
  validate: validatePod,
  validateUpdate: validatePodUpdate,
  // Pods are changed by programs, and often.
  warnings: ({ spec }, old) => (old ? [] : podWarnings(spec, 'spec')),
  gracePeriodSeconds,
  columns: podColumns,
});
