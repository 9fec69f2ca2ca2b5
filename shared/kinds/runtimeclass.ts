import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dnsLabelErrors, validateLabels } from '../names.ts';
import { dflt, list, map, obj, opt, str } from '../schema.ts';
import { fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import { Toleration } from './affinity.ts';
import { ageColumn } from './columns.ts';
import { validateTolerations } from './affinity-validation.ts';
import { ResourceList } from './resources.ts';

const Overhead = obj('node.v1.Overhead', {
  podFixed: opt(ResourceList, 'Resources of each pod beside its containers.'),
}, 'What running a pod costs by itself.');

const Scheduling = obj('node.v1.Scheduling', {
  nodeSelector: opt(map(str()), 'Labels of nodes that have the runtime; added to the pod\'s.'),
  tolerations: opt(list(Toleration), 'Added to the pod\'s.'),
}, 'Where pods of the class may run.');

const RuntimeClassSchema = topLevel('node.v1.RuntimeClass', {
  handler: dflt(str(), '', 'Name of the runtime, as the engine of a node knows it.'),
  overhead: opt(Overhead, 'What running a pod costs by itself.'),
  scheduling: opt(Scheduling, 'Where pods of the class may run.'),
}, 'A way of running containers that pods may ask for.');
export type RuntimeClass = ObjectOf<typeof RuntimeClassSchema>;

function validate({ handler, scheduling }: RuntimeClass): FieldError[] {
  return [
    ...(handler ? dnsLabelErrors(handler).map((why) => fieldInvalid('handler', handler, why)) : [fieldRequired('handler', handler)]),
    ...validateLabels(scheduling?.nodeSelector, 'scheduling.nodeSelector'),
    ...validateTolerations(scheduling?.tolerations ?? [], 'scheduling.tolerations'),
  ];
}

export const runtimeClasses = defineKind<RuntimeClass>({
  group: 'node.k8s.io', version: 'v1', kind: 'RuntimeClass', plural: 'runtimeclasses', namespaced: false,
  schema: RuntimeClassSchema, validate,
  validateUpdate: (next, old) => (next.handler === old.handler ? [] : [fieldInvalid('handler', next.handler, 'field is immutable')]),
  columns: [
    { name: 'Name', type: 'string', description: 'Name of the object.', cell: (o) => o.metadata.name ?? '' },
    { name: 'Handler', type: 'string', description: 'Name of the runtime, as the engine of a node knows it.', cell: (o) => o.handler },
    ageColumn,
  ],
});
