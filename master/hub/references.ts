import type { Pod } from '../../shared/kinds/pod.ts';
import { claimNamesOf } from '../registry/volumes.ts';

/** A thing that a pod refers to, as an item key: `secret/default/tls`. */
export type DependencyKey = `${'configMap' | 'secret' | 'claim'}/${string}/${string}`;

/** ConfigMaps, secrets and claims that a pod's node must have before it can run it. Sorted, each once. */
export function dependenciesOf(pod: Pod): DependencyKey[] {
  const found = new Set<DependencyKey>();
  const note = (type: 'configMap' | 'secret' | 'claim', name: string | undefined): void => {
    if (name) found.add(`${type}/${pod.metadata.namespace ?? ''}/${name}`);
  };
  const { spec } = pod;
  for (const container of [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])]) {
    for (const { valueFrom } of container.env ?? []) {
      note('configMap', valueFrom?.configMapKeyRef?.name);
      note('secret', valueFrom?.secretKeyRef?.name);
    }
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      note('configMap', configMapRef?.name);
      note('secret', secretRef?.name);
    }
  }
  for (const volume of spec.volumes ?? []) {
    note('configMap', volume.configMap?.name);
    note('secret', volume.secret?.secretName);
    note('secret', volume.csi?.nodePublishSecretRef?.name);
    for (const source of volume.projected?.sources ?? []) {
      note('configMap', source.configMap?.name);
      note('secret', source.secret?.name);
    }
  }
  for (const name of claimNamesOf(pod)) note('claim', name);
  for (const secret of spec.imagePullSecrets ?? []) note('secret', secret.name);
  return [...found].sort();
}
