import type { PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import type { PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { isDefaultClass, storageClasses, type StorageClass } from '../../shared/kinds/storageclass.ts';
import { matchesNode, type SelectableNode } from '../../shared/node-selector.ts';
import { compareQuantity } from '../../shared/quantity.ts';
import { selectorOf } from '../../shared/selector.ts';
import { fromTime } from '../../shared/time.ts';
import { provisionedBy } from '../../shared/volumes.ts';
import type { Registry } from './registry.ts';

export const claimProtection = 'kubernetes.io/pvc-protection';
export const volumeProtection = 'kubernetes.io/pv-protection';

/** Annotations by which scheduler, binder and provisioners tell each other how far a binding is. */
export const annotation = {
  bindCompleted: 'pv.kubernetes.io/bind-completed',
  boundByController: 'pv.kubernetes.io/bound-by-controller',
  provisionedBy,
  provisioner: 'volume.kubernetes.io/storage-provisioner',
  selectedNode: 'volume.kubernetes.io/selected-node',
} as const;

/** The default class; of several the one made last, as upstream takes it. */
export function defaultClass(registry: Registry): StorageClass | undefined {
  const found = registry.all(storageClasses).filter(isDefaultClass);
  const age = ({ metadata }: StorageClass): number => fromTime(metadata.creationTimestamp);
  return found.sort((a, b) => age(b) - age(a) || ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1))[0];
}

/** Name of the claim of a volume of a pod; undefined for volumes of other types. */
export function claimNameOf(pod: Pick<Pod, 'metadata'>, volume: NonNullable<Pod['spec']['volumes']>[number]): string | undefined {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral ? `${pod.metadata.name ?? ''}-${volume.name}` : undefined;
}

/** Names of the claims that a pod uses, each once. */
export const claimNamesOf = (pod: Pod): string[] =>
  [...new Set((pod.spec.volumes ?? []).flatMap((volume) => claimNameOf(pod, volume) ?? []))];

/** Both sides know of each other. */
export const isBound = (claim: PersistentVolumeClaim): boolean =>
  Boolean(claim.spec.volumeName) && claim.metadata.annotations?.[annotation.bindCompleted] !== undefined;

/** Whether a volume is kept for a claim: by name, and by uid once it was bound. */
export function isFor({ spec: { claimRef } }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  return claimRef?.name === metadata.name && claimRef?.namespace === metadata.namespace && (!claimRef?.uid || claimRef.uid === metadata.uid);
}

const sizeOf = (volume: PersistentVolume): string => volume.spec.capacity?.['storage'] ?? '0';

/** Why a volume cannot serve a claim that asks for it by name, in upstream's words. */
export function mismatch(volume: PersistentVolume, { spec }: PersistentVolumeClaim): string | undefined {
  if (compareQuantity(sizeOf(volume), spec.resources.requests?.['storage'] ?? '0') < 0) return 'requested PV is too small';
  if ((volume.spec.storageClassName ?? '') !== (spec.storageClassName ?? '')) return 'storageClassName does not match';
  if (volume.spec.volumeMode !== spec.volumeMode) return 'incompatible volumeMode';
  if (!(spec.accessModes ?? []).every((mode) => volume.spec.accessModes?.includes(mode))) return 'incompatible accessMode';
  return undefined;
}

/** Whether a volume can be used on a node. */
export const reaches = ({ spec }: PersistentVolume, node: SelectableNode): boolean => !spec.nodeAffinity?.required || matchesNode(spec.nodeAffinity.required, node);

export interface MatchOptions {
  /** Only volumes that this node reaches. */
  readonly node?: SelectableNode;
  /** Only volumes that are kept for the claim already: it waits for its first consumer. */
  readonly onlyKept?: boolean;
  /** Names of volumes that are spoken for. */
  readonly taken?: ReadonlySet<string>;
}

/** The volume that a claim should get: one that is kept for it, else the smallest that does. */
export function findVolume(claim: PersistentVolumeClaim, volumes: readonly PersistentVolume[], { node, onlyKept, taken }: MatchOptions = {}): PersistentVolume | undefined {
  const able = volumes.filter((volume) => !volume.metadata.deletionTimestamp && !mismatch(volume, claim) && !taken?.has(volume.metadata.name ?? ''));
  const kept = able.find((volume) => isFor(volume, claim));
  if (kept) return !node || reaches(kept, node) ? kept : undefined;
  if (onlyKept) return undefined;
  const selector = claim.spec.selector ? selectorOf(claim.spec.selector) : undefined;
  let best: PersistentVolume | undefined;
  for (const volume of able) {
    if (volume.spec.claimRef || volume.status.phase !== 'Available') continue;
    if ((selector && !selector.matches(volume.metadata.labels ?? {})) || (node && !reaches(volume, node))) continue;
    if (!best || compareQuantity(sizeOf(volume), sizeOf(best)) < 0) best = volume;
  }
  return best;
}

/** What a volume that is bound to a claim says of it. */
export const claimRefOf = ({ metadata }: PersistentVolumeClaim): NonNullable<PersistentVolume['spec']['claimRef']> => ({
  apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace: metadata.namespace ?? '', name: metadata.name ?? '', uid: metadata.uid ?? '',
  ...(metadata.resourceVersion ? { resourceVersion: metadata.resourceVersion } : {}),
});

/** A volume as it is when bound, before its status says so; the same object when it is already. */
export function boundTo(volume: PersistentVolume, claim: PersistentVolumeClaim): PersistentVolume {
  if (volume.spec.claimRef?.uid === claim.metadata.uid) return volume;
  const annotations = { ...volume.metadata.annotations, ...(volume.spec.claimRef ? {} : { [annotation.boundByController]: 'yes' }) };
  return {
    ...volume,
    metadata: { ...volume.metadata, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    spec: { ...volume.spec, claimRef: claimRefOf(claim) },
  };
}
