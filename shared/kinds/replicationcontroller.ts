import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { formatSelector, selectorOf } from '../selector.ts';
import { atomicMap, count32, dflt, int32, int64, listMap, obj, opt, str, time } from '../schema.ts';
import { fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { ageColumn, formatLabels, nameColumn } from './columns.ts';
import { containersCell, imagesCell } from './container-columns.ts';
import { normalizePodTemplate } from './pod-defaults.ts';
import { PodTemplateSpec } from './pod-spec.ts';
import { validatePodTemplate } from './pod-validation.ts';
import { podWarnings } from './pod-warnings.ts';

export const ReplicationControllerCondition = obj('core.v1.ReplicationControllerCondition', {
  type: dflt(str(), '', 'Type, such as ReplicaFailure.'),
  status: dflt(str(), '', 'True, False or Unknown.'),
  lastTransitionTime: opt(time(), 'When the status last changed.'),
  reason: opt(str(), 'Programmatic reason.'),
  message: opt(str(), 'Human-readable detail.'),
}, 'One aspect of the state.');

export const ReplicationControllerSpec = obj('core.v1.ReplicationControllerSpec', {
  replicas: dflt(count32(), 1, 'How many pods there should be.'),
  minReadySeconds: opt(count32(), 'Seconds that a pod must be ready before it counts as available.'),
  selector: opt(atomicMap(), 'Labels of its pods; those of the template by default.'),
  template: opt(PodTemplateSpec, 'What its pods look like.'),
}, 'What a replication controller should keep.');
export type ReplicationControllerSpec = InferOutput<typeof ReplicationControllerSpec>;

export const ReplicationControllerStatus = obj('core.v1.ReplicationControllerStatus', {
  replicas: dflt(int32(), 0, 'Pods that there are.'),
  fullyLabeledReplicas: opt(int32(), 'Pods that have all labels of the template.'),
  readyReplicas: opt(int32(), 'Pods that are ready.'),
  availableReplicas: opt(int32(), 'Pods that have been ready for long enough.'),
  observedGeneration: opt(int64(), 'Generation that the status is about.'),
  conditions: opt(listMap(ReplicationControllerCondition, 'type'), 'Aspects of the state.'),
}, 'What is known of a replication controller.');
export type ReplicationControllerStatus = InferOutput<typeof ReplicationControllerStatus>;

const ReplicationControllerSchema = topLevel('core.v1.ReplicationController', {
  spec: dflt(ReplicationControllerSpec, { replicas: 1 }, 'What it should keep.'),
  status: dflt(ReplicationControllerStatus, { replicas: 0 }, 'What is known of it.'),
}, 'Keeps a number of equal pods.');
export type ReplicationController = ObjectOf<typeof ReplicationControllerSchema>;

function normalizeReplicationController(rc: ReplicationController): void {
  const { template } = rc.spec;
  if (!template) return;
  normalizePodTemplate(template);
  const labels = template.metadata?.labels;
  if (!labels) return;
  if (Object.keys(rc.spec.selector ?? {}).length === 0) rc.spec.selector = { ...labels };
  if (Object.keys(rc.metadata.labels ?? {}).length === 0) rc.metadata.labels = { ...labels };
}

function validateReplicationController({ spec }: ReplicationController): FieldError[] {
  const errors: FieldError[] = [];
  const { selector = {}, template } = spec;
  if (Object.keys(selector).length === 0) errors.push(fieldRequired('spec.selector'));
  if (!template) return [...errors, fieldRequired('spec.template')];
  const labels = template.metadata?.labels ?? {};
  if (Object.keys(selector).length > 0 && !selectorOf(selector).matches(labels)) {
    errors.push(fieldInvalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'));
  }
  errors.push(...validatePodTemplate(template, 'spec.template'));
  if (template.spec.restartPolicy !== 'Always') errors.push(fieldNotSupported('spec.template.spec.restartPolicy', template.spec.restartPolicy, ['Always']));
  return errors;
}

export const replicationControllers = defineKind<ReplicationController>({
  group: '', version: 'v1', kind: 'ReplicationController', plural: 'replicationcontrollers', shortNames: ['rc'], categories: ['all'],
  namespaced: true, generation: true, schema: ReplicationControllerSchema,
  status: true,
  scale: {
    replicas: (o) => o.spec.replicas,
    setReplicas: (o, replicas) => { o.spec.replicas = replicas; },
    statusReplicas: (o) => o.status.replicas,
    selector: (o) => formatSelector(o.spec.selector ?? {}),
  },
  defaultPropagation: 'Orphan',
  selectableFields: { 'status.replicas': (o) => String(o.status.replicas) },
  warnings: ({ spec, metadata }, old) => (spec.template && metadata.generation !== old?.metadata.generation ? podWarnings(spec.template.spec, 'spec.template.spec') : []),
  normalize: normalizeReplicationController,
  prepareCreate: (o) => { o.status = { replicas: 0 }; },
  validate: validateReplicationController,
  columns: [
    nameColumn,
    { name: 'Desired', type: 'integer', description: 'Pods that there should be.', cell: (o) => o.spec.replicas },
    { name: 'Current', type: 'integer', description: 'Pods that there are.', cell: (o) => o.status.replicas },
    { name: 'Ready', type: 'integer', description: 'Pods that are ready.', cell: (o) => o.status.readyReplicas ?? 0 },
    ageColumn,
    { name: 'Containers', type: 'string', description: 'Names of the containers.', priority: 1, cell: (o) => containersCell(o.spec.template) },
    { name: 'Images', type: 'string', description: 'Images of the containers.', priority: 1, cell: (o) => imagesCell(o.spec.template) },
    { name: 'Selector', type: 'string', description: 'Labels of the pods.', priority: 1, cell: (o) => formatLabels(o.spec.selector) },
  ],
});
