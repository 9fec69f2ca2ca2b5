import { isDeepStrictEqual } from 'node:util';
import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dflt, list, listMap, map, obj, opt, req, str, time } from '../schema.ts';
import { compareQuantity } from '../quantity.ts';
import { fieldForbidden, type FieldError } from '../status.ts';
import { accessModesCell, claimSpecErrors, PersistentVolumeClaimSpec } from './claim-spec.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { ResourceList } from './resources.ts';

const PersistentVolumeClaimCondition = obj('core.v1.PersistentVolumeClaimCondition', {
  type: req(str(), 'Type, such as Resizing.'),
  status: req(str(), 'True, False or Unknown.'),
  lastProbeTime: opt(time(), 'When it was last looked at.'),
  lastTransitionTime: opt(time(), 'When the status last changed.'),
  reason: opt(str(), 'Programmatic reason.'),
  message: opt(str(), 'Human-readable detail.'),
}, 'One aspect of the state.');

const ModifyVolumeStatus = obj('core.v1.ModifyVolumeStatus', {
  status: req(str(), 'Pending, InProgress or Infeasible.'),
  targetVolumeAttributesClassName: opt(str(), 'The class that is being set.'),
}, 'A change of attributes that is under way.');

const PersistentVolumeClaimStatus = obj('core.v1.PersistentVolumeClaimStatus', {
  phase: opt(str(), 'Pending, Bound or Lost.'),
  accessModes: opt(list(str()), 'Access modes of the volume.'),
  capacity: opt(ResourceList, 'Size of the volume.'),
  conditions: opt(listMap(PersistentVolumeClaimCondition, 'type'), 'Aspects of the state.'),
  allocatedResources: opt(ResourceList, 'Sizes that are being set.'),
  allocatedResourceStatuses: opt(map(str()), 'State of a change of size.'),
  currentVolumeAttributesClassName: opt(str(), 'Class of attributes that is in force.'),
  modifyVolumeStatus: opt(ModifyVolumeStatus, 'A change of attributes that is under way.'),
}, 'What is known of a claim.');
export type PersistentVolumeClaimStatus = InferOutput<typeof PersistentVolumeClaimStatus>;

const PersistentVolumeClaimSchema = topLevel('core.v1.PersistentVolumeClaim', {
  spec: dflt(PersistentVolumeClaimSpec, { resources: {}, volumeMode: 'Filesystem' }, 'What is asked for.'),
  status: dflt(PersistentVolumeClaimStatus, { phase: 'Pending' }, 'What is known of it.'),
}, 'A request for storage, and its hold on a volume.');
export type PersistentVolumeClaim = ObjectOf<typeof PersistentVolumeClaimSchema>;

const immutable = 'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';

/** What may change: the volume and the class once, the request when bound, and then only to more than there is. */
function validateUpdate(claim: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const [next, before] = [structuredClone(claim.spec), structuredClone(old.spec)];
  if (!before.volumeName) { delete before.volumeName; delete next.volumeName; }
  if (before.storageClassName === undefined) delete next.storageClassName;
  const bound = old.status.phase === 'Bound';
  const [size, was] = [next.resources.requests?.['storage'], before.resources.requests?.['storage']];
  if (bound) {
    before.resources = next.resources;
    delete before.volumeAttributesClassName;
    delete next.volumeAttributesClassName;
  }
  if (!isDeepStrictEqual(next, before)) return [fieldForbidden('spec', immutable)];
  const capacity = old.status.capacity?.['storage'];
  return bound && size !== undefined && was !== undefined && compareQuantity(size, was) < 0 && compareQuantity(size, capacity ?? was) < 0
    ? [fieldForbidden('spec.resources.requests.storage', 'field can not be less than status.capacity')] : [];
}

const phaseCell = ({ metadata, status }: PersistentVolumeClaim): string => (metadata.deletionTimestamp ? 'Terminating' : status.phase ?? '');

export const persistentVolumeClaims = defineKind<PersistentVolumeClaim>({
  group: '', version: 'v1', kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims', shortNames: ['pvc'], namespaced: true,
  schema: PersistentVolumeClaimSchema, status: true,
  prepareCreate: (claim) => { claim.status = { phase: 'Pending' }; },
  validate: ({ spec }) => claimSpecErrors(spec, 'spec'),
  validateUpdate,
  columns: [
    nameColumn,
    { name: 'Status', type: 'string', description: 'Pending, Bound or Lost.', cell: phaseCell },
    { name: 'Volume', type: 'string', description: 'The volume that is bound.', cell: (o) => o.spec.volumeName ?? '' },
    { name: 'Capacity', type: 'string', description: 'Size of the volume.', cell: (o) => (o.spec.volumeName ? o.status.capacity?.['storage'] ?? '0' : '') },
    { name: 'Access Modes', type: 'string', description: 'How the volume may be used.', cell: (o) => (o.spec.volumeName ? accessModesCell(o.status.accessModes) : '') },
    { name: 'StorageClass', type: 'string', description: 'Class of the volume.', cell: (o) => o.spec.storageClassName ?? '' },
    { name: 'VolumeAttributesClass', type: 'string', description: 'Class of attributes.', cell: (o) => o.spec.volumeAttributesClassName ?? '<unset>' },
    ageColumn,
    { name: 'VolumeMode', type: 'string', description: 'Filesystem or Block.', priority: 1, cell: (o) => o.spec.volumeMode },
  ],
});
