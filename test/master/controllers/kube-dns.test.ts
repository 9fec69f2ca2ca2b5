import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clusterDnsAddress, ConfigError, parseCidr, readMasterConfig } from '../../../master/config.ts';
import { kubeDns } from '../../../master/controllers/kube-dns.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { services } from '../../../shared/kinds/service.ts';
import { Cluster } from './cluster.ts';

const test = suite('kube-dns');

async function withCluster(clusterDNS: string, run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster({ settings: { clusterDNS } });
  await cluster.create(namespaces, '', { metadata: { name: 'kube-system' } });
  await cluster.start([kubeDns]);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

const find = (cluster: Cluster) => cluster.registry.find(services, 'kube-system', 'kube-dns');

test('tells where cluster DNS is, and comes back', () => withCluster('10.96.0.10', async (cluster) => {
  const { metadata, spec } = await cluster.until(() => find(cluster));
  assert.is(metadata.labels?.['k8s-app'], 'kube-dns');
  assert.equal([spec.clusterIP, spec.selector, spec.ports?.map(({ port, protocol }) => `${port}/${protocol}`)], ['10.96.0.10', undefined, ['53/UDP', '53/TCP']]);
  await cluster.registry.delete(services, 'kube-system', 'kube-dns');
  await cluster.until(() => find(cluster));
}));

test('what somebody made of it stays', () => withCluster('10.96.0.10', async (cluster) => {
  await cluster.until(() => find(cluster));
  await cluster.registry.modify(services, 'kube-system', 'kube-dns', (service) => ({ ...service, metadata: { ...service.metadata, labels: { mine: 'yes' } } }));
  await cluster.settle();
  assert.equal(find(cluster)?.metadata.labels, { mine: 'yes' });
}));

test('a cluster without DNS has no such service', () => withCluster('', async (cluster) => {
  await cluster.settle();
  assert.is(find(cluster), undefined);
}));

test('its address is the tenth of the service range, if that has so many', () => {
  assert.equal(['10.96.0.0/16', '10.0.0.16/28', '10.0.0.0/30'].map((text) => clusterDnsAddress(parseCidr(text)!)), ['10.96.0.10', '10.0.0.26', '']);
});

test('the domain must be one', () => {
  assert.is(readMasterConfig({ clusterDomain: 'edge.example' }).clusterDomain, 'edge.example');
  for (const bad of ['', 'Cluster.Local', 'a..b', '-a', 'a.', 'a b', 'x'.repeat(64)]) assert.throws(() => readMasterConfig({ clusterDomain: bad }), (error: unknown) => error instanceof ConfigError && error.message.startsWith('--cluster-domain: '), bad);
});

test.run();
