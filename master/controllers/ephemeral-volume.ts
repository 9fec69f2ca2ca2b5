import { persistentVolumeClaims } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { controllerOf, controllerRef, keyOf, splitKey } from '../../shared/meta.ts';
import { isAlreadyExists } from '../../shared/status.ts';
import { claimNameOf } from '../registry/volumes.ts';
import { defineController, some } from './controller.ts';
import { isEnded } from './pod.ts';

const hasEphemeral = ({ spec }: Pod): boolean => spec.volumes?.some(({ ephemeral }) => ephemeral) ?? false;

/** Makes the claims of generic ephemeral volumes; they belong to their pod, and go with it. */
export const ephemeralVolume = defineController({
  name: 'ephemeral-volume',
  // Few pods have such volumes, and those that a pod has never change: all others cost nothing but this look.
  watches: [{ kind: some(pods), keys: ({ object, type }) => (type !== 'DELETED' && hasEphemeral(object as Pod) ? [keyOf(object)] : []) }],
  async reconcile(key, { registry, recorder }) {
    const { namespace, name: podName } = splitKey(key);
    const pod = registry.find(pods, namespace, podName);
    if (!pod || pod.metadata.deletionTimestamp || isEnded(pod)) return;
    for (const volume of pod.spec.volumes ?? []) {
      const template = volume.ephemeral?.volumeClaimTemplate;
      if (!template) continue;
      const name = claimNameOf(pod, volume) ?? '';
      const there = registry.find(persistentVolumeClaims, namespace, name);
      if (there) {
        if (controllerOf(there)?.uid === pod.metadata.uid) continue;
        recorder.event(pod, 'Warning', 'FailedBinding', `ephemeral volume ${volume.name}: PVC ${namespace}/${name} was not created for pod ${namespace}/${podName} (pod is not owner)`, 'ephemeral_volume');
        continue;
      }
      const { labels, annotations } = template.metadata ?? {};
      await registry.create(persistentVolumeClaims, namespace, {
        metadata: { name, ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}), ownerReferences: [controllerRef({ ...pod, apiVersion: 'v1', kind: 'Pod' })] },
        spec: template.spec,
      }).catch((error: unknown) => { if (!isAlreadyExists(error)) throw error; });
    }
  },
});
