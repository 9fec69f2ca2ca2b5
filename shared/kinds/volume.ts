import type { InferOutput } from 'valibot';
import { anything, bool, dflt, int64, list, map, obj, oneOf, opt, quantity, req, str } from '../schema.ts';
import { PersistentVolumeClaimTemplate } from './claim-spec.ts';
import { fileMode, KeyToPath, LocalObjectReference, ObjectFieldSelector, ResourceFieldSelector } from './references.ts';

const defaultMode = dflt(fileMode(), 0o644, 'Mode bits of files that name none, 0 to 0777.');

export const EmptyDirVolumeSource = obj('core.v1.EmptyDirVolumeSource', {
  medium: opt(str(), 'Memory for a tmpfs; empty for disk.'),
  sizeLimit: opt(quantity(), 'The most that may be stored.'),
}, 'An empty directory that lives as long as the pod on its node.');
export type EmptyDirVolumeSource = InferOutput<typeof EmptyDirVolumeSource>;

export const HostPathVolumeSource = obj('core.v1.HostPathVolumeSource', {
  path: req(str(), 'Absolute path on the host.'),
  type: dflt(str(), '', 'What must be there or is made: DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice, BlockDevice; empty for no check.'),
}, 'A file or directory of the host.');
export type HostPathVolumeSource = InferOutput<typeof HostPathVolumeSource>;

export const NFSVolumeSource = obj('core.v1.NFSVolumeSource', {
  server: req(str(), 'Host name or address of the server.'),
  path: req(str(), 'Exported path.'),
  readOnly: opt(bool(), 'Mount without write access.'),
}, 'An NFS export.');
export type NFSVolumeSource = InferOutput<typeof NFSVolumeSource>;

export const ConfigMapVolumeSource = obj('core.v1.ConfigMapVolumeSource', {
  name: dflt(str(), '', 'Name of the config map.'),
  items: opt(list(KeyToPath), 'Keys to project; all if absent.'),
  defaultMode,
  optional: opt(bool(), 'Whether the config map or its keys may be missing.'),
}, 'The keys of a config map as files.');
export type ConfigMapVolumeSource = InferOutput<typeof ConfigMapVolumeSource>;

export const SecretVolumeSource = obj('core.v1.SecretVolumeSource', {
  secretName: opt(str(), 'Name of the secret.'),
  items: opt(list(KeyToPath), 'Keys to project; all if absent.'),
  defaultMode,
  optional: opt(bool(), 'Whether the secret or its keys may be missing.'),
}, 'The keys of a secret as files.');
export type SecretVolumeSource = InferOutput<typeof SecretVolumeSource>;

export const DownwardAPIVolumeFile = obj('core.v1.DownwardAPIVolumeFile', {
  path: req(str(), 'Relative path of the file.'),
  fieldRef: opt(ObjectFieldSelector, 'Field of the pod to write.'),
  resourceFieldRef: opt(ResourceFieldSelector, 'Resource of a container to write.'),
  mode: opt(fileMode(), 'File mode bits, 0 to 0777.'),
}, 'A file with a fact about the pod.');
export type DownwardAPIVolumeFile = InferOutput<typeof DownwardAPIVolumeFile>;

export const DownwardAPIVolumeSource = obj('core.v1.DownwardAPIVolumeSource', {
  items: opt(list(DownwardAPIVolumeFile), 'The files.'),
  defaultMode,
}, 'Facts about the pod as files.');
export type DownwardAPIVolumeSource = InferOutput<typeof DownwardAPIVolumeSource>;

const ConfigMapProjection = obj('core.v1.ConfigMapProjection', {
  name: dflt(str(), '', 'Name of the config map.'),
  items: opt(list(KeyToPath), 'Keys to project; all if absent.'),
  optional: opt(bool(), 'Whether the config map or its keys may be missing.'),
}, 'A config map within a projected volume.');

const SecretProjection = obj('core.v1.SecretProjection', {
  name: dflt(str(), '', 'Name of the secret.'),
  items: opt(list(KeyToPath), 'Keys to project; all if absent.'),
  optional: opt(bool(), 'Whether the secret or its keys may be missing.'),
}, 'A secret within a projected volume.');

const DownwardAPIProjection = obj('core.v1.DownwardAPIProjection', {
  items: opt(list(DownwardAPIVolumeFile), 'The files.'),
}, 'Facts about the pod within a projected volume.');

const ServiceAccountTokenProjection = obj('core.v1.ServiceAccountTokenProjection', {
  audience: opt(str(), 'Intended audience of the token; the API server by default.'),
  expirationSeconds: dflt(int64(), 3600, 'Requested lifetime; at least 600.'),
  path: req(str(), 'Relative path of the token file.'),
}, 'A token of the pod\'s service account.');

export const VolumeProjection = obj('core.v1.VolumeProjection', {
  secret: opt(SecretProjection, 'Keys of a secret.'),
  downwardAPI: opt(DownwardAPIProjection, 'Facts about the pod.'),
  configMap: opt(ConfigMapProjection, 'Keys of a config map.'),
  serviceAccountToken: opt(ServiceAccountTokenProjection, 'A service account token.'),
  clusterTrustBundle: opt(anything(), 'Trust anchors; kept but not served.'),
}, 'One source of a projected volume; exactly one field is set.');
export type VolumeProjection = InferOutput<typeof VolumeProjection>;

export const ProjectedVolumeSource = obj('core.v1.ProjectedVolumeSource', {
  sources: opt(list(VolumeProjection), 'What is projected; later sources win.'),
  defaultMode,
}, 'Several sources in one directory.');
export type ProjectedVolumeSource = InferOutput<typeof ProjectedVolumeSource>;

export const PersistentVolumeClaimVolumeSource = obj('core.v1.PersistentVolumeClaimVolumeSource', {
  claimName: req(str(), 'Name of the claim, in the pod\'s namespace.'),
  readOnly: opt(bool(), 'Mount without write access.'),
}, 'A persistent volume by its claim.');

export const CSIVolumeSource = obj('core.v1.CSIVolumeSource', {
  driver: req(str(), 'Name of the CSI driver.'),
  readOnly: opt(bool(), 'Mount without write access.'),
  fsType: opt(str(), 'File system to mount.'),
  volumeAttributes: opt(map(str()), 'Properties for the driver.'),
  nodePublishSecretRef: opt(LocalObjectReference, 'Secret for the driver.'),
}, 'Ephemeral storage of a CSI driver.');

const EphemeralVolumeSource = obj('core.v1.EphemeralVolumeSource', {
  volumeClaimTemplate: opt(PersistentVolumeClaimTemplate, 'The claim.'),
}, 'A volume that lives as long as the pod, by a claim made for it.');

const ImageVolumeSource = obj('core.v1.ImageVolumeSource', {
  reference: opt(str(), 'Image to mount.'),
  pullPolicy: opt(oneOf('Always', 'IfNotPresent', 'Never'), 'When to pull the image.'),
}, 'The file system of an image.');

const elsewhere = (what: string) => opt(anything(), `${what}; kept as given.`);

/** Names of the volume sources, in the order in which validation looks at them. */
export const volumeSources = [
  'emptyDir', 'hostPath', 'nfs', 'configMap', 'secret', 'projected', 'downwardAPI', 'persistentVolumeClaim', 'csi', 'ephemeral', 'image',
  'gcePersistentDisk', 'awsElasticBlockStore', 'gitRepo', 'iscsi', 'glusterfs', 'rbd', 'flexVolume', 'cinder', 'cephfs', 'flocker', 'fc',
  'azureFile', 'azureDisk', 'vsphereVolume', 'quobyte', 'photonPersistentDisk', 'portworxVolume', 'scaleIO', 'storageos',
] as const;

export const Volume = obj('core.v1.Volume', {
  name: req(str(), 'Name, unique within the pod.'),
  emptyDir: opt(EmptyDirVolumeSource, 'An empty directory.'),
  hostPath: opt(HostPathVolumeSource, 'A path of the host.'),
  nfs: opt(NFSVolumeSource, 'An NFS export.'),
  configMap: opt(ConfigMapVolumeSource, 'A config map.'),
  secret: opt(SecretVolumeSource, 'A secret.'),
  projected: opt(ProjectedVolumeSource, 'Several sources in one directory.'),
  downwardAPI: opt(DownwardAPIVolumeSource, 'Facts about the pod.'),
  persistentVolumeClaim: opt(PersistentVolumeClaimVolumeSource, 'A claim.'),
  csi: opt(CSIVolumeSource, 'Ephemeral storage of a CSI driver.'),
  ephemeral: opt(EphemeralVolumeSource, 'A claim made for this pod alone.'),
  image: opt(ImageVolumeSource, 'The file system of an image.'),
  gcePersistentDisk: elsewhere('GCE disk'),
  awsElasticBlockStore: elsewhere('AWS disk'),
  gitRepo: elsewhere('Git repository'),
  iscsi: elsewhere('iSCSI disk'),
  glusterfs: elsewhere('Gluster volume'),
  rbd: elsewhere('RADOS block device'),
  flexVolume: elsewhere('FlexVolume'),
  cinder: elsewhere('Cinder disk'),
  cephfs: elsewhere('CephFS volume'),
  flocker: elsewhere('Flocker volume'),
  fc: elsewhere('Fibre Channel disk'),
  azureFile: elsewhere('Azure file share'),
  azureDisk: elsewhere('Azure disk'),
  vsphereVolume: elsewhere('vSphere disk'),
  quobyte: elsewhere('Quobyte volume'),
  photonPersistentDisk: elsewhere('Photon disk'),
  portworxVolume: elsewhere('Portworx volume'),
  scaleIO: elsewhere('ScaleIO volume'),
  storageos: elsewhere('StorageOS volume'),
}, 'A directory or device that containers of the pod can mount; exactly one source is set.');
export type Volume = InferOutput<typeof Volume>;
