import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods, type Pod } from '../../../shared/kinds/pod.ts';
import { silentLog } from '../../../shared/log.ts';
import { plugins } from '../../../master/scheduler/plugins/index.ts';
import { Scheduler } from '../../../master/scheduler/scheduler.ts';
import { Cluster, podDocument } from '../controllers/cluster.ts';

const test = suite('scheduler');

export const nodeDocument = (name: string, allocatable: Record<string, string> = {}, spec: Record<string, unknown> = {}, labels: Record<string, string> = {}): unknown => ({
  metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } }, spec,
  status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110', ...allocatable } },
});

/** A node as an agent registers it: the object, then its status. */
async function addNode(cluster: Cluster, ...args: Parameters<typeof nodeDocument>): Promise<void> {
  const document = nodeDocument(...args) as { status: unknown };
  await cluster.registry.create(nodes, '', document);
  await cluster.registry.modify(nodes, '', args[0], (node) => ({ ...node, status: document.status }), { subresource: 'status' });
}

async function withScheduler(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster();
  const { registry, recorder, clock } = cluster;
  await cluster.start([], (signal) => new Scheduler({ registry, recorder, clock, log: silentLog, plugins }).run(signal));
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

const podOf = (cluster: Cluster, name: string): Pod => cluster.registry.get(pods, 'default', name).object;
const condition = (pod: Pod) => pod.status.conditions?.find(({ type }) => type === 'PodScheduled');
const requesting = (cpu: string, extra: Record<string, unknown> = {}): Record<string, unknown> => ({ containers: [{ name: 'c', image: 'i', resources: { requests: { cpu } } }], ...extra });

test('binds a pod and says so', () => withScheduler(async (cluster) => {
  await addNode(cluster, 'a');
  await cluster.create(pods, 'default', podDocument('web'));
  await cluster.until(() => podOf(cluster, 'web').spec.nodeName === 'a');
  assert.is(condition(podOf(cluster, 'web'))?.status, 'True');
  const event = await cluster.until(() => cluster.events()[0]);
  assert.is(event.reason, 'Scheduled');
  assert.is(event.message, 'Successfully assigned default/web to a');
  assert.is(event.source.component, 'default-scheduler');
}));

test('says why a pod fits nowhere, and places it once it does', () => withScheduler(async (cluster) => {
  await addNode(cluster, 'small', { cpu: '500m' });
  await addNode(cluster, 'tainted', {}, { taints: [{ key: 'dedicated', value: 'db', effect: 'NoSchedule' }] });
  await addNode(cluster, 'cordoned', {}, { unschedulable: true });
  await cluster.create(pods, 'default', podDocument('web', requesting('1')));
  const why = await cluster.until(() => condition(podOf(cluster, 'web')));
  const message = '0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.'
    + ' preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.';
  assert.is(why.message, message);
  assert.is(why.reason, 'Unschedulable');
  const event = await cluster.until(() => cluster.events()[0]);
  assert.equal([event.type, event.reason, event.message], ['Warning', 'FailedScheduling', message]);
  await cluster.registry.modify(nodes, '', 'cordoned', (node) => ({ ...node, spec: { ...node.spec, unschedulable: false } }));
  await cluster.until(() => podOf(cluster, 'web').spec.nodeName === 'cordoned');
  assert.is(condition(podOf(cluster, 'web'))?.status, 'True');
}));

test('without nodes it waits for one', () => withScheduler(async (cluster) => {
  await cluster.create(pods, 'default', podDocument('web'));
  assert.is((await cluster.until(() => condition(podOf(cluster, 'web')))).message, 'no nodes available to schedule pods');
  await addNode(cluster, 'a');
  await cluster.until(() => podOf(cluster, 'web').spec.nodeName === 'a');
}));

test('waits for room and takes what a pod leaves', () => withScheduler(async (cluster) => {
  await addNode(cluster, 'a', { cpu: '1' });
  for (const name of ['one', 'two', 'three']) await cluster.create(pods, 'default', podDocument(name, requesting('600m')));
  await cluster.until(() => podOf(cluster, 'one').spec.nodeName && condition(podOf(cluster, 'two')) && condition(podOf(cluster, 'three')));
  await cluster.registry.delete(pods, 'default', 'one', { gracePeriodSeconds: 0 });
  await cluster.until(() => podOf(cluster, 'two').spec.nodeName === 'a');
  await cluster.settle();
  assert.is(podOf(cluster, 'three').spec.nodeName, undefined);
}));

test('spreads the pods of a controller and keeps host ports apart', () => withScheduler(async (cluster) => {
  for (const name of ['a', 'b', 'c']) await addNode(cluster, name);
  const spec = { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort: 8080 }] }] };
  for (let index = 0; index < 4; index++) await cluster.create(pods, 'default', podDocument(`p${index}`, spec, { labels: { app: 'web' } }));
  await cluster.until(() => cluster.pods().filter((pod) => pod.spec.nodeName).length === 3 && cluster.pods().some((pod) => condition(pod)?.status === 'False'));
  assert.is(new Set(cluster.pods().flatMap((pod) => pod.spec.nodeName ?? [])).size, 3);
  assert.match(cluster.pods().map((pod) => condition(pod)?.message).join(), "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.");
}));

test('heeds node selectors, affinity and tolerations', () => withScheduler(async (cluster) => {
  await addNode(cluster, 'a');
  await addNode(cluster, 'b', {}, {}, { disk: 'ssd' });
  await addNode(cluster, 'c', {}, { taints: [{ key: 'k', effect: 'NoSchedule' }] }, { zone: 'z1' });
  await cluster.create(pods, 'default', podDocument('selects', { nodeSelector: { disk: 'ssd' } }));
  const terms = { nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator: 'In', values: ['z1'] }] }] };
  await cluster.create(pods, 'default', podDocument('tolerates', {
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } }, tolerations: [{ key: 'k', operator: 'Exists' }],
  }));
  await cluster.create(pods, 'default', podDocument('nowhere', { nodeSelector: { disk: 'tape' } }));
  await cluster.until(() => podOf(cluster, 'selects').spec.nodeName === 'b' && podOf(cluster, 'tolerates').spec.nodeName === 'c' && condition(podOf(cluster, 'nowhere')));
  assert.match(condition(podOf(cluster, 'nowhere'))?.message ?? '', "0/3 nodes are available: 1 node(s) had untolerated taint {k: }, 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.");
}));

test('leaves gated pods, other schedulers\' pods and ending pods alone', () => withScheduler(async (cluster) => {
  await addNode(cluster, 'a');
  await cluster.create(pods, 'default', podDocument('other', { schedulerName: 'mine' }));
  await cluster.create(pods, 'default', podDocument('gated', { schedulingGates: [{ name: 'wait' }] }));
  await cluster.create(pods, 'default', podDocument('free'));
  await cluster.until(() => podOf(cluster, 'free').spec.nodeName);
  await cluster.settle();
  assert.is(podOf(cluster, 'other').spec.nodeName, undefined);
  assert.is(podOf(cluster, 'gated').spec.nodeName, undefined);
  await cluster.registry.modify(pods, 'default', 'gated', (pod) => { delete pod.spec.schedulingGates; return pod; });
  await cluster.until(() => podOf(cluster, 'gated').spec.nodeName === 'a');
}));

test('higher priority goes first', () => withScheduler(async (cluster) => {
  await cluster.create(pods, 'default', podDocument('low', requesting('600m', { priority: 1 })));
  await cluster.create(pods, 'default', podDocument('high', requesting('700m', { priority: 10 })));
  await cluster.until(() => condition(podOf(cluster, 'low')) && condition(podOf(cluster, 'high')));
  await addNode(cluster, 'a', { cpu: '1' });
  await cluster.until(() => podOf(cluster, 'high').spec.nodeName === 'a');
  await cluster.settle();
  assert.is(podOf(cluster, 'low').spec.nodeName, undefined);
}));

test.run();
