import { secrets, type Secret } from '../../shared/kinds/secret.ts';
import { serviceAccounts, type ServiceAccount } from '../../shared/kinds/serviceaccount.ts';
import { defineController, some, type Context } from './controller.ts';
import { removeIfThere } from './ensure.ts';

const type = 'kubernetes.io/service-account-token';
const nameAnnotation = 'kubernetes.io/service-account.name';
const uidAnnotation = 'kubernetes.io/service-account.uid';

/** A token is made anew when the key that signed it is no longer good: that is no change of anything. */
const checkAgainMs = 86_400_000;

/** Secrets of an account are few and found by looking at those of its namespace. */
function* secretsOf(account: ServiceAccount, { registry }: Context): Generator<string> {
  const { namespace = '', name } = account.metadata;
  for (const { type: is, metadata } of registry.all(secrets, namespace)) {
    if (is === type && metadata.annotations?.[nameAnnotation] === name) yield `${namespace}/${metadata.name}`;
  }
}

/**
 * Fills Secrets of type kubernetes.io/service-account-token with a token that has no end, the authority's certificate
 * and the namespace, and removes those whose account is gone: kube-controller-manager's tokens controller.
 */
export const accountSecrets = defineController({
  name: 'account-secrets', for: some(secrets),
  watches: [{
    kind: some(serviceAccounts),
    keys: (change, context) => (change.type === 'MODIFIED' ? [] : secretsOf(change.object as ServiceAccount, context)),
  }],
  async reconcile(key, context) {
    const [namespace = '', name = ''] = key.split('/');
    const { registry } = context;
    const secret = registry.find(secrets, namespace, name);
    if (!secret || secret.type !== type || secret.metadata.deletionTimestamp) return;
    const account = registry.find(serviceAccounts, namespace, secret.metadata.annotations?.[nameAnnotation] ?? '');
    const uid = secret.metadata.annotations?.[uidAnnotation];
    if (!account || (uid && uid !== account.metadata.uid)) {
      await removeIfThere(registry, some(secrets), namespace, name, { preconditions: { uid: secret.metadata.uid ?? '' } });
      return;
    }
    await fill(secret, account, context);
    return { requeueAfterMs: checkAgainMs };
  },
});

async function fill(secret: Secret, account: ServiceAccount, { registry, settings: { accountTokens: tokens, caCertificate } }: Context): Promise<void> {
  const { name = '', namespace = '' } = secret.metadata;
  if (!tokens) return;
  const has = Buffer.from(secret.data?.['token'] ?? '', 'base64').toString();
  const token = tokens.isLegacy(has, account, name) ? has : await tokens.issueLegacy(account, name);
  const data = Object.fromEntries(Object.entries({ 'ca.crt': caCertificate, namespace, token }).map(([key, text]) => [key, Buffer.from(text).toString('base64')]));
  const uid = account.metadata.uid ?? '';
  if (secret.metadata.annotations?.[uidAnnotation] === uid && Object.entries(data).every(([key, bytes]) => secret.data?.[key] === bytes)) return;
  await registry.modify(secrets, namespace, name, (current) => ({
    ...current, metadata: { ...current.metadata, annotations: { ...current.metadata.annotations, [uidAnnotation]: uid } }, data: { ...current.data, ...data },
  }), { preconditions: { uid: secret.metadata.uid ?? '' } });
}
