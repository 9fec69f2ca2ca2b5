import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nodes } from '../../../shared/kinds/node.ts';
import { silentLog } from '../../../shared/log.ts';
import { writeNode } from '../../../master/hub/node-status.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';

const test = suite('node reports');

const nodeInfo = { machineID: '', systemUUID: '', bootID: '', kernelVersion: '', osImage: '', containerRuntimeVersion: '', kubeletVersion: 'v1', kubeProxyVersion: '', operatingSystem: 'linux', architecture: 'amd64' };
const taint = { key: 'edge', value: 'yes', effect: 'NoSchedule' };

test('a Node that enrolment made gets the labels and taints to register with, once, and never those of others', async () => {
  const { registry } = new LinkedCluster();
  await registry.create(nodes, '', { metadata: { name: 'n1', labels: { zone: 'mine' }, annotations: { 'wherry.io/public-key': 'x' } } });
  const reported = (disk: string) => nodeOf('n1', { labels: { disk, zone: 'its', 'node-role.kubernetes.io/control-plane': '' }, spec: { taints: [taint] }, status: { nodeInfo } });
  await writeNode(registry, silentLog, 'n1', reported('ssd'), '2026-01-02T03:04:05Z');
  const { metadata, spec, status } = registry.get(nodes, '', 'n1').object;
  assert.equal(metadata.labels, { zone: 'mine', disk: 'ssd', 'kubernetes.io/hostname': 'n1' });
  assert.equal(spec?.taints, [taint]);
  assert.is(metadata.annotations?.['wherry.io/public-key'], 'x');
  assert.is(status.nodeInfo?.kubeletVersion, 'v1');

  await registry.modify(nodes, '', 'n1', (node) => { delete node.metadata.labels!['disk']; node.spec = { ...node.spec, taints: [] }; return node; });
  await writeNode(registry, silentLog, 'n1', reported('hdd'), '2026-01-02T03:04:05Z');
  const later = registry.get(nodes, '', 'n1').object;
  assert.equal(later.metadata.labels, { zone: 'mine', 'kubernetes.io/hostname': 'n1' }, 'afterwards they are their users\'');
  assert.equal(later.spec?.taints ?? [], []);
});

test('conditions have a time at which the node was heard, and one that stays the same costs no write', async () => {
  const { registry } = new LinkedCluster();
  const condition = { type: 'Ready', status: 'True', reason: 'KubeletReady', message: '', lastTransitionTime: '2026-01-02T03:00:00Z' };
  const report = (change: object, now: string): Promise<void> => writeNode(registry, silentLog, 'n1', nodeOf('n1', { status: { nodeInfo, conditions: [{ ...condition, ...change }] } }), now);
  const times = (): unknown => registry.get(nodes, '', 'n1').object.status.conditions?.map(({ lastHeartbeatTime }) => lastHeartbeatTime);
  await report({}, '2026-01-02T03:04:05Z');
  assert.equal(times(), ['2026-01-02T03:04:05Z']);
  const { revision } = registry.store;
  await report({}, '2026-01-02T03:09:00Z');
  assert.equal([times(), registry.store.revision], [['2026-01-02T03:04:05Z'], revision]);
  await report({ message: 'more' }, '2026-01-02T03:10:00Z');
  assert.equal(times(), ['2026-01-02T03:10:00Z']);
});

test('a node that starts anew, and one that becomes ready or ceases to be, are told of as the kubelet does', async () => {
  const { registry } = new LinkedCluster();
  const told: string[] = [];
  const report = (bootID: string, status: string): Promise<void> => writeNode(registry, silentLog, 'n1',
    nodeOf('n1', { status: { nodeInfo: { ...nodeInfo, bootID }, conditions: [{ type: 'Ready', status, reason: 'R', message: '' }] } }), '2026-01-02T03:04:05Z',
    (_, type, reason, message) => told.push(`${type} ${reason}: ${message}`));
  await report('one', 'False');
  await report('one', 'False');
  assert.equal(told, []);
  await report('one', 'True');
  await report('one', 'True');
  assert.equal(told.splice(0), ['Normal NodeReady: Node n1 status is now: NodeReady']);
  await report('two', 'True');
  assert.equal(told.splice(0), ['Warning Rebooted: Node n1 has been rebooted, boot id: two']);
  await report('two', 'False');
  assert.equal(told, ['Normal NodeNotReady: Node n1 status is now: NodeNotReady']);
});

test.run();
