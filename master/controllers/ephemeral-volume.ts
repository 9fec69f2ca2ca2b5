import { persistentVolumeClaims } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { controllerOf, controllerRef, splitKey } from '../../shared/meta.ts';
import { isAlreadyExists } from '../../shared/status.ts';
import { claimNameOf } from '../registry/volumes.ts';
import { defineController, some } from './controller.ts';
import { isEnded } from './pod.ts';

/** Makes the claims of generic ephemeral volumes; they belong to their pod, and go with it. */
export const ephemeralVolume = defineController({
  name: 'ephemeral-volume', for: some(pods),
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
