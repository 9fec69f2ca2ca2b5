import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { persistentVolumeClaims } from '../../../shared/kinds/persistentvolumeclaim.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { decodeMessage, encodeMessage, isControl, itemKey, type Item, type Message } from '../../../shared/protocol.ts';
import { LinkedCluster } from '../../fakes/cluster-link.ts';
import { makeLink } from '../../fakes/link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';

const test = suite('mixed versions');

interface Told { readonly name: string; readonly reason: string; readonly message: string }

async function startedCluster(): Promise<{ cluster: LinkedCluster; told: Told[] }> {
  const cluster = new LinkedCluster();
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.registry.create(configMaps, 'default', { metadata: { name: 'settings' }, data: { a: '1' } });
  await cluster.registry.create(persistentVolumeClaims, 'default', { metadata: { name: 'data' }, spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } });
  const told: Told[] = [];
  await cluster.startMaster({ recorder: { event: (regarding, _type, reason, message) => { told.push({ name: 'metadata' in regarding ? regarding.metadata.name ?? '' : '', reason, message }); } } });
  return { cluster, told };
}

const podOf = (name: string, claim?: string): object => ({
  metadata: { name },
  spec: {
    nodeName: 'n1', containers: [{ name: 'web', image: 'nginx', envFrom: [{ configMapRef: { name: 'settings' } }] }],
    ...(claim ? { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: claim } }] } : {}),
  },
});

/** An agent of before claims: says so by saying nothing, and ends its session at the first item that it does not know. */
function startOldAgent(cluster: LinkedCluster) {
  const state = new MemoryState();
  const { ends } = makeLink({ clock: cluster.clock });
  const got: Message<'master'>[] = [];
  let parts: Item[] = [];
  const take = ({ epoch, from, revision, items, removed, more }: Extract<Message<'master'>, { name: 'sync' }>['payload']): void => {
    parts.push(...items);
    if (more) return;
    void state.apply({ epoch, revision, complete: from === 0, items: parts, removed }).then(() => ends[0].send(encodeMessage('ack', { epoch, revision, items: state.items.size })));
    parts = [];
  };
  ends[0].listen({
    frame: (bytes) => {
      if (!isControl(bytes)) return;
      const message = decodeMessage(bytes, 'master');
      got.push(message);
      if (message.name === 'sync') take(message.payload);
    },
    end: () => {},
  });
  cluster.hub.accept('n1', ends[1]);
  ends[0].send(encodeMessage('hello', { protocol: 1, agentVersion: '0.1.0', node: 'n1', bootId: 'b', epoch: '', revision: 0, items: 0 }));
  return { state, got, stop: () => { ends[0].destroy(); } };
}

test('an agent of before claims is sent all but them, and pods that need one say why they wait until it is upgraded', async () => {
  const { cluster, told } = await startedCluster();
  const { registry, clock } = cluster;
  for (const [name, claim] of [['plain', undefined], ['stored', 'data'], ['going', 'data']] as const) await registry.create(pods, 'default', podOf(name, claim));
  const old = startOldAgent(cluster);
  assert.ok(await clock.pass(5000, () => old.state.items.size === 2));
  assert.equal([...old.state.items.keys()], ['configMap/default/settings', 'pod/default/plain']);
  const message = 'agent 0.1.0 on node "n1" is too old for persistent volume claims: upgrade it';
  const condition = () => registry.find(pods, 'default', 'stored')?.status.conditions?.find(({ type }) => type === 'PodReadyToStartContainers');
  assert.ok(await clock.pass(1000, () => condition()?.message === message));
  assert.equal([condition()?.status, condition()?.reason], ['False', 'AgentTooOld']);
  assert.ok(told.some(({ name, reason, message: said }) => name === 'stored' && reason === 'AgentTooOld' && said === message));
  assert.is(told.some(({ name }) => name === 'plain'), false);

  await registry.create(pods, 'default', podOf('late', 'data'));
  await registry.create(pods, 'default', podOf('late-plain'));
  assert.ok(await clock.pass(1000, () => old.state.items.has('pod/default/late-plain')));
  assert.is(old.state.items.has('pod/default/late'), false);
  assert.ok(told.some(({ name }) => name === 'late'));
  await registry.delete(pods, 'default', 'going');
  assert.ok(await clock.pass(2000, () => registry.find(pods, 'default', 'going') === undefined), 'what its agent never had goes at once');
  assert.throws(() => cluster.hub.openStream('n1', { type: 'removeVolume', volume: 'v', path: '/x' }), /the agent of node "n1" \(0\.1\.0\) is too old for it/);
  assert.is(old.got.filter(({ name }) => name === 'bye').length, 0);
  assert.is(old.got.filter(({ name, payload }) => name === 'sync' && (payload as { from: number }).from === 0).length, 1, 'its count is as expected: no snapshot again and again');
  old.stop();
  await clock.pass(100);

  const agent = cluster.startAgent('n1', old.state);
  assert.ok(await clock.pass(5000, () => old.state.items.has('claim/default/data') && old.state.items.has('pod/default/stored') && old.state.items.has('pod/default/late')));
  await agent.stop();
  await cluster.stopMaster();
});

test('a pod that has begun stays with an agent that was rolled back', async () => {
  const { cluster, told } = await startedCluster();
  const { registry, clock } = cluster;
  await registry.create(pods, 'default', podOf('stored', 'data'));
  await registry.modify(pods, 'default', 'stored', (current) => { current.status = { phase: 'Running', startTime: '2026-01-02T03:04:05Z' }; return current; }, { subresource: 'status' });
  const old = startOldAgent(cluster);
  assert.ok(await clock.pass(5000, () => old.state.items.has('pod/default/stored')));
  assert.is(old.state.items.has('claim/default/data'), false);
  assert.equal(told, []);
  old.stop();
  await cluster.stopMaster();
});

test('an agent whose state another version brought up to date asks for all of it, once', async () => {
  const { cluster } = await startedCluster();
  const { registry, clock } = cluster;
  await registry.create(pods, 'default', podOf('stored', 'data'));
  const state = new MemoryState();
  const snapshots = (): number => state.applied.filter(({ complete }) => complete).length;
  for (const [knows, expected] of [[undefined, 1], [undefined, 1], [['claim'], 2], [undefined, 2]] as const) {
    if (knows) await state.note('knows', knows);
    const agent = cluster.startAgent('n1', state);
    await clock.pass(3000);
    assert.is(snapshots(), expected);
    assert.equal([...state.items.values()].map(itemKey).sort(), ['claim/default/data', 'configMap/default/settings', 'pod/default/stored']);
    await agent.stop();
  }
  await cluster.stopMaster();
});

test.run();
