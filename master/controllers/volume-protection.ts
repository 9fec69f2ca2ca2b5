import type { Kind } from '../../shared/kind.ts';
import { persistentVolumes, type PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { splitKey, type KubeObject } from '../../shared/meta.ts';
import { isNotFound } from '../../shared/status.ts';
import { claimNamesOf, claimProtection, volumeProtection } from '../registry/volumes.ts';
import { defineController, some, type Context } from './controller.ts';

/** Lets a claim that is being deleted go when no pod that has a node uses it any more. */
export const claimProtector = defineController({
  name: 'pvc-protection', for: some(persistentVolumeClaims),
  watches: [{
    kind: some(pods),
    *keys({ namespace, object, type }) {
      if (type === 'DELETED') for (const name of claimNamesOf(object as Pod)) yield `${namespace}/${name}`;
    },
  }],
  async reconcile(key, context) {
    const { namespace, name } = splitKey(key);
    const claim = context.registry.find(persistentVolumeClaims, namespace, name);
    if (!claim?.metadata.deletionTimestamp || inUse(claim, context)) return;
    await release(persistentVolumeClaims, claim, claimProtection, context);
  },
});

const inUse = ({ metadata }: PersistentVolumeClaim, { registry }: Context): boolean =>
  registry.all(pods, metadata.namespace ?? '').some((pod) => pod.spec.nodeName && claimNamesOf(pod).includes(metadata.name ?? ''));

/** Lets a volume that is being deleted go when it is not bound. */
export const volumeProtector = defineController({
  name: 'pv-protection', for: some(persistentVolumes),
  async reconcile(name, context) {
    const volume = context.registry.find(persistentVolumes, '', name);
    if (!volume?.metadata.deletionTimestamp || volume.status.phase === 'Bound') return;
    await release<PersistentVolume>(persistentVolumes, volume, volumeProtection, context);
  },
});

async function release<T extends KubeObject>(kind: Kind<T>, { metadata }: T, finalizer: string, { registry }: Context): Promise<void> {
  if (!metadata.finalizers?.includes(finalizer)) return;
  await registry.modify(kind, metadata.namespace ?? '', metadata.name ?? '', (now) =>
    ({ ...now, metadata: { ...now.metadata, finalizers: now.metadata.finalizers?.filter((one) => one !== finalizer) ?? [] } }))
    .catch((error: unknown) => { if (!isNotFound(error)) throw error; });
}
