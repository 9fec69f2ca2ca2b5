import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { leases } from '../../../shared/kinds/lease.ts';
import { nodes, type Node } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { toMicroTime, toTime } from '../../../shared/time.ts';
import { nodeLifecycle } from '../../../master/controllers/node-lifecycle.ts';
import { podGc } from '../../../master/controllers/pod-gc.ts';
import { isReady } from '../../../master/controllers/pod.ts';
import { Cluster, ManualClock, podDocument, ready } from './cluster.ts';

const test = suite('node lifecycle');

interface World { readonly cluster: Cluster; readonly clock: ManualClock }

async function withNodes(names: readonly string[], run: (world: World) => Promise<void>): Promise<void> {
  const clock = new ManualClock();
  const cluster = new Cluster({ clock });
  const world = { cluster, clock };
  await cluster.start([nodeLifecycle(), podGc()]);
  for (const name of names) {
    await cluster.create(nodes, '', { metadata: { name } });
    await beat(world, name);
    await cluster.until(() => taints(world, name) === '');
  }
  try {
    await run(world);
  } finally {
    await cluster.stop();
  }
}

/** A node's report of itself. */
async function beat({ cluster, clock }: World, name: string, status = 'True'): Promise<void> {
  const now = toTime(clock.now());
  await cluster.registry.modify(nodes, '', name, (node) => ({ ...node, status: { ...node.status, conditions: [{ type: 'Ready', status, reason: 'KubeletReady', lastHeartbeatTime: now, lastTransitionTime: now }] } }), { subresource: 'status' });
}

const nodeOf = ({ cluster }: World, name: string): Node => cluster.registry.get(nodes, '', name).object;
const statusOf = (world: World, name: string): string | undefined => nodeOf(world, name).status.conditions?.find(({ type }) => type === 'Ready')?.status;
const taints = (world: World, name: string): string => (nodeOf(world, name).spec.taints ?? []).map(({ key, effect }) => `${key.split('/')[1]}:${effect}`).sort().join(' ');

/** Moves time on while some nodes go on reporting. */
async function pass(world: World, seconds: number, alive: readonly string[]): Promise<void> {
  for (let second = 0; second < seconds; second += 5) {
    world.clock.advance(Math.min(5, seconds - second) * 1000);
    for (const name of alive) await beat(world, name);
    await world.cluster.settle(10);
  }
}

test('a silent node becomes unknown after the grace, and comes back', () => withNodes(['a', 'b'], async (world) => {
  const { cluster } = world;
  const pod = await cluster.create(pods, 'default', podDocument('p', { nodeName: 'a' }));
  await cluster.report(pod, ready('10.0.0.1'));
  await pass(world, 38, ['b']);
  assert.is(statusOf(world, 'a'), 'True');
  await pass(world, 5, ['b']);
  await cluster.until(() => taints(world, 'a') === 'unreachable:NoExecute unreachable:NoSchedule');
  const condition = nodeOf(world, 'a').status.conditions!.find(({ type }) => type === 'Ready')!;
  assert.equal([condition.status, condition.reason, condition.message], ['Unknown', 'NodeStatusUnknown', 'Kubelet stopped posting node status.']);
  const silentMs = Date.parse(condition.lastTransitionTime!) - Date.parse(condition.lastHeartbeatTime!);
  assert.ok(silentMs >= 39_000 && silentMs <= 43_000, `last heard of ${silentMs} ms before`);
  assert.is(nodeOf(world, 'a').status.conditions!.find(({ type }) => type === 'DiskPressure')?.reason, 'NodeStatusNeverUpdated');
  assert.ok(nodeOf(world, 'a').spec.taints!.every(({ timeAdded }) => timeAdded));
  await cluster.until(() => !isReady(cluster.registry.get(pods, 'default', 'p').object));
  assert.is(taints(world, 'b'), '');
  await beat(world, 'a');
  await cluster.until(() => taints(world, 'a') === '');
}));

test('a pod is not marked by a look that its node\'s return has overtaken', () => withNodes(['a', 'b'], async (world) => {
  const { cluster } = world;
  const { registry } = cluster;
  const pod = await cluster.create(pods, 'default', podDocument('p', { nodeName: 'a' }));
  await cluster.report(pod, ready('10.0.0.1'));
  const { modify } = registry;
  let overtaken = 0;
  // The node reports between the controller's look at it and its write to the pod.
  registry.modify = (async (...args: Parameters<typeof modify>) => {
    const [kind, , name] = args as unknown as [{ prefix: string }, string, string];
    if (kind.prefix === pods.prefix && name === 'p' && statusOf(world, 'a') === 'Unknown') {
      overtaken++;
      registry.modify = modify;
      await beat(world, 'a');
    }
    return modify.apply(registry, args);
  }) as typeof modify;
  await pass(world, 43, ['b']);
  await cluster.until(() => overtaken === 1 && taints(world, 'a') === '');
  await cluster.settle();
  assert.ok(isReady(registry.get(pods, 'default', 'p').object));
}));

test('a renewed lease or a word from the hub is a sign of life', () => withNodes(['a', 'b'], async (world) => {
  const { cluster, clock } = world;
  await cluster.create(leases, 'kube-node-lease', { metadata: { name: 'a' }, spec: { renewTime: toMicroTime(clock.now()) } });
  for (let second = 0; second < 100; second += 20) {
    await pass(world, 20, ['b']);
    await cluster.registry.modify(leases, 'kube-node-lease', 'a', (lease) => ({ ...lease, spec: { ...lease.spec, renewTime: toMicroTime(clock.now()) } }));
  }
  assert.is(statusOf(world, 'a'), 'True');
  await pass(world, 45, ['b']);
  await cluster.until(() => statusOf(world, 'a') === 'Unknown');
}));

test('pods leave an unreachable node when their toleration ends', () => withNodes(['a', 'b'], async (world) => {
  const { cluster } = world;
  const tolerating = (tolerationSeconds?: number) => ({ nodeName: 'a', tolerations: [{ key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', ...(tolerationSeconds ? { tolerationSeconds } : {}) }] });
  await cluster.create(pods, 'default', podDocument('at-once', { nodeName: 'a' }));
  await cluster.create(pods, 'default', podDocument('later', tolerating(60)));
  await cluster.create(pods, 'default', podDocument('never', tolerating()));
  await pass(world, 42, ['b']);
  const going = (name: string) => cluster.registry.get(pods, 'default', name).object.metadata.deletionTimestamp;
  await cluster.until(() => going('at-once'));
  assert.is(going('later'), undefined);
  assert.is(cluster.events().find(({ reason }) => reason === 'TaintManagerEviction')?.message, 'Marking for deletion Pod default/at-once');
  await pass(world, 65, ['b']);
  await cluster.until(() => going('later'));
  assert.is(going('never'), undefined);
}));

test('while no node is ready nothing is driven away', () => withNodes(['a', 'b'], async (world) => {
  const { cluster } = world;
  await cluster.create(pods, 'default', podDocument('p', { nodeName: 'a' }));
  await pass(world, 50, []);
  await cluster.until(() => taints(world, 'a') === 'unreachable:NoSchedule' && taints(world, 'b') === 'unreachable:NoSchedule');
  assert.is(cluster.registry.get(pods, 'default', 'p').object.metadata.deletionTimestamp, undefined);
  await beat(world, 'b');
  await cluster.until(() => taints(world, 'a') === 'unreachable:NoExecute unreachable:NoSchedule' && taints(world, 'b') === '');
}));

test('a restarted master gives every node its grace', () => withNodes(['a', 'b'], async ({ cluster, clock }) => {
  await cluster.stop();
  clock.advance(600_000);
  const second = new Cluster({ clock, store: cluster.registry.store });
  await second.start([nodeLifecycle()]);
  await second.settle();
  const world = { cluster: second, clock };
  await pass(world, 35, ['b']);
  assert.is(statusOf(world, 'a'), 'True');
  await pass(world, 10, ['b']);
  await second.until(() => statusOf(world, 'a') === 'Unknown');
  await second.stop();
}));

test('cordons and pressure become taints', () => withNodes(['a'], async (world) => {
  await world.cluster.registry.modify(nodes, '', 'a', (node) => ({ ...node, spec: { ...node.spec, unschedulable: true } }));
  await world.cluster.until(() => taints(world, 'a') === 'unschedulable:NoSchedule');
}));

test('pods of a deleted node go after a while', () => withNodes(['a', 'b'], async (world) => {
  const { cluster } = world;
  await cluster.create(pods, 'default', podDocument('p', { nodeName: 'a' }));
  await cluster.registry.delete(nodes, '', 'a');
  await pass(world, 35, ['b']);
  assert.is(cluster.pods().length, 1);
  await pass(world, 10, ['b']);
  await cluster.until(() => cluster.pods().length === 0);
}));

test.run();
