import { isDeepStrictEqual } from 'node:util';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { qualifiedNameErrors } from '../names.ts';
import { atomicObj, bool, dflt, list, map, opt, req, str } from '../schema.ts';
import { fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { ageColumn } from './columns.ts';

const TopologySelectorLabelRequirement = atomicObj('core.v1.TopologySelectorLabelRequirement', {
  key: req(str(), 'Label of nodes.'),
  values: req(list(str()), 'Values that it may have.'),
}, 'A requirement on a node label.');

const TopologySelectorTerm = atomicObj('core.v1.TopologySelectorTerm', {
  matchLabelExpressions: opt(list(TopologySelectorLabelRequirement), 'Requirements that must all hold.'),
}, 'Nodes for which volumes may be made.');

const StorageClassSchema = topLevel('storage.v1.StorageClass', {
  provisioner: req(str(), 'Who makes volumes of this class.'),
  parameters: opt(map(str()), 'What the provisioner is told.'),
  reclaimPolicy: dflt(str(), 'Delete', 'Reclaim policy of volumes that are made.'),
  mountOptions: opt(list(str()), 'Mount options of volumes that are made.'),
  allowVolumeExpansion: opt(bool(), 'Whether claims may ask for more later.'),
  volumeBindingMode: dflt(str(), 'Immediate', 'Immediate, or WaitForFirstConsumer: when a pod that uses the claim is placed.'),
  allowedTopologies: opt(list(TopologySelectorTerm), 'Nodes for which volumes may be made.'),
}, 'A kind of storage that is offered.');
export type StorageClass = ObjectOf<typeof StorageClassSchema>;

/** `'true'` on the class that claims without one get. */
export const defaultClassAnnotation = 'storageclass.kubernetes.io/is-default-class';

/** Whether claims without a class get this one. */
export const isDefaultClass = ({ metadata }: StorageClass): boolean => metadata.annotations?.[defaultClassAnnotation] === 'true';

/** The provisioner of classes whose volumes are made by hand. */
export const noProvisioner = 'kubernetes.io/no-provisioner';

function validate({ provisioner, reclaimPolicy, volumeBindingMode }: StorageClass): FieldError[] {
  const errors: FieldError[] = [];
  if (!provisioner) errors.push(fieldRequired('provisioner', provisioner));
  else errors.push(...qualifiedNameErrors(provisioner.toLowerCase()).map((why) => fieldInvalid('provisioner', provisioner, why)));
  if (!['Delete', 'Retain'].includes(reclaimPolicy)) errors.push(fieldNotSupported('reclaimPolicy', reclaimPolicy, ['Delete', 'Retain']));
  if (!['Immediate', 'WaitForFirstConsumer'].includes(volumeBindingMode)) errors.push(fieldNotSupported('volumeBindingMode', volumeBindingMode, ['Immediate', 'WaitForFirstConsumer']));
  return errors;
}

function validateUpdate(next: StorageClass, old: StorageClass): FieldError[] {
  const errors: FieldError[] = [];
  if (!isDeepStrictEqual(next.parameters ?? {}, old.parameters ?? {})) errors.push(fieldForbidden('parameters', 'updates to parameters are forbidden.'));
  if (next.provisioner !== old.provisioner) errors.push(fieldForbidden('provisioner', 'updates to provisioner are forbidden.'));
  if (next.reclaimPolicy !== old.reclaimPolicy) errors.push(fieldForbidden('reclaimPolicy', 'updates to reclaimPolicy are forbidden.'));
  if (next.volumeBindingMode !== old.volumeBindingMode) errors.push(fieldInvalid('volumeBindingMode', next.volumeBindingMode, 'field is immutable'));
  return errors;
}

export const storageClasses = defineKind<StorageClass>({
  group: 'storage.k8s.io', version: 'v1', kind: 'StorageClass', plural: 'storageclasses', shortNames: ['sc'], namespaced: false,
  schema: StorageClassSchema, validate, validateUpdate,
  columns: [
    { name: 'Name', type: 'string', description: 'Name of the object.', cell: (o) => `${o.metadata.name ?? ''}${isDefaultClass(o) ? ' (default)' : ''}` },
    { name: 'Provisioner', type: 'string', description: 'Who makes its volumes.', cell: (o) => o.provisioner },
    { name: 'ReclaimPolicy', type: 'string', description: 'What becomes of volumes when their claim goes.', cell: (o) => o.reclaimPolicy },
    { name: 'VolumeBindingMode', type: 'string', description: 'When volumes are bound.', cell: (o) => o.volumeBindingMode },
    { name: 'AllowVolumeExpansion', type: 'boolean', description: 'Whether claims may ask for more later.', cell: (o) => o.allowVolumeExpansion ?? false },
    ageColumn,
  ],
});
