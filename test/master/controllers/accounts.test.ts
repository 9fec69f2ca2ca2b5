import { generateKeyPairSync } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { accountSecrets } from '../../../master/controllers/account-secrets.ts';
import { clusterRoleAggregation } from '../../../master/controllers/clusterrole-aggregation.ts';
import { AccountTokens } from '../../../master/registry/account-tokens.ts';
import { tokenKey } from '../../../master/registry/jwt.ts';
import type { Registry } from '../../../master/registry/registry.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { clusterRoles } from '../../../shared/kinds/rbac.ts';
import { secrets } from '../../../shared/kinds/secret.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { Cluster, realClock } from './cluster.ts';

const test = suite('accounts\' controllers');
const type = 'kubernetes.io/service-account-token';
const annotation = 'kubernetes.io/service-account.name';
const key = tokenKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);

test('a token Secret is filled, mended, and goes with its account; others are left alone', async () => {
  const tokensOf = (registry: Registry): AccountTokens => new AccountTokens({ registry, clock: realClock, key, issuer: 'https://i' });
  const cluster: Cluster = new Cluster({ settings: { accountTokens: { issueLegacy: (...args) => tokensOf(cluster.registry).issueLegacy(...args), isLegacy: (...args) => tokensOf(cluster.registry).isLegacy(...args) } } });
  const { registry } = cluster;
  const tokens = tokensOf(registry);
  await cluster.create(namespaces, '', { metadata: { name: 'default' } });
  const account = await cluster.create(serviceAccounts, 'default', { metadata: { name: 'robot' } });
  await cluster.start([accountSecrets]);
  await registry.create(secrets, 'default', { metadata: { name: 'other' } });
  const make = () => registry.create(secrets, 'default', { metadata: { name: 's', annotations: { [annotation]: 'robot' } }, type });
  const data = () => registry.find(secrets, 'default', 's')?.data ?? {};
  const token = () => Buffer.from(data()['token'] ?? '', 'base64').toString();
  await make();
  await cluster.until(token, 'a token');
  const first = token();
  assert.is(tokens.authenticate(first)?.name, 'system:serviceaccount:default:robot');
  assert.equal([Buffer.from(data()['ca.crt']!, 'base64').toString(), Buffer.from(data()['namespace']!, 'base64').toString()], ['PEM', 'default']);
  assert.is(registry.find(secrets, 'default', 's')?.metadata.annotations?.['kubernetes.io/service-account.uid'], account.metadata.uid);
  await registry.modify(secrets, 'default', 's', (secret) => ({ ...secret, data: { ...secret.data, token: Buffer.from('mine').toString('base64') } }));
  await cluster.until(() => token() !== 'mine', 'another token');
  assert.ok(tokens.authenticate(token()));
  await registry.delete(serviceAccounts, 'default', 'robot');
  assert.is(tokens.authenticate(first), undefined);
  await cluster.until(() => !registry.find(secrets, 'default', 's'), 'the end of the secret');
  await make();
  await cluster.until(() => !registry.find(secrets, 'default', 's'), 'the end of a secret of nobody');
  assert.ok(registry.find(secrets, 'default', 'other'));
  await cluster.stop();
});

test('a ClusterRole has the rules of those that it selects, and of those that these select', async () => {
  const cluster = new Cluster();
  const { registry } = cluster;
  await cluster.start([clusterRoleAggregation]);
  const rule = (resource: string) => ({ verbs: ['get'], apiGroups: [''], resources: [resource] });
  const rules = (name: string): string[] => (registry.find(clusterRoles, '', name)?.rules ?? []).flatMap(({ resources = [] }) => resources);
  const aggregate = (label: string) => ({ clusterRoleSelectors: [{ matchLabels: { [label]: 'yes' } }] });
  await registry.create(clusterRoles, '', { metadata: { name: 'top' }, aggregationRule: aggregate('to-top') });
  await registry.create(clusterRoles, '', { metadata: { name: 'middle', labels: { 'to-top': 'yes' } }, aggregationRule: aggregate('to-middle') });
  await registry.create(clusterRoles, '', { metadata: { name: 'a', labels: { 'to-middle': 'yes' } }, rules: [rule('pods')] });
  await cluster.until(() => rules('top').includes('pods'), 'rules at the top');
  await registry.create(clusterRoles, '', { metadata: { name: 'b', labels: { 'to-top': 'yes' } }, rules: [rule('nodes'), rule('pods')] });
  await cluster.until(() => rules('top').includes('nodes'), 'further rules');
  assert.equal(rules('top').sort(), ['nodes', 'pods'], 'each once');
  await registry.delete(clusterRoles, '', 'a');
  await cluster.until(() => rules('middle').length === 0, 'rules that are gone');
  await cluster.stop();
});

test.run();
