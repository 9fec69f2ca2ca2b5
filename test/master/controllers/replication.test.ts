import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pods } from '../../../shared/kinds/pod.ts';
import { replicationControllers } from '../../../shared/kinds/replicationcontroller.ts';
import { controllerOf } from '../../../shared/meta.ts';
import { replication } from '../../../master/controllers/replication.ts';
import { Cluster, podDocument, rcDocument, ready } from './cluster.ts';

const test = suite('replication');

async function withCluster(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster();
  await cluster.start([replication]);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

const scale = (cluster: Cluster, name: string, replicas: number) =>
  cluster.registry.modify(replicationControllers, 'default', name, (rc) => ({ ...rc, spec: { ...rc.spec, replicas } }));
const rcOf = (cluster: Cluster, name: string) => cluster.registry.get(replicationControllers, 'default', name).object;

test('creates what is missing, says so, and counts it', () => withCluster(async (cluster) => {
  await cluster.create(replicationControllers, 'default', rcDocument('web', 3));
  const status = await cluster.until(() => rcOf(cluster, 'web').status.replicas === 3 && rcOf(cluster, 'web').status, 'three replicas');
  assert.equal(status, { replicas: 3, fullyLabeledReplicas: 3, observedGeneration: 1 });
  const [pod] = cluster.pods();
  assert.match(pod!.metadata.name ?? '', /^web-.{5}$/);
  assert.equal(controllerOf(pod!)?.name, 'web');
  const said = await cluster.until(() => cluster.events().length === 3 && cluster.events());
  assert.equal(said.map((event) => event.reason), ['SuccessfulCreate', 'SuccessfulCreate', 'SuccessfulCreate']);
  assert.match(said[0]!.message ?? '', /^Created pod: web-.{5}$/);
  assert.is(said[0]!.source.component, 'replication-controller');
}));

test('deletes unready pods before ready ones', () => withCluster(async (cluster) => {
  await cluster.create(replicationControllers, 'default', rcDocument('web', 3));
  await cluster.until(() => cluster.pods().length === 3);
  const [first, second] = cluster.pods();
  await cluster.report(first!, ready('10.1.0.1'));
  await cluster.report(second!, { phase: 'Running' });
  await cluster.until(() => rcOf(cluster, 'web').status.readyReplicas === 1);
  await scale(cluster, 'web', 1);
  const left = await cluster.until(() => cluster.pods().length === 1 && cluster.pods());
  assert.is(left[0]!.metadata.name, first!.metadata.name);
}));

test('replaces pods that failed or are gone', () => withCluster(async (cluster) => {
  await cluster.create(replicationControllers, 'default', rcDocument('web', 2));
  await cluster.until(() => cluster.pods().length === 2);
  const [first, second] = cluster.pods();
  await cluster.report(first!, { phase: 'Failed' });
  await cluster.registry.delete(pods, 'default', second!.metadata.name ?? '');
  const active = await cluster.until(() => {
    const alive = cluster.pods().filter((pod) => pod.status.phase !== 'Failed');
    return alive.length === 2 && !alive.some((pod) => pod.metadata.uid === second!.metadata.uid) && alive;
  });
  assert.is(active.length, 2);
}));

test('adopts matching orphans and releases pods that no longer match', () => withCluster(async (cluster) => {
  await cluster.create(pods, 'default', podDocument('orphan', {}, { labels: { app: 'web' } }));
  await cluster.create(replicationControllers, 'default', rcDocument('web', 2));
  await cluster.until(() => controllerOf(cluster.registry.get(pods, 'default', 'orphan').object)?.name === 'web');
  await cluster.until(() => rcOf(cluster, 'web').status.replicas === 2);
  assert.is(cluster.pods().length, 2);
  await cluster.registry.modify(pods, 'default', 'orphan', (pod) => ({ ...pod, metadata: { ...pod.metadata, labels: { app: 'other' } } }));
  await cluster.until(() => cluster.pods().length === 3 && !controllerOf(cluster.registry.get(pods, 'default', 'orphan').object));
}));

test('leaves another controller its pods', () => withCluster(async (cluster) => {
  const owner = { apiVersion: 'v1', kind: 'ReplicationController', name: 'other', uid: 'other-uid', controller: true };
  await cluster.create(pods, 'default', podDocument('theirs', {}, { labels: { app: 'web' }, ownerReferences: [owner] }));
  await cluster.create(replicationControllers, 'default', rcDocument('web', 1));
  await cluster.until(() => cluster.pods().length === 2);
  assert.is(controllerOf(cluster.registry.get(pods, 'default', 'theirs').object)?.name, 'other');
}));

test('a pod that is ready for minReadySeconds is available', () => withCluster(async (cluster) => {
  await cluster.create(replicationControllers, 'default', rcDocument('web', 1, { minReadySeconds: 1 }));
  const [pod] = await cluster.until(() => cluster.pods().length === 1 && cluster.pods());
  await cluster.report(pod!, ready('10.1.0.1', new Date().toISOString()));
  await cluster.until(() => rcOf(cluster, 'web').status.readyReplicas === 1);
  assert.is(rcOf(cluster, 'web').status.availableReplicas, undefined);
  await cluster.until(() => rcOf(cluster, 'web').status.availableReplicas === 1);
}));

test('reports why pods cannot be created, until they can', async () => {
  let refuse = true;
  const cluster = new Cluster({ admissions: () => [{
    name: 'quota', handles: ({ kind, operation }) => kind.plural === 'pods' && operation === 'CREATE',
    validate: () => { if (refuse) throw new Error('no room'); },
  }] });
  await cluster.start([replication]);
  await cluster.create(replicationControllers, 'default', rcDocument('web', 4));
  const condition = await cluster.until(() => rcOf(cluster, 'web').status.conditions?.[0]);
  assert.is(condition.type, 'ReplicaFailure');
  assert.is(condition.reason, 'FailedCreate');
  assert.is(condition.message, 'no room');
  assert.is((await cluster.until(() => cluster.events()[0])).message, 'Error creating: no room');
  refuse = false;
  await cluster.until(() => rcOf(cluster, 'web').status.replicas === 4 && !rcOf(cluster, 'web').status.conditions);
  await cluster.stop();
});

test('a restart finds its pods again', async () => {
  const first = new Cluster();
  await first.start([replication]);
  await first.create(replicationControllers, 'default', rcDocument('web', 5));
  await first.until(() => rcOf(first, 'web').status.replicas === 5);
  await first.stop();
  const second = new Cluster({ store: first.registry.store });
  await second.start([replication]);
  await second.settle();
  assert.is(second.pods().length, 5);
  await second.stop();
});

test.run();
