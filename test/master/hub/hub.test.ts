import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { endpointSlices } from '../../../shared/kinds/endpointslice.ts';
import { leases } from '../../../shared/kinds/lease.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { secrets } from '../../../shared/kinds/secret.ts';
import { services } from '../../../shared/kinds/service.ts';
import { createLog } from '../../../shared/log.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';

const test = suite('hub');
const log = createLog({ component: 'test', level: process.env['LOG'] === 'debug' ? 'debug' : 'error' });

async function startedCluster(): Promise<LinkedCluster> {
  const cluster = new LinkedCluster({ log });
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster();
  return cluster;
}

const webPod = (name: string, node?: string): object => ({
  metadata: { name },
  spec: {
    ...(node ? { nodeName: node } : {}),
    containers: [{ name: 'web', image: 'nginx', envFrom: [{ configMapRef: { name: 'settings' } }] }],
    volumes: [{ name: 'tls', secret: { secretName: 'tls' } }],
  },
});

const slice = (addresses: readonly string[], ready = true): object => ({
  metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } }, addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints: addresses.map((address, index) => ({ addresses: [address], conditions: { ready }, nodeName: 'n1', targetRef: { kind: 'Pod', name: `web-${index}` } })),
});

test('an agent gets a snapshot, then what changes, and its reports are written', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  await registry.create(configMaps, 'default', { metadata: { name: 'settings' }, data: { a: '1' } });
  await registry.create(secrets, 'default', { metadata: { name: 'tls' }, data: {} });
  await registry.create(secrets, 'default', { metadata: { name: 'other' }, data: {} });
  await registry.create(services, 'default', { metadata: { name: 'web' }, spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }] } });
  const { object: pod } = await registry.create(pods, 'default', webPod('web-1', 'n1'));
  await registry.create(pods, 'default', webPod('elsewhere', 'n2'));
  const state = new MemoryState();
  const agent = cluster.startAgent('n1', state);
  assert.ok(await clock.pass(5000, () => state.items.size === 4));
  assert.equal([...state.items.keys()], ['service/default/web', 'configMap/default/settings', 'secret/default/tls', 'pod/default/web-1']);

  agent.session.setNode(nodeOf('n1'));
  agent.session.report({ namespace: 'default', name: 'web-1', uid: pod.metadata.uid ?? '', gone: false, status: { phase: 'Running' } });
  assert.ok(await clock.pass(1000, () => registry.find(pods, 'default', 'web-1')?.status.phase === 'Running'));
  assert.ok(await clock.pass(1000, () => registry.find(nodes, '', 'n1')?.status.conditions?.[0]?.status === 'True'));
  assert.ok(await clock.pass(30_000, () => registry.find(leases, 'kube-node-lease', 'n1') !== undefined));

  const applied = state.applied.length;
  await registry.create(endpointSlices, 'default', slice(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4']));
  assert.ok(await clock.pass(1000, () => state.items.has('endpoints/default/web-1')));
  await registry.update(endpointSlices, 'default', 'web-1', slice(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.5']));
  assert.ok(await clock.pass(1000, () => JSON.stringify(state.items.get('endpoints/default/web-1')).includes('10.0.0.5')));
  await registry.modify(configMaps, 'default', 'settings', (current) => Object.assign(current, { data: { a: '2' } }));
  assert.ok(await clock.pass(1000, () => JSON.stringify(state.items.get('configMap/default/settings')).includes('"2"')));
  assert.is(state.applied.length, applied + 3, 'one batch per change, and none for what does not concern the node');

  await registry.delete(pods, 'default', 'web-1');
  assert.ok(await clock.pass(1000, () => JSON.stringify(state.items.get('pod/default/web-1')).includes('deletionTimestamp')));
  agent.session.report({ namespace: 'default', name: 'web-1', uid: pod.metadata.uid ?? '', gone: true, status: { phase: 'Failed' } });
  assert.ok(await clock.pass(1000, () => !registry.find(pods, 'default', 'web-1')));
  assert.ok(await clock.pass(1000, () => state.items.size === 2), 'the pod goes, and what only it needed');
  await agent.stop();
  await cluster.stopMaster();
});

test.run();
