import { posix } from 'node:path';
import { nodes } from '../../shared/kinds/node.ts';
import { persistentVolumes } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import type { StorageClass } from '../../shared/kinds/storageclass.ts';
import { isAlreadyExists } from '../../shared/status.ts';
import { localPathProvisioner } from '../../shared/volumes.ts';
import { annotation, claimRefOf } from '../registry/volumes.ts';
import type { Registry } from '../registry/registry.ts';
import type { Context } from './controller.ts';

export const localPath = localPathProvisioner;
const hostname = 'kubernetes.io/hostname';

/** Below which directory of a node volumes are made, unless the class' parameter `path` says otherwise. */
const defaultBase = '/var/lib/wherry/local-path';

/**
 * Makes a volume that is a directory of the node that the scheduler chose for the claim's first pod. The node's agent
 * makes the directory when a pod mounts it, and removes it when the volume goes.
 */
export async function provisionLocalPath(claim: PersistentVolumeClaim, found: StorageClass, { registry, recorder }: Context): Promise<void> {
  const { namespace = '', name = '', uid = '', annotations } = claim.metadata;
  const failed = (why: string): void => recorder.event(claim, 'Warning', 'ProvisioningFailed', `failed to provision volume with StorageClass "${found.metadata.name ?? ''}": ${why}`, localPath);
  const chosen = annotations?.[annotation.selectedNode];
  if (!chosen) return failed('volumeBindingMode has to be WaitForFirstConsumer: the directory is made where the first pod runs');
  if (claim.spec.volumeMode !== 'Filesystem') return failed('only volumeMode Filesystem is served');
  if (claim.spec.accessModes?.some((mode) => mode === 'ReadWriteMany' || mode === 'ReadOnlyMany')) return failed('only ReadWriteOnce and ReadWriteOncePod are served: the directory is on one node');
  const base = found.parameters?.['path'] ?? defaultBase;
  if (!posix.isAbsolute(base) || base.split('/').includes('..') || posix.normalize(base).split('/').filter(Boolean).length < 2) {
    return failed(`parameter path "${base}" is not an absolute path of at least two parts`);
  }
  const node = registry.find(nodes, '', chosen);
  if (!node) return forget(claim, chosen, registry);
  const label = node.metadata.labels?.[hostname];
  if (!label) return failed(`node "${chosen}" has no label ${hostname}`);
  const volumeName = `pvc-${uid}`;
  try {
    await registry.create(persistentVolumes, '', {
      metadata: { name: volumeName, annotations: { [annotation.provisionedBy]: localPath } },
      spec: {
        capacity: { storage: claim.spec.resources.requests?.['storage'] ?? '0' }, accessModes: claim.spec.accessModes, volumeMode: 'Filesystem',
        storageClassName: found.metadata.name, persistentVolumeReclaimPolicy: found.reclaimPolicy, claimRef: claimRefOf(claim),
        local: { path: posix.join(base, `${volumeName}_${namespace}_${name}`) },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: hostname, operator: 'In', values: [label] }] }] } },
      },
    });
    recorder.event(claim, 'Normal', 'ProvisioningSucceeded', `Successfully provisioned volume ${volumeName}`, localPath);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** The node that was chosen is no more: the scheduler is to choose again. */
async function forget({ metadata }: PersistentVolumeClaim, chosen: string, registry: Registry): Promise<void> {
  await registry.modify(persistentVolumeClaims, metadata.namespace ?? '', metadata.name ?? '', (now) => {
    const { [annotation.selectedNode]: node, ...annotations } = now.metadata.annotations ?? {};
    return node === chosen ? { ...now, metadata: { ...now.metadata, annotations } } : undefined;
  });
}
