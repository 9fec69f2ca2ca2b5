import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import type { ByteStream } from '../../../shared/byte-stream.ts';
import { endpointSlices } from '../../../shared/kinds/endpointslice.ts';
import { events } from '../../../shared/kinds/event.ts';
import { leases } from '../../../shared/kinds/lease.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes, type Taint } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { secrets } from '../../../shared/kinds/secret.ts';
import { services } from '../../../shared/kinds/service.ts';
import { createLog } from '../../../shared/log.ts';
import { decodeMessage, encodeMessage } from '../../../shared/protocol.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import type { StatusError } from '../../../shared/status.ts';
import { PodLogs } from '../../../master/hub/pod-logs.ts';
import { taintsForAgent } from '../../../master/hub/session.ts';
import { makeLink } from '../../fakes/link.ts';
import { seeded } from '../../property/random.ts';
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

/** Bytes and names of control frames that went to a node since the last call. */
function sentTo(cluster: LinkedCluster, node: string): { names: string[]; bytes: number } {
  const frames = cluster.frames.splice(0).filter((entry) => entry.node === node && entry.from === 1).map(({ frame }) => frame);
  return { names: frames.map((frame) => (frame[0] === 0 ? decodeMessage(frame, 'master').name : 'stream')), bytes: frames.reduce((sum, frame) => sum + frame.length, 0) };
}

test('after a reconnect only what changed is sent, also by a master that was restarted', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  for (const name of ['settings', 'more']) await registry.create(configMaps, 'default', { metadata: { name }, data: { a: 'x'.repeat(30_000) } });
  for (let i = 0; i < 50; i++) await registry.create(services, 'default', { metadata: { name: `web-${i}` }, spec: { clusterIP: `10.96.0.${i}`, ports: [{ port: 80 }] } });
  const uids: string[] = [];
  for (let i = 0; i < 10; i++) uids.push((await registry.create(pods, 'default', webPod(`web-${i}`, 'n1'))).object.metadata.uid!);
  const state = new MemoryState();
  let agent = cluster.startAgent('n1', state);
  agent.session.setNode(nodeOf('n1'));
  assert.ok(await clock.pass(5000, () => state.items.size === 61));
  for (const [i, uid] of uids.entries()) agent.session.report({ namespace: 'default', name: `web-${i}`, uid, gone: false, status: { phase: 'Running', message: 'x' } });
  assert.ok(await clock.pass(5000, () => agent.session.stats.pods === 0));
  for (const restart of [false, true]) {
    await agent.stop();
    if (restart) { await cluster.stopMaster(); await cluster.startMaster(); }
    await clock.pass(1000);
    sentTo(cluster, 'n1');
    await registry.modify(services, 'default', 'web-7', (current) => Object.assign(current, { metadata: { ...current.metadata, labels: { restart: String(restart) } } }));
    agent = cluster.startAgent('n1', state);
    assert.ok(await clock.pass(20_000, () => state.held.revision >= registry.store.revision - 1 && cluster.hub.stats().unacknowledged === 0));
    await clock.pass(1000);
    const { names, bytes } = sentTo(cluster, 'n1');
    assert.equal(names.filter((name) => name === 'sync'), ['sync'], names.join(' '));
    assert.ok(bytes < 800, `${bytes} bytes`);
  }
  await agent.stop();
  await cluster.stopMaster();
});

test('one endpoint of many reaches every agent in less than 200 bytes, as one frame for all', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  await registry.create(services, 'default', { metadata: { name: 'web' }, spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }] } });
  const addresses = Array.from({ length: 10 }, (_, i) => `10.244.3.${i}`);
  await registry.create(endpointSlices, 'default', slice(addresses));
  const agents = ['n1', 'n2', 'n3'].map((node) => ({ node, state: new MemoryState() })).map(({ node, state }) => ({ node, state, ...cluster.startAgent(node, state) }));
  assert.ok(await clock.pass(5000, () => agents.every(({ state }) => state.items.size === 2)));
  await clock.pass(1000);
  cluster.frames.splice(0);
  await registry.update(endpointSlices, 'default', 'web-1', slice([...addresses.slice(0, 9), '10.244.3.77']));
  assert.ok(await clock.pass(1000, () => agents.every(({ state }) => JSON.stringify([...state.items.values()]).includes('10.244.3.77'))));
  const frames = cluster.frames.filter(({ from, frame }) => from === 1 && decodeMessage(frame, 'master').name !== 'heartbeatAck');
  assert.is(frames.length, 3);
  assert.ok(frames.every(({ frame }) => frame.length < 200 && Buffer.from(frame).equals(frames[0]!.frame)));
  for (const { stop } of agents) await stop();
  await cluster.stopMaster();
});

test('an agent is told of its node\'s NoExecute taints, and again when they change', async () => {
  const cluster = new LinkedCluster({ log });
  const { registry, clock } = cluster;
  for (const name of ['default', 'kube-node-lease']) await registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster({
    settings: (name) => ({ serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '', ...taintsForAgent(registry.find(nodes, '', name)?.spec?.taints) }),
  });
  const told: unknown[] = [];
  const agent = cluster.startAgent('n1', new MemoryState(), { onWelcome: ({ nodeTaints }) => { told.push(nodeTaints); } });
  agent.session.setNode(nodeOf('n1'));
  assert.ok(await clock.pass(5000, () => registry.find(nodes, '', 'n1')?.status.addresses !== undefined));
  const taint = (taints: Taint[]) => registry.modify(nodes, '', 'n1', (current) => ({ ...current, spec: { ...current.spec, taints } }));
  await taint([{ key: 'b', effect: 'NoExecute', value: 'x', timeAdded: '2026-01-02T03:04:05Z' }, { key: 'soft', effect: 'NoSchedule' }, { key: 'a', effect: 'NoExecute' }]);
  assert.ok(await clock.pass(5000, () => told.length === 2));
  await taint([{ key: 'soft', effect: 'NoSchedule' }]);
  assert.ok(await clock.pass(5000, () => told.length === 3));
  assert.equal(told, [undefined, [{ key: 'a', effect: 'NoExecute' }, { key: 'b', value: 'x', effect: 'NoExecute' }], undefined]);
  await agent.stop();
  await cluster.stopMaster();
});

test('an agent registers with labels and taints, and later owns neither taints nor the labels of users', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  const agent = cluster.startAgent('n1', new MemoryState());
  const taints = [{ key: 'edge', effect: 'NoSchedule', value: 'yes' }];
  agent.session.setNode(nodeOf('n1', { labels: { site: 'harbour', 'node-role.kubernetes.io/control-plane': '', 'topology.kubernetes.io/zone': 'a' }, spec: { taints, podCIDR: '10.9.0.0/24', unschedulable: true } }));
  assert.ok(await clock.pass(5000, () => registry.find(nodes, '', 'n1')?.status.addresses !== undefined));
  const node = registry.find(nodes, '', 'n1')!;
  assert.equal(node.metadata.labels, { 'kubernetes.io/hostname': 'n1', site: 'harbour', 'topology.kubernetes.io/zone': 'a' });
  assert.equal(node.spec, { taints });
  await registry.modify(nodes, '', 'n1', (current) => {
    current.metadata.labels = { ...current.metadata.labels, site: 'moved', own: 'yes' };
    current.spec = { unschedulable: true };
    return current;
  });
  agent.session.setNode(nodeOf('n1', { labels: { site: 'harbour', 'topology.kubernetes.io/region': 'r' }, spec: { taints }, status: { addresses: [{ type: 'InternalIP', address: '192.0.2.9' }] } }));
  assert.ok(await clock.pass(5000, () => registry.find(nodes, '', 'n1')?.status.addresses?.[0]?.address === '192.0.2.9'));
  const later = registry.find(nodes, '', 'n1')!;
  assert.equal(later.metadata.labels, { 'kubernetes.io/hostname': 'n1', site: 'moved', own: 'yes', 'topology.kubernetes.io/region': 'r' });
  assert.equal(later.spec, { unschedulable: true });
  await registry.delete(nodes, '', 'n1');
  assert.ok(await clock.pass(15_000, () => registry.find(nodes, '', 'n1')?.status.addresses !== undefined), 'a deleted node that is connected comes back');
  await agent.stop();
  await cluster.stopMaster();
});

test('a node written off is asked again, and a lost agent is noticed within its grace', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  const agent = cluster.startAgent('n1', new MemoryState(), { random: () => 0.999, backoff: { baseMs: 600_000, maxMs: 600_000, healthyMs: 0 } });
  agent.session.setNode(nodeOf('n1'));
  const ready = (): string | undefined => registry.find(nodes, '', 'n1')?.status.conditions?.find(({ type }) => type === 'Ready')?.status;
  assert.ok(await clock.pass(5000, () => ready() === 'True'));
  await clock.pass(10_000);
  await registry.modify(nodes, '', 'n1', (current) => { current.status.conditions![0]!.status = 'Unknown'; return current; }, { subresource: 'status' });
  assert.ok(await clock.pass(10_000, () => ready() === 'True'));
  const cutAt = clock.monotonic();
  cluster.links.get('n1')!.cut();
  assert.ok(await clock.pass(60_000, () => !cluster.hub.isConnected('n1')));
  assert.ok(clock.monotonic() - cluster.hub.lastSeen('n1')! <= 41_000);
  assert.ok(cluster.hub.lastSeen('n1')! <= cutAt + 100);
  await agent.stop();
  await cluster.stopMaster();
});

test('a newer session of a node replaces the older one', async () => {
  const cluster = await startedCluster();
  const [a, b] = [new MemoryState(), new MemoryState()];
  const first = cluster.startAgent('n1', a, { backoff: { baseMs: 60_000, maxMs: 60_000, healthyMs: 0 } });
  assert.ok(await cluster.clock.pass(5000, () => cluster.hub.isConnected('n1')));
  const second = cluster.startAgent('n1', b);
  await cluster.clock.pass(1000);
  assert.is(cluster.hub.stats().sessions, 1);
  await first.stop();
  await second.stop();
  await cluster.stopMaster();
});

test('events become objects that count', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  const { object: pod } = await registry.create(pods, 'default', webPod('web-1', 'n1'));
  await registry.create(pods, 'default', webPod('elsewhere', 'n2'));
  const agent = cluster.startAgent('n1', new MemoryState());
  const report = (name: string, count: number): void => agent.session.event({
    namespace: 'default', key: `${name}/BackOff`, involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name, uid: pod.metadata.uid! },
    reason: 'BackOff', message: 'Back-off restarting', type: 'Warning', component: 'kubelet', count, firstMs: 1_000_000, lastMs: 1_000_000 + count * 1000,
  });
  report('web-1', 1);
  report('elsewhere', 1);
  assert.ok(await clock.pass(5000, () => registry.all(events).length === 1));
  report('web-1', 7);
  assert.ok(await clock.pass(5000, () => registry.all(events)[0]?.count === 7));
  const [event] = registry.all(events);
  assert.equal([event!.firstTimestamp, event!.lastTimestamp, event!.source.host, registry.all(events).length], ['1970-01-01T00:16:40Z', '1970-01-01T00:16:47Z', 'n1', 1]);
  await agent.stop();
  await cluster.stopMaster();
});

test('events are named so that a list has them in order', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  const { object: pod } = await registry.create(pods, 'default', webPod('web-1', 'n1'));
  const agent = cluster.startAgent('n1', new MemoryState());
  const reasons = ['Pulling', 'Pulled', 'Created', 'Started', 'Unhealthy', 'Killing'];
  reasons.forEach((reason, index) => agent.session.event({
    namespace: 'default', key: `web-1/${reason}`, involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'web-1', uid: pod.metadata.uid! },
    reason, message: reason, type: 'Normal', component: 'kubelet', count: 1, firstMs: 1_795_263_908_001 + index, lastMs: 1_795_263_908_001 + index,
  }));
  assert.ok(await clock.pass(5000, () => registry.all(events).length === reasons.length));
  const named = [...registry.all(events)].sort((a, b) => (a.metadata.name! < b.metadata.name! ? -1 : 1));
  assert.equal(named.map(({ reason }) => reason), reasons);
  assert.match(named[0]!.metadata.name!, /^web-1\.18ea0f[0-9a-f]{10}$/);
  await agent.stop();
  await cluster.stopMaster();
});

test('logs come from the node of the pod, and what is wrong is said', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  await registry.create(pods, 'default', webPod('web-1', 'n1'));
  await registry.create(pods, 'default', { metadata: { name: 'two' }, spec: { nodeName: 'n1', containers: [{ name: 'a', image: 'i' }, { name: 'b', image: 'i' }] } });
  await registry.create(pods, 'default', webPod('away', 'n9'));
  await registry.create(pods, 'default', webPod('unbound'));
  const aborted: string[] = [];
  const agent = cluster.startAgent('n1', new MemoryState(), {
    async *openStream(request, signal) {
      if (request.type !== 'logs') throw new Error(`no ${request.type} here`);
      if (request.previous) throw Object.assign(new Error(`previous terminated container "${request.container}" in pod "${request.pod}" not found`), { code: 400 });
      try {
        for (let i = 0; i < 100; i++) yield Buffer.from(`${i} `.padEnd(10_000, '.'));
        if (request.follow) await new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }); });
      } finally {
        if (request.follow) aborted.push(request.container);
      }
    },
  });
  assert.ok(await clock.pass(5000, () => cluster.hub.isConnected('n1')));
  const logs = new PodLogs({ registry, clock, openStream: (node, request) => cluster.hub.openStream(node, request) });
  const request = { container: '', follow: false, previous: false, timestamps: false };
  const whole = async (): Promise<number> => {
    let size = 0;
    for await (const bytes of await logs.open('default', 'web-1', request)) size += bytes.length;
    return size;
  };
  let size = 0;
  void whole().then((bytes) => { size = bytes; });
  assert.ok(await clock.pass(10_000, () => size === 1_000_000));

  const failure = async (name: string, more: object = {}): Promise<string> => {
    let text = '';
    logs.open('default', name, { ...request, ...more }).then(() => { text = 'opened'; }, (error: StatusError) => { text = `${error.code} ${error.message}`; });
    await clock.pass(5000, () => text !== '');
    return text;
  };
  assert.is(await failure('none'), '404 pods "none" not found');
  assert.is(await failure('two'), '400 a container name must be specified for pod two, choose one of: [a b]');
  assert.is(await failure('two', { container: 'c' }), '400 container c is not valid for pod two');
  assert.is(await failure('away'), '503 node "n9" is not connected');
  assert.is(await failure('unbound'), '400 pod unbound does not have a host assigned');
  assert.is(await failure('web-1', { previous: true }), '400 previous terminated container "web" in pod "web-1" not found');

  let opened: ByteStream | undefined;
  void logs.open('default', 'web-1', { ...request, follow: true }).then((stream) => { opened = stream; });
  assert.ok(await clock.pass(5000, () => opened !== undefined));
  opened!.reset(499, 'the client went away');
  assert.ok(await clock.pass(5000, () => aborted.length === 1), 'the agent stops reading when nobody listens');
  await agent.stop();
  await cluster.stopMaster();
});

test('a misbehaving agent harms only its own session', async () => {
  const cluster = await startedCluster();
  const { registry, clock } = cluster;
  const { object: other } = await registry.create(pods, 'default', webPod('other', 'n2'));
  const good = cluster.startAgent('n2', new MemoryState());
  await clock.pass(1000);
  const hello = encodeMessage('hello', { protocol: 1, agentVersion: 'x', node: 'n1', bootId: '', epoch: '', revision: 0 });
  const talk = async (...frames: Uint8Array[]): Promise<string[]> => {
    const { ends } = makeLink({ clock });
    const got: string[] = [];
    ends[0].listen({
      frame: (bytes) => { const message = decodeMessage(bytes, 'master'); got.push(message.name === 'bye' ? `bye ${message.payload.reason}` : message.name); },
      end: () => got.push('end'),
    });
    cluster.hub.accept('n1', ends[1]);
    for (const frame of frames) ends[0].send(frame);
    await clock.pass(3000);
    ends[0].destroy();
    await clock.pass(10);
    return got;
  };
  const last = (got: string[]): string => got.filter((name) => name !== 'end').at(-1) ?? '';
  assert.match(last(await talk(Buffer.from('GET / HTTP/1.1'))), /^bye stream data before hello/);
  assert.match(last(await talk(hello, Buffer.from([0, 200, 1]))), /^bye .*no control message/);
  assert.match(last(await talk(hello, Buffer.from([0, 0, 0xc1]))), /^bye message hello/);
  assert.match(last(await talk(hello, Buffer.alloc(0))), /^bye stream frame of 0 bytes/);
  assert.match(last(await talk(hello, hello)), /^bye hello in an open session/);
  assert.match(last(await talk(encodeMessage('heartbeat', {}))), /^bye heartbeat before hello/);
  assert.match(last(await talk(hello, encodeMessage('bye', { reason: '', retry: true }))), /^bye message bye is not for agent to send/);
  assert.match(last(await talk(hello, Buffer.from([1, 0, 0, 0, 9, 1]))), /^bye frame for stream 9/);
  assert.match(last(await talk(encodeMessage('hello', { protocol: 1, agentVersion: 'x', node: 'n2', bootId: '', epoch: '', revision: 0 }))), /certificate of "n1"/);
  for (let i = 0; i < 200; i++) await talkGarbage(cluster, hello, i);

  await talk(hello, encodeMessage('status', { seq: 1, pods: [{ namespace: 'default', name: 'other', uid: other.metadata.uid!, gone: true, status: { phase: 'Failed' } }] }));
  assert.is(registry.find(pods, 'default', 'other')?.status.phase, 'Pending', 'not its pod');
  const bound = await registry.create(pods, 'default', webPod('mine', 'n1'));
  await talk(hello, encodeMessage('status', { seq: 1, pods: [{ namespace: 'default', name: 'mine', uid: bound.object.metadata.uid!, gone: false, status: { phase: 'Nonsense' } }] }));
  assert.is(registry.find(pods, 'default', 'mine')?.status.phase, 'Pending');
  assert.ok(cluster.hub.isConnected('n2'), 'others go on');
  await good.stop();
  await cluster.stopMaster();
});

/** Sends random bytes after hello; only that nothing breaks is of interest. */
async function talkGarbage(cluster: LinkedCluster, hello: Uint8Array, seed: number): Promise<void> {
  const random = seeded(seed);
  const { ends } = makeLink({ clock: cluster.clock });
  ends[0].listen({ frame: () => {}, end: () => {} });
  cluster.hub.accept('n1', ends[1]);
  ends[0].send(hello);
  ends[0].send(Buffer.from([random.below(3), random.below(16), ...random.many(40, () => random.below(256))]));
  await cluster.clock.pass(5);
  ends[0].destroy();
  await cluster.clock.pass(5);
}

test.run();
