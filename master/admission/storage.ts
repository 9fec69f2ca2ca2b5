import { persistentVolumes } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import { storageClasses } from '../../shared/kinds/storageclass.ts';
import { compareQuantity } from '../../shared/quantity.ts';
import { forbidden } from '../../shared/status.ts';
import type { Admission } from '../registry/types.ts';
import { claimProtection, defaultClass, volumeProtection } from '../registry/volumes.ts';
import { concerns, type AdmissionContext } from './plugin.ts';

/** Keeps volumes and claims from going while somebody uses them: their controllers take the finalizers off. */
export const storageProtection: Admission = {
  name: 'StorageObjectInUseProtection',
  handles: (attempt) => concerns(attempt, persistentVolumes, 'CREATE') || concerns(attempt, persistentVolumeClaims, 'CREATE'),
  admit({ kind, object: { metadata } }) {
    const finalizer = kind.prefix === persistentVolumes.prefix ? volumeProtection : claimProtection;
    if (!metadata.finalizers?.includes(finalizer)) metadata.finalizers = [...metadata.finalizers ?? [], finalizer];
  },
};

/** Gives a claim that names no class the default one. */
export const defaultStorageClass = ({ registry }: AdmissionContext): Admission => ({
  name: 'DefaultStorageClass',
  handles: (attempt) => concerns(attempt, persistentVolumeClaims, 'CREATE'),
  admit({ object }) {
    const { spec } = object as PersistentVolumeClaim;
    const found = spec.storageClassName === undefined ? defaultClass(registry)?.metadata.name : undefined;
    if (found !== undefined) spec.storageClassName = found;
  },
});

/** A claim may ask for more only where its class allows it. */
export const claimResize = ({ registry }: AdmissionContext): Admission => ({
  name: 'PersistentVolumeClaimResize',
  handles: (attempt) => concerns(attempt, persistentVolumeClaims, 'UPDATE'),
  validate({ object, old, name }) {
    const [next, before] = [object as PersistentVolumeClaim, old as PersistentVolumeClaim];
    const [size, was] = [next.spec.resources.requests?.['storage'], before.spec.resources.requests?.['storage']];
    if (size === undefined || was === undefined || compareQuantity(size, was) <= 0 || before.status.phase !== 'Bound') return;
    if (registry.find(storageClasses, '', next.spec.storageClassName ?? '')?.allowVolumeExpansion) return;
    throw forbidden(persistentVolumeClaims, name, 'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize');
  },
});

