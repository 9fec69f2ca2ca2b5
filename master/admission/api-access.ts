import type { Pod } from '../../shared/kinds/pod.ts';
import type { ServiceAccount } from '../../shared/kinds/serviceaccount.ts';
import type { Volume } from '../../shared/kinds/volume.ts';
import { generatedName } from '../../shared/names.ts';
import { warnOnlySeconds } from '../registry/account-tokens.ts';

const volumePrefix = 'kube-api-access-';
const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Whether a pod's containers get a token: as the pod says, else as its account says, else yes. */
export const automounts = ({ spec }: Pod, account: ServiceAccount): boolean =>
  spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;

/**
 * Gives every container of a pod what it needs to call the API: a volume with a token, the authority's certificate and
 * the namespace, where clients look for them. A container that mounts something there itself is left alone. Mutates.
 */
export function mountApiAccess({ spec }: Pod): void {
  const there = spec.volumes?.find(({ name }) => name.startsWith(volumePrefix));
  const name = there?.name ?? generatedName(volumePrefix);
  let needed = false;
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    if (container.volumeMounts?.some((mount) => mount.mountPath === mountPath)) continue;
    (container.volumeMounts ??= []).push({ name, readOnly: true, mountPath });
    needed = true;
  }
  if (needed && !there) (spec.volumes ??= []).push(apiAccess(name));
}

const apiAccess = (name: string): Volume => ({
  name,
  projected: {
    defaultMode: 0o644,
    sources: [
      { serviceAccountToken: { expirationSeconds: warnOnlySeconds, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
    ],
  },
});
