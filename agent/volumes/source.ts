import type { PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeSources } from '../../shared/kinds/persistentvolume.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { EmptyDirVolumeSource, HostPathVolumeSource, NFSVolumeSource, Volume } from '../../shared/kinds/volume.ts';
import type { ItemOf } from '../../shared/protocol.ts';
import { localPathProvisioner, provisionedBy } from '../../shared/volumes.ts';
import { isFileVolume } from './files.ts';
import { VolumeError } from './volume-error.ts';

/** What is behind a volume of a pod, also where a claim stands in between. */
export type Source =
  | { readonly type: 'files' }
  | { readonly type: 'emptyDir'; readonly emptyDir: EmptyDirVolumeSource }
  | { readonly type: 'hostPath'; readonly hostPath: HostPathVolumeSource }
  /** `make`: a directory of Wherry's own provisioner, made when it is first needed. */
  | { readonly type: 'local'; readonly path: string; readonly make: boolean }
  | { readonly type: 'nfs'; readonly nfs: NFSVolumeSource; readonly options: readonly string[] };

/** `name` is what messages call it: of a claim, the persistent volume's name. */
export interface Resolved { readonly name: string; readonly source: Source; readonly readOnly: boolean }

/** A claim of a pod and the volume that it is bound to. */
export type Claim = Pick<ItemOf<'claim'>, 'object' | 'volume'>;

/** Name of the claim behind a volume of a pod. */
export function claimNameOf(pod: Pod, volume: Volume): string | undefined {
  return volume.persistentVolumeClaim?.claimName ?? (volume.ephemeral ? `${pod.metadata.name ?? ''}-${volume.name}` : undefined);
}

/** What a volume is. @throws VolumeError for a claim that cannot be mounted (yet) */
export function resolve(pod: Pod, volume: Volume, find: (namespace: string, name: string) => Claim | undefined): Resolved {
  const claimName = claimNameOf(pod, volume);
  const name = volume.name;
  if (claimName !== undefined) return resolveClaim(pod, volume, claimName, find(pod.metadata.namespace ?? '', claimName));
  const readOnly = volume.nfs?.readOnly ?? false;
  if (isFileVolume(volume)) return { name, readOnly: true, source: { type: 'files' } };
  if (volume.emptyDir) return { name, readOnly, source: { type: 'emptyDir', emptyDir: volume.emptyDir } };
  if (volume.hostPath) return { name, readOnly, source: { type: 'hostPath', hostPath: volume.hostPath } };
  if (volume.nfs) return { name, readOnly, source: { type: 'nfs', nfs: volume.nfs, options: [] } };
  throw new Error(unservedVolume(volume) ?? 'it has no source');
}

function resolveClaim(pod: Pod, volume: Volume, claimName: string, claim: Claim | undefined): Resolved {
  const at = `${pod.metadata.namespace ?? ''}/${claimName}`;
  const refuse = (why: string): VolumeError => new VolumeError(`Unable to attach or mount volumes: unmounted volumes=[${volume.name}], unattached volumes=[], failed to process volumes=[${volume.name}]: ${why}`);
  if (!claim) throw refuse(`error processing PVC ${at}: failed to fetch PVC from API server: persistentvolumeclaims "${claimName}" not found`);
  if (claim.object.metadata.deletionTimestamp) throw refuse(`error processing PVC ${at}: PVC is being deleted`);
  if (!claim.volume) throw refuse(`error processing PVC ${at}: PVC is not bound`);
  const { spec } = claim.volume;
  const name = claim.volume.metadata.name ?? '';
  if (spec.volumeMode === 'Block') throw refuse(`volume ${volume.name} has volumeMode Block, but is specified in volumeMounts`);
  return { name, source: sourceOf(claim.volume), readOnly: volume.persistentVolumeClaim?.readOnly ?? false };
}

function sourceOf({ metadata, spec }: PersistentVolume): Source {
  if (spec.hostPath) return { type: 'hostPath', hostPath: spec.hostPath };
  if (spec.local) return { type: 'local', path: spec.local.path, make: metadata.annotations?.[provisionedBy] === localPathProvisioner };
  if (spec.nfs) return { type: 'nfs', nfs: spec.nfs, options: spec.mountOptions ?? [] };
  const type = persistentVolumeSources.find((source) => spec[source] !== undefined) ?? 'unknown';
  throw new VolumeError(`MountVolume.SetUp failed for volume "${metadata.name ?? ''}" : volumes of type ${type} are not served`);
}

/** Why a volume cannot be served here, or undefined. */
export function unservedVolume(volume: Volume): string | undefined {
  const { name: _, ...sources } = volume;
  const [source] = Object.keys(sources);
  switch (source) {
    case undefined: case 'emptyDir': case 'hostPath': case 'configMap': case 'secret': case 'downwardAPI': case 'nfs': case 'persistentVolumeClaim': case 'ephemeral':
      return undefined;
    case 'projected': return volume.projected?.sources?.some((s) => s.clusterTrustBundle) ? 'projected.clusterTrustBundle is not served' : undefined;
    default: return `volumes of type ${source} are not served`;
  }
}
