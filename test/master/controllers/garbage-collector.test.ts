import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { controllerRef, type KubeObject } from '../../../shared/meta.ts';
import { garbageCollector } from '../../../master/controllers/garbage-collector.ts';
import { Cluster } from './cluster.ts';

const test = suite('garbage collector');

async function withCluster(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster();
  await cluster.start([garbageCollector]);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

const make = (cluster: Cluster, name: string, owners: readonly KubeObject[] = [], extra: Record<string, unknown> = {}): Promise<KubeObject> =>
  cluster.create(configMaps, 'default', { metadata: { name, ownerReferences: owners.map((owner, index) => ({ ...controllerRef(owner), controller: index === 0 })), ...extra } });
const exists = (cluster: Cluster, name: string): boolean => cluster.registry.stored(configMaps, 'default', name) !== undefined;
const owners = (cluster: Cluster, name: string): string[] => (cluster.registry.find(configMaps, 'default', name)?.metadata.ownerReferences ?? []).map((owner) => owner.name);
const remove = (cluster: Cluster, name: string, propagationPolicy: 'Background' | 'Foreground' | 'Orphan') => cluster.registry.delete(configMaps, 'default', name, { propagationPolicy });

test('dependents go after their owner, through generations', () => withCluster(async (cluster) => {
  const parent = await make(cluster, 'parent');
  const child = await make(cluster, 'child', [parent]);
  await make(cluster, 'grandchild', [child]);
  await remove(cluster, 'parent', 'Background');
  await cluster.until(() => !exists(cluster, 'child') && !exists(cluster, 'grandchild'));
}));

test('an object with another owner stays and forgets the one that is gone', () => withCluster(async (cluster) => {
  const [one, two] = [await make(cluster, 'one'), await make(cluster, 'two')];
  await make(cluster, 'child', [one, two]);
  await remove(cluster, 'one', 'Background');
  await cluster.until(() => owners(cluster, 'child').join() === 'two');
}));

test('orphans stay without their owner', () => withCluster(async (cluster) => {
  await make(cluster, 'child', [await make(cluster, 'parent')]);
  await remove(cluster, 'parent', 'Orphan');
  await cluster.until(() => !exists(cluster, 'parent'));
  await cluster.settle();
  assert.is(exists(cluster, 'child'), true);
  assert.equal(owners(cluster, 'child'), []);
}));

test('a foreground deletion waits for dependents that block it', () => withCluster(async (cluster) => {
  const parent = await make(cluster, 'parent');
  await make(cluster, 'child', [parent], { finalizers: ['example.com/hold'] });
  await remove(cluster, 'parent', 'Foreground');
  await cluster.until(() => cluster.registry.get(configMaps, 'default', 'child').object.metadata.deletionTimestamp);
  await cluster.settle();
  assert.is(exists(cluster, 'parent'), true);
  await cluster.registry.modify(configMaps, 'default', 'child', (child) => { delete child.metadata.finalizers; return child; });
  await cluster.until(() => !exists(cluster, 'parent') && !exists(cluster, 'child'));
}));

test('an owner that never was, or was another object of that name, counts as gone', () => withCluster(async (cluster) => {
  const parent = await make(cluster, 'parent');
  await make(cluster, 'child', [{ ...parent, metadata: { ...parent.metadata, uid: 'former' } }]);
  await cluster.until(() => !exists(cluster, 'child'));
  assert.is(exists(cluster, 'parent'), true);
}));

test('owners without a namespace own across namespaces; unknown kinds are left alone', () => withCluster(async (cluster) => {
  const node = await cluster.create(nodes, '', { metadata: { name: 'n' } });
  await make(cluster, 'of-node', [node]);
  await make(cluster, 'of-stranger', [{ apiVersion: 'example.com/v1', kind: 'Thing', metadata: { name: 'x', uid: 'x' } }]);
  await cluster.registry.delete(nodes, '', 'n');
  await cluster.until(() => !exists(cluster, 'of-node'));
  await cluster.settle();
  assert.is(exists(cluster, 'of-stranger'), true);
}));

test('what was missed while the master was away is made good', async () => {
  const first = new Cluster();
  const parent = await make(first, 'parent');
  await make(first, 'child', [parent]);
  await remove(first, 'parent', 'Background');
  const second = new Cluster({ store: first.registry.store });
  await second.start([garbageCollector]);
  await second.until(() => !exists(second, 'child'));
  await second.stop();
});

test.run();
