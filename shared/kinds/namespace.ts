import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dnsLabelErrors } from '../names.ts';
import { dflt, list, listMap, obj, oneOf, opt, str, time } from '../schema.ts';
import { ageColumn, nameColumn } from './columns.ts';

export const NamespaceCondition = obj('core.v1.NamespaceCondition', {
  type: dflt(str(), '', 'Type of the condition.'),
  status: dflt(str(), '', 'True, False or Unknown.'),
  lastTransitionTime: opt(time(), 'When the status last changed.'),
  reason: opt(str(), 'Programmatic reason.'),
  message: opt(str(), 'Human-readable detail.'),
}, 'One aspect of the end of a namespace.');
export type NamespaceCondition = InferOutput<typeof NamespaceCondition>;

const NamespaceSpec = obj('core.v1.NamespaceSpec', {
  finalizers: opt(list(str()), 'Must be empty before the namespace is removed.'),
}, 'What keeps a namespace.');

const NamespaceStatus = obj('core.v1.NamespaceStatus', {
  phase: opt(oneOf('Active', 'Terminating'), 'Where the namespace is in its life.'),
  conditions: opt(listMap(NamespaceCondition, 'type'), 'What still keeps it from ending.'),
}, 'What is known of a namespace.');

const NamespaceSchema = topLevel('core.v1.Namespace', {
  spec: dflt(NamespaceSpec, {}, 'What keeps the namespace.'),
  status: dflt(NamespaceStatus, {}, 'What is known of it.'),
}, 'A scope for names.');
export type Namespace = ObjectOf<typeof NamespaceSchema>;

export const namespaces = defineKind<Namespace>({
  group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', shortNames: ['ns'], namespaced: false, schema: NamespaceSchema,
  verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
  status: true,
  subresources: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
  selectableFields: { 'status.phase': (o) => o.status.phase ?? '' },
  validateName: dnsLabelErrors,
  normalize: (o) => {
    // As the API server sets it on every namespace, for selectors.
    if (o.metadata.name) (o.metadata.labels ??= {})['kubernetes.io/metadata.name'] = o.metadata.name;
    o.status.phase ??= 'Active';
  },
  prepareCreate: (o) => {
    o.status = { phase: 'Active' };
    if (o.metadata.name) (o.metadata.labels ??= {})['kubernetes.io/metadata.name'] = o.metadata.name;
    const finalizers = (o.spec.finalizers ??= []);
    if (!finalizers.includes('kubernetes')) finalizers.push('kubernetes');
  },
  prepareUpdate: (o, old) => { o.spec = old.spec; },
  columns: [
    nameColumn,
    { name: 'Status', type: 'string', description: 'Where the namespace is in its life.', cell: (o) => o.status.phase ?? '' },
    ageColumn,
  ],
});
