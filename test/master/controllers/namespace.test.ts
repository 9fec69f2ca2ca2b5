import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { admissions } from '../../../master/admission/index.ts';
import { namespaceController } from '../../../master/controllers/namespace.ts';
import { rootCa } from '../../../master/controllers/root-ca.ts';
import { serviceAccount } from '../../../master/controllers/serviceaccount.ts';
import { Cluster, podDocument, realClock } from './cluster.ts';

const test = suite('namespaces');

async function withCluster(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster({ admissions: (registry) => admissions({ registry, clock: realClock }) });
  await cluster.start([namespaceController, serviceAccount, rootCa]);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

test('a new cluster has its namespaces, each with a service account and the root certificate', () => withCluster(async (cluster) => {
  const names = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];
  await cluster.until(() => cluster.registry.all(namespaces).length === 4);
  assert.equal(cluster.registry.all(namespaces).map(({ metadata }) => metadata.name), names);
  await cluster.until(() => names.every((name) => cluster.registry.find(serviceAccounts, name, 'default') && cluster.registry.find(configMaps, name, 'kube-root-ca.crt')));
  await cluster.registry.delete(serviceAccounts, 'default', 'default');
  await cluster.until(() => cluster.registry.find(serviceAccounts, 'default', 'default'));
  await cluster.registry.modify(configMaps, 'default', 'kube-root-ca.crt', (map) => ({ ...map, data: { 'ca.crt': 'forged' } }));
  await cluster.until(() => cluster.registry.get(configMaps, 'default', 'kube-root-ca.crt').object.data?.['ca.crt'] === 'PEM');
}));

test('a deleted namespace is emptied, and goes when nothing is left', () => withCluster(async (cluster) => {
  const { registry } = cluster;
  await cluster.create(namespaces, '', { metadata: { name: 'leaving' } });
  await cluster.until(() => registry.find(serviceAccounts, 'leaving', 'default'));
  await cluster.create(pods, 'leaving', podDocument('stays-a-while', { nodeName: 'n' }));
  await cluster.create(configMaps, 'leaving', { metadata: { name: 'held', finalizers: ['example.com/hold'] } });
  await registry.delete(namespaces, '', 'leaving');
  assert.is(registry.get(namespaces, '', 'leaving').object.status.phase, 'Terminating');
  await cluster.until(() => registry.get(pods, 'leaving', 'stays-a-while').object.metadata.deletionTimestamp);
  assert.ok(registry.find(configMaps, 'leaving', 'held'), 'pods go first');
  await registry.delete(pods, 'leaving', 'stays-a-while', { gracePeriodSeconds: 0 });
  const conditions = await cluster.until(() => {
    const found = registry.get(namespaces, '', 'leaving').object.status.conditions;
    return found?.some(({ message }) => message?.endsWith('configmaps. has 1 resource instances')) && found;
  });
  assert.equal(conditions.filter(({ status }) => status === 'True').map(({ type, message }) => [type, message]), [
    ['NamespaceContentRemaining', 'Some resources are remaining: configmaps. has 1 resource instances'],
    ['NamespaceFinalizersRemaining', 'Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances'],
  ]);
  await registry.modify(configMaps, 'leaving', 'held', (map) => { delete map.metadata.finalizers; return map; });
  await cluster.until(() => !registry.find(namespaces, '', 'leaving'));
  assert.is(registry.store.count('core/configmaps/leaving/'), 0);
}));

test.run();
