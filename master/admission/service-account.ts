import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { serviceAccounts, type ServiceAccount } from '../../shared/kinds/serviceaccount.ts';
import { forbidden } from '../../shared/status.ts';
import type { Admission } from '../registry/types.ts';
import { automounts, mountApiAccess } from './api-access.ts';
import { concerns, type AdmissionContext } from './plugin.ts';

/** How long a pod waits for the service account of a namespace that is only just made. */
const patienceMs = 1000;

/** Gives pods a service account: `default` unless they name one, which must exist. Its pull secrets become theirs, and they get its token. */
export function serviceAccount(context: AdmissionContext): Admission {
  return {
    name: 'ServiceAccount',
    handles: (attempt) => concerns(attempt, pods, 'CREATE'),
    async admit(attempt) {
      const { spec } = attempt.object as Pod;
      const name = spec.serviceAccountName || 'default';
      spec.serviceAccountName = name;
      spec.serviceAccount = name;
      const account = context.registry.find(serviceAccounts, attempt.namespace, name) ?? await appears(context, attempt.namespace, name);
      if (!account) throw forbidden(pods, attempt.name, `error looking up service account ${attempt.namespace}/${name}: serviceaccount ${JSON.stringify(name)} not found`);
      if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) spec.imagePullSecrets = structuredClone(account.imagePullSecrets);
      if (automounts(attempt.object as Pod, account)) mountApiAccess(attempt.object as Pod);
    },
  };
}

/** The service account once it is there; undefined when it does not come. */
function appears({ registry, clock }: AdmissionContext, namespace: string, name: string): Promise<ServiceAccount | undefined> {
  return new Promise((resolve) => {
    const ended = new AbortController();
    const end = (): void => {
      cancel();
      ended.abort();
      resolve(registry.find(serviceAccounts, namespace, name));
    };
    const cancel = clock.after(patienceMs, end);
    registry.changes(registry.store.revision, (changes) => {
      if (changes.some((change) => change.kind.prefix === serviceAccounts.prefix && change.namespace === namespace && change.name === name)) end();
    }, ended.signal);
  });
}
