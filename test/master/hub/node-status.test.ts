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
  await writeNode(registry, silentLog, 'n1', reported('ssd'));
  const { metadata, spec, status } = registry.get(nodes, '', 'n1').object;
  assert.equal(metadata.labels, { zone: 'mine', disk: 'ssd', 'kubernetes.io/hostname': 'n1' });
  assert.equal(spec?.taints, [taint]);
  assert.is(metadata.annotations?.['wherry.io/public-key'], 'x');
  assert.is(status.nodeInfo?.kubeletVersion, 'v1');

  await registry.modify(nodes, '', 'n1', (node) => { delete node.metadata.labels!['disk']; node.spec = { ...node.spec, taints: [] }; return node; });
  await writeNode(registry, silentLog, 'n1', reported('hdd'));
  const later = registry.get(nodes, '', 'n1').object;
  assert.equal(later.metadata.labels, { zone: 'mine', 'kubernetes.io/hostname': 'n1' }, 'afterwards they are their users\'');
  assert.equal(later.spec?.taints ?? [], []);
});

test.run();
