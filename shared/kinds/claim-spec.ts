import type { InferOutput } from 'valibot';
import { validateLabelSelector } from './affinity-validation.ts';
import { LabelSelector, ObjectMeta } from '../meta.ts';
import { dnsSubdomainErrors } from '../names.ts';
import { parseQuantity } from '../quantity.ts';
import { atomicObj, dflt, list, obj, opt, req, str } from '../schema.ts';
import { fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { ResourceList } from './resources.ts';

/** How a volume may be used: by one node, by many that read, by many, by one pod. */
export const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'] as const;
export const volumeModes = ['Block', 'Filesystem'] as const;

const VolumeResourceRequirements = obj('core.v1.VolumeResourceRequirements', {
  limits: opt(ResourceList, 'The most storage that may be given.'),
  requests: opt(ResourceList, 'The least storage that is needed.'),
}, 'How much storage is needed.');

const TypedLocalObjectReference = atomicObj('core.v1.TypedLocalObjectReference', {
  apiGroup: opt(str(), 'API group; the core group if absent.'),
  kind: req(str(), 'Kind of the object.'),
  name: req(str(), 'Name of the object.'),
}, 'Names an object of any kind in the same namespace.');

const TypedObjectReference = obj('core.v1.TypedObjectReference', {
  apiGroup: opt(str(), 'API group; the core group if absent.'),
  kind: req(str(), 'Kind of the object.'),
  name: req(str(), 'Name of the object.'),
  namespace: opt(str(), 'Namespace of the object.'),
}, 'Names an object of any kind.');

export const PersistentVolumeClaimSpec = obj('core.v1.PersistentVolumeClaimSpec', {
  accessModes: opt(list(str()), 'How the volume will be used.'),
  selector: opt(LabelSelector, 'Volumes that may be bound.'),
  resources: dflt(VolumeResourceRequirements, {}, 'How much storage is needed.'),
  volumeName: opt(str(), 'The volume that is, or is to be, bound.'),
  storageClassName: opt(str(), 'Class of the volume; the default class if absent, none if empty.'),
  volumeMode: dflt(str(), 'Filesystem', 'Filesystem, or Block for a raw device.'),
  dataSource: opt(TypedLocalObjectReference, 'What the volume begins with.'),
  dataSourceRef: opt(TypedObjectReference, 'What the volume begins with.'),
  volumeAttributesClassName: opt(str(), 'Class of attributes that can be changed later.'),
}, 'What storage is asked for.');
export type PersistentVolumeClaimSpec = InferOutput<typeof PersistentVolumeClaimSpec>;

export const PersistentVolumeClaimTemplate = obj('core.v1.PersistentVolumeClaimTemplate', {
  metadata: opt(ObjectMeta, 'Labels and annotations of the claim.'),
  spec: req(PersistentVolumeClaimSpec, 'The claim.'),
}, 'A claim that is made for a pod.');

/** Rules for a list of access modes; `path` of the list. */
export function accessModeErrors(modes: readonly string[] | undefined, path: string): FieldError[] {
  if (!modes?.length) return [fieldRequired(path, 'at least 1 access mode is required')];
  const errors = modes.filter((mode) => !(accessModes as readonly string[]).includes(mode)).map((mode) => fieldNotSupported(path, mode, accessModes));
  if (modes.includes('ReadWriteOncePod') && modes.length > 1) errors.push(fieldForbidden(path, 'may not use ReadWriteOncePod with other access modes'));
  return errors;
}

/** Rules for a claim; `path` of its spec. */
export function claimSpecErrors(spec: PersistentVolumeClaimSpec, path: string): FieldError[] {
  const errors = [...accessModeErrors(spec.accessModes, `${path}.accessModes`), ...validateLabelSelector(spec.selector, `${path}.selector`)];
  const storage = spec.resources.requests?.['storage'];
  if (storage === undefined) errors.push(fieldRequired(`${path}.resources[storage]`));
  else if (parseQuantity(storage) <= 0) errors.push(fieldInvalid(`${path}.resources[storage]`, storage, 'must be greater than zero'));
  if (spec.storageClassName) errors.push(...dnsSubdomainErrors(spec.storageClassName).map((why) => fieldInvalid(`${path}.storageClassName`, spec.storageClassName, why)));
  if (!(volumeModes as readonly string[]).includes(spec.volumeMode)) errors.push(fieldNotSupported(`${path}.volumeMode`, spec.volumeMode, volumeModes));
  return errors;
}

const short: Readonly<Record<string, string>> = { ReadWriteOnce: 'RWO', ReadOnlyMany: 'ROX', ReadWriteMany: 'RWX', ReadWriteOncePod: 'RWOP' };

/** `RWO,ROX`, as tables show access modes: always in this order, each once. */
export const accessModesCell = (modes: readonly string[] | undefined): string =>
  Object.keys(short).filter((mode) => modes?.includes(mode)).map((mode) => short[mode]).join(',');
