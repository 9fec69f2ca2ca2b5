import type { InferOutput } from 'valibot';
import { anything, atomicObj, bool, dflt, int64, list, listMap, map, obj, oneOf, opt, req, set, str, time } from './schema.ts';

export const OwnerReference = atomicObj('meta.v1.OwnerReference', {
  apiVersion: req(str(), 'API version of the owner.'),
  kind: req(str(), 'Kind of the owner.'),
  name: req(str(), 'Name of the owner.'),
  uid: req(str(), 'UID of the owner.'),
  controller: opt(bool(), 'Whether the owner is the managing controller; at most one reference says so.'),
  blockOwnerDeletion: opt(bool(), 'Whether a foreground deletion of the owner waits for this object.'),
}, 'An object that this object depends on, in the same namespace or cluster-scoped.');
export type OwnerReference = InferOutput<typeof OwnerReference>;

export const ManagedFieldsEntry = obj('meta.v1.ManagedFieldsEntry', {
  manager: opt(str(), 'Name of the workflow that manages these fields.'),
  operation: opt(str(), 'Apply or Update.'),
  apiVersion: opt(str(), 'Version of the resource that the fields belong to.'),
  time: opt(time(), 'When fields were last added, changed or removed.'),
  fieldsType: opt(str(), 'Format of fieldsV1; only FieldsV1 exists.'),
  fieldsV1: opt(anything(), 'The set of fields, as a tree of f:, k:, v: and i: keys.'),
  subresource: opt(str(), 'Subresource through which the fields were written.'),
}, 'The fields that one manager owns.');
export type ManagedFieldsEntry = InferOutput<typeof ManagedFieldsEntry>;

export const ObjectMeta = obj('meta.v1.ObjectMeta', {
  name: opt(str(), 'Name, unique within the namespace and kind.'),
  generateName: opt(str(), 'Prefix of a name that the server completes with a random suffix.'),
  namespace: opt(str(), 'Namespace of a namespaced object.'),
  uid: opt(str(), 'Identity in time and space, set by the server.'),
  resourceVersion: opt(str(), 'Opaque version for optimistic locking and watches.'),
  generation: opt(int64(), 'Counts changes of the desired state.'),
  creationTimestamp: opt(time(), 'When the server created the object.'),
  deletionTimestamp: opt(time(), 'When the object will be gone at the earliest; set by a graceful deletion.'),
  deletionGracePeriodSeconds: opt(int64(), 'Seconds that the object is given to end.'),
  labels: opt(map(str()), 'Keys and values to select objects by.'),
  annotations: opt(map(str()), 'Arbitrary keys and values for tools.'),
  ownerReferences: opt(listMap(OwnerReference, 'uid'), 'Objects that this one depends on.'),
  finalizers: opt(set(str()), 'Must be empty before the object is removed.'),
  managedFields: opt(list(ManagedFieldsEntry), 'Which manager owns which fields.'),
  selfLink: opt(str(), 'Deprecated and never set.'),
}, 'What every stored object has.');
export type ObjectMeta = InferOutput<typeof ObjectMeta>;

/** Any object of the API; kinds refine it. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export const LabelSelectorRequirement = obj('meta.v1.LabelSelectorRequirement', {
  key: req(str(), 'Label key.'),
  operator: req(oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'), 'Relation of the key to the values.'),
  values: opt(list(str()), 'Values for In and NotIn.'),
}, 'One requirement of a label selector.');

export const LabelSelector = atomicObj('meta.v1.LabelSelector', {
  matchLabels: opt(map(str()), 'Labels that must all be present with these values.'),
  matchExpressions: opt(list(LabelSelectorRequirement), 'Requirements that must all hold.'),
}, 'Selects objects by label; empty selects all.');
export type LabelSelector = InferOutput<typeof LabelSelector>;

export const Condition = obj('meta.v1.Condition', {
  type: req(str(), 'Type of the condition.'),
  status: req(oneOf('True', 'False', 'Unknown'), 'Status of the condition.'),
  observedGeneration: opt(int64(), 'Generation that the condition was set for.'),
  lastTransitionTime: req(time(), 'When the status last changed.'),
  reason: req(str(), 'Programmatic reason.'),
  message: dflt(str(), '', 'Human-readable detail.'),
}, 'One aspect of the current state.');
export type Condition = InferOutput<typeof Condition>;

/** Name, or generateName while there is none: what error messages call an object. */
export const nameOf = (object: { metadata: ObjectMeta }): string => object.metadata.name || object.metadata.generateName || '';

/** `namespace/name`, or `name` for a cluster-scoped object: the key of work queues and logs. */
export const keyOf = (object: { metadata: ObjectMeta }): string =>
  object.metadata.namespace ? `${object.metadata.namespace}/${object.metadata.name}` : object.metadata.name ?? '';

/** Splits {@link keyOf}'s key; the namespace of a cluster-scoped one is `''`. */
export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { namespace: '', name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The managing controller's reference, if there is one. */
export const controllerOf = (object: { metadata: ObjectMeta }): OwnerReference | undefined =>
  object.metadata.ownerReferences?.find((owner) => owner.controller);

/** A reference that makes `owner` the managing controller of a dependent. */
export const controllerRef = (owner: KubeObject): OwnerReference => ({
  apiVersion: owner.apiVersion, kind: owner.kind, name: owner.metadata.name ?? '', uid: owner.metadata.uid ?? '',
  controller: true, blockOwnerDeletion: true,
});
