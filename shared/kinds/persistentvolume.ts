import { isDeepStrictEqual } from 'node:util';
import { posix } from 'node:path';
import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dnsSubdomainErrors } from '../names.ts';
import { parseQuantity } from '../quantity.ts';
import { anything, dflt, list, obj, opt, req, str, time } from '../schema.ts';
import { fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { NodeSelector } from './affinity.ts';
import { validateNodeSelector } from './affinity-validation.ts';
import { accessModeErrors, accessModesCell, volumeModes } from './claim-spec.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { ObjectReference } from './references.ts';
import { ResourceList } from './resources.ts';
import { HostPathVolumeSource, NFSVolumeSource } from './volume.ts';

const LocalVolumeSource = obj('core.v1.LocalVolumeSource', {
  path: req(str(), 'Path of the directory, or block device, on its node.'),
  fsType: opt(str(), 'File system of a block device.'),
}, 'A directory of one node.');

const VolumeNodeAffinity = obj('core.v1.VolumeNodeAffinity', {
  required: opt(NodeSelector, 'Nodes from which the volume can be reached.'),
}, 'Where a volume can be used.');

const elsewhere = (what: string) => opt(anything(), `${what}; kept as given, not mounted here.`);

/** Names of the sources that a volume can have, in the order in which validation looks at them. */
export const persistentVolumeSources = [
  'hostPath', 'local', 'nfs', 'csi', 'gcePersistentDisk', 'awsElasticBlockStore', 'glusterfs', 'rbd', 'iscsi', 'cinder', 'cephfs', 'fc', 'flocker',
  'flexVolume', 'azureFile', 'vsphereVolume', 'quobyte', 'azureDisk', 'photonPersistentDisk', 'portworxVolume', 'scaleIO', 'storageos',
] as const;

const PersistentVolumeSpec = obj('core.v1.PersistentVolumeSpec', {
  capacity: opt(ResourceList, 'Size of the volume.'),
  hostPath: opt(HostPathVolumeSource, 'A path of the host.'),
  local: opt(LocalVolumeSource, 'A directory of one node.'),
  nfs: opt(NFSVolumeSource, 'An NFS export.'),
  csi: elsewhere('Volume of a CSI driver'),
  gcePersistentDisk: elsewhere('GCE disk'),
  awsElasticBlockStore: elsewhere('AWS disk'),
  glusterfs: elsewhere('Gluster volume'),
  rbd: elsewhere('RADOS block device'),
  iscsi: elsewhere('iSCSI disk'),
  cinder: elsewhere('Cinder disk'),
  cephfs: elsewhere('CephFS volume'),
  fc: elsewhere('Fibre Channel disk'),
  flocker: elsewhere('Flocker volume'),
  flexVolume: elsewhere('FlexVolume'),
  azureFile: elsewhere('Azure file share'),
  vsphereVolume: elsewhere('vSphere disk'),
  quobyte: elsewhere('Quobyte volume'),
  azureDisk: elsewhere('Azure disk'),
  photonPersistentDisk: elsewhere('Photon disk'),
  portworxVolume: elsewhere('Portworx volume'),
  scaleIO: elsewhere('ScaleIO volume'),
  storageos: elsewhere('StorageOS volume'),
  accessModes: opt(list(str()), 'All ways in which the volume can be used.'),
  claimRef: opt(ObjectReference, 'The claim that the volume is bound to, or kept for.'),
  persistentVolumeReclaimPolicy: dflt(str(), 'Retain', 'What becomes of it when its claim goes: Retain, Delete or Recycle.'),
  storageClassName: opt(str(), 'Class that it belongs to; none if empty.'),
  mountOptions: opt(list(str()), 'Options of the mount.'),
  volumeMode: dflt(str(), 'Filesystem', 'Filesystem, or Block for a raw device.'),
  nodeAffinity: opt(VolumeNodeAffinity, 'Where it can be used.'),
  volumeAttributesClassName: opt(str(), 'Class of attributes.'),
}, 'A piece of storage.');
export type PersistentVolumeSpec = InferOutput<typeof PersistentVolumeSpec>;

const PersistentVolumeStatus = obj('core.v1.PersistentVolumeStatus', {
  phase: opt(str(), 'Pending, Available, Bound, Released or Failed.'),
  message: opt(str(), 'Why it is in that phase.'),
  reason: opt(str(), 'The same in one word.'),
  lastPhaseTransitionTime: opt(time(), 'When the phase last changed.'),
}, 'What is known of a volume.');

const PersistentVolumeSchema = topLevel('core.v1.PersistentVolume', {
  spec: dflt(PersistentVolumeSpec, { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem' }, 'What it is.'),
  status: dflt(PersistentVolumeStatus, { phase: 'Pending' }, 'What is known of it.'),
}, 'A piece of storage of the cluster.');
export type PersistentVolume = ObjectOf<typeof PersistentVolumeSchema>;

const policies = ['Delete', 'Recycle', 'Retain'];

function sourceErrors(spec: PersistentVolumeSpec): FieldError[] {
  const errors: FieldError[] = [];
  const given = persistentVolumeSources.filter((source) => spec[source] !== undefined);
  if (given.length === 0) errors.push(fieldRequired('spec', 'must specify a volume type'));
  for (const extra of given.slice(1)) errors.push(fieldForbidden(`spec.${extra}`, 'may not specify more than 1 volume type'));
  const paths = [['spec.hostPath.path', spec.hostPath?.path], ['spec.local.path', spec.local?.path]] as const;
  for (const [field, path] of paths) {
    if (path === '') errors.push(fieldRequired(field));
    else if (path?.split('/').includes('..')) errors.push(fieldInvalid(field, path, "must not contain '..'"));
  }
  if (spec.nfs && !posix.isAbsolute(spec.nfs.path)) errors.push(fieldInvalid('spec.nfs.path', spec.nfs.path, 'must be an absolute path'));
  if (spec.local && !spec.nodeAffinity?.required) errors.push(fieldRequired('spec.nodeAffinity', 'Local volume requires node affinity'));
  if (spec.hostPath && posix.normalize(spec.hostPath.path) === '/' && spec.persistentVolumeReclaimPolicy === 'Recycle') {
    errors.push(fieldForbidden('spec.persistentVolumeReclaimPolicy', "may not be 'recycle' for a hostPath mount of '/'"));
  }
  return errors;
}

function validate({ spec }: PersistentVolume): FieldError[] {
  const errors = accessModeErrors(spec.accessModes, 'spec.accessModes');
  const capacity = spec.capacity ?? {};
  const storage = capacity['storage'];
  if (Object.keys(capacity).length === 0) errors.push(fieldRequired('spec.capacity'));
  else if (storage === undefined || Object.keys(capacity).length > 1) errors.push(fieldNotSupported('spec.capacity', capacity, ['storage']));
  if (storage !== undefined && parseQuantity(storage) <= 0) errors.push(fieldInvalid('spec.capacity[storage]', storage, 'must be greater than zero'));
  if (!policies.includes(spec.persistentVolumeReclaimPolicy)) errors.push(fieldNotSupported('spec.persistentVolumeReclaimPolicy', spec.persistentVolumeReclaimPolicy, policies));
  if (spec.nodeAffinity) {
    if (spec.nodeAffinity.required) errors.push(...validateNodeSelector(spec.nodeAffinity.required, 'spec.nodeAffinity.required'));
    else errors.push(fieldRequired('spec.nodeAffinity.required', 'must specify required node constraints'));
  }
  errors.push(...sourceErrors(spec));
  if (spec.storageClassName) errors.push(...dnsSubdomainErrors(spec.storageClassName).map((why) => fieldInvalid('spec.storageClassName', spec.storageClassName, why)));
  if (!(volumeModes as readonly string[]).includes(spec.volumeMode)) errors.push(fieldNotSupported('spec.volumeMode', spec.volumeMode, volumeModes));
  return errors;
}

function validateUpdate({ spec }: PersistentVolume, { spec: old }: PersistentVolume): FieldError[] {
  const errors: FieldError[] = [];
  if (persistentVolumeSources.some((source) => !isDeepStrictEqual(spec[source], old[source]))) {
    errors.push(fieldForbidden('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'));
  }
  if (spec.volumeMode !== old.volumeMode) errors.push(fieldInvalid('spec.volumeMode', spec.volumeMode, 'field is immutable'));
  if (old.nodeAffinity && !isDeepStrictEqual(spec.nodeAffinity, old.nodeAffinity)) errors.push(fieldInvalid('spec.nodeAffinity', spec.nodeAffinity, 'field is immutable'));
  return errors;
}

const claimCell = ({ spec: { claimRef } }: PersistentVolume): string => (claimRef ? `${claimRef.namespace ?? ''}/${claimRef.name ?? ''}` : '');

export const persistentVolumes = defineKind<PersistentVolume>({
  group: '', version: 'v1', kind: 'PersistentVolume', plural: 'persistentvolumes', shortNames: ['pv'], namespaced: false,
  schema: PersistentVolumeSchema, status: true,
  prepareCreate: (volume) => { volume.status = { phase: 'Pending' }; },
  validate, validateUpdate,
  columns: [
    nameColumn,
    { name: 'Capacity', type: 'string', description: 'Size of the volume.', cell: (o) => o.spec.capacity?.['storage'] ?? '0' },
    { name: 'Access Modes', type: 'string', description: 'How it may be used.', cell: (o) => accessModesCell(o.spec.accessModes) },
    { name: 'Reclaim Policy', type: 'string', description: 'What becomes of it when its claim goes.', cell: (o) => o.spec.persistentVolumeReclaimPolicy },
    { name: 'Status', type: 'string', description: 'Pending, Available, Bound, Released or Failed.', cell: (o) => (o.metadata.deletionTimestamp ? 'Terminating' : o.status.phase ?? '') },
    { name: 'Claim', type: 'string', description: 'The claim that it is bound to.', cell: claimCell },
    { name: 'StorageClass', type: 'string', description: 'Class that it belongs to.', cell: (o) => o.spec.storageClassName ?? '' },
    { name: 'VolumeAttributesClass', type: 'string', description: 'Class of attributes.', cell: (o) => o.spec.volumeAttributesClassName ?? '<unset>' },
    { name: 'Reason', type: 'string', description: 'Why it is in its phase.', cell: (o) => o.status.reason ?? '' },
    ageColumn,
    { name: 'VolumeMode', type: 'string', description: 'Filesystem or Block.', priority: 1, cell: (o) => o.spec.volumeMode },
  ],
});
