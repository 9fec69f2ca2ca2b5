import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocketServer } from 'ws';
import { masterLookup } from '../../../agent/session/addresses.ts';
import { connector } from '../../../agent/session/connect.ts';
import { createAuthority, issue } from '../../../master/certificates.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';
import { nameServer } from '../../fakes/name-server.ts';

/** A master that is hard to reach: no DNS, wrong clocks, long outages, a node whose disk is full. */
const test = suite('reach');
const dayMs = 86_400_000;

interface Place {
  /** At which the master's certificate begins. */
  readonly nowMs?: number;
  /** Where the master is. */
  readonly at?: string;
  /** Where it was reached last. */
  readonly last?: string;
  /** Name servers; one that is not there by default. */
  readonly servers?: readonly string[];
}

/** Connects to a master as an agent does; returns the names and addresses at which it was reached. */
async function reach(host: string, { nowMs = Date.now(), at = '127.0.0.1', last, servers = ['127.0.0.1:1'] }: Place = {}): Promise<string[]> {
  const authority = await createAuthority('ca', 30, nowMs);
  const pair = await issue(authority, { subject: { name: 'wherry-master' }, use: 'server', hosts: ['kubernetes.default.svc'], days: 10, nowMs });
  const client = await issue(authority, { subject: { name: 'system:node:n1', groups: ['system:nodes'] }, use: 'client', days: 10 });
  const server = createServer({ key: pair.key, cert: pair.certificate });
  const sockets = new WebSocketServer({ server });
  server.listen(0, at);
  await once(server, 'listening');
  const reached: string[] = [];
  try {
    const socket = await connector({
      server: `https://${host}:${(server.address() as AddressInfo).port}`, key: client.key, certificate: client.certificate, ca: authority.certificate,
      lookup: masterLookup({ servers, hostsFile: '/nonexistent', last: () => last }), onReached: (name, address) => reached.push(`${name} ${address}`),
    })(new AbortController().signal);
    socket.destroy();
  } finally {
    sockets.close();
    server.closeAllConnections();
    server.close();
  }
  return reached;
}

test('DNS gone: the master is reached where it was last', async () => {
  assert.equal(await reach('master.example', { last: '127.0.0.1' }), ['master.example 127.0.0.1']);
});

test('DNS gone, and the master never reached: an error that says so', async () => {
  let why = '';
  await reach('master.invalid').catch((error: Error) => { why = error.message; });
  assert.match(why, /connecting to https:\/\/master.invalid:\d+: .*(ENOTFOUND|EAI_AGAIN)/);
});

test('the master has moved: its name leads to where it is now, wherever it was last', async () => {
  const { address, socket } = await nameServer([127, 0, 0, 2]);
  assert.equal(await reach('master.example', { at: '127.0.0.2', last: '127.0.0.1', servers: [address] }), ['master.example 127.0.0.2']);
  socket.close();
});

test('a certificate that is not valid yet, or no longer, by this host\'s clock is the master\'s nevertheless', async () => {
  for (const nowMs of [Date.now() + 2 * dayMs, Date.now() - 20 * dayMs]) assert.is((await reach('127.0.0.1', { nowMs })).length, 1);
});

async function cluster(): Promise<LinkedCluster> {
  const made = new LinkedCluster({ random: () => 0.5 });
  for (const name of ['default', 'kube-node-lease']) await made.registry.create(namespaces, '', { metadata: { name } });
  return made;
}

const podFor = (name: string): object => ({ metadata: { name }, spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] } });

test('two days without a master: it is tried twice a minute, what waits is bounded, and the first try afterwards succeeds', async () => {
  const world = await cluster();
  let attempts = 0;
  const state = new MemoryState();
  await world.startMaster();
  const { hub } = world;
  const agent = world.startAgent('n1', state, { onLink: () => {} });
  await world.clock.pass(1000, () => hub.isConnected('n1'));
  await agent.stop();
  await world.stopMaster();
  const lonely = world.startAgent('n1', state, { connect: async () => { attempts++; throw new Error('unreachable'); } });
  for (let hour = 0; hour < 48; hour++) {
    for (let index = 0; index < 20; index++) lonely.session.event({ namespace: 'default', key: `${hour}-${index}`, involvedObject: { apiVersion: 'v1', kind: 'Node', name: 'n1' }, reason: 'R', message: '', type: 'Normal', component: 'c', count: 1, firstMs: 0, lastMs: 0 });
    await world.clock.pass(3_600_000);
  }
  assert.ok(attempts > 48 * 60 && attempts < 48 * 60 * 60, `${attempts} attempts`);
  assert.is(lonely.session.stats.events, 256);
  assert.is(lonely.session.stats.eventsDropped, 48 * 20 - 256);
  await lonely.stop();
});

test('a full disk does not end the session: nothing is acknowledged, the node stays alive, and all arrives when there is room', async () => {
  const world = await cluster();
  await world.startMaster();
  let full = false;
  const state = new MemoryState(async () => { if (full) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }); });
  const agent = world.startAgent('n1', state);
  agent.session.setNode(nodeOf('n1'));
  await world.clock.pass(5000, () => state.held.revision > 0);
  const held = state.held.revision;
  full = true;
  for (let index = 0; index < 50; index++) {
    await world.registry.create(pods, 'default', podFor(`p${index}`));
    await world.clock.pass(2000);
    assert.ok(world.hub.isConnected('n1'));
  }
  await world.clock.pass(120_000);
  assert.ok(world.hub.isConnected('n1'));
  assert.is(state.held.revision, held);
  full = false;
  assert.ok(await world.clock.pass(60_000, () => state.items.size === 50));
  assert.ok(await world.clock.pass(60_000, () => world.hub.stats().unacknowledged === 0));
  await agent.stop();
  await world.stopMaster();
});

test('pods of a node that was written off are ready again as soon as it is back, without a word from them', async () => {
  const world = await cluster();
  await world.startMaster();
  const links: (number | undefined)[] = [];
  const agent = world.startAgent('n1', new MemoryState(), { onLink: (heardMs) => links.push(heardMs) });
  agent.session.setNode(nodeOf('n1'));
  const { registry, clock } = world;
  const { object } = await registry.create(pods, 'default', podFor('p'));
  await clock.pass(1000);
  const condition = (status: string) => ({ type: 'Ready', status, lastTransitionTime: '2026-01-02T03:04:05Z' });
  agent.session.report({ namespace: 'default', name: 'p', uid: object.metadata.uid!, gone: false, status: { phase: 'Running', conditions: [condition('True')] } });
  const ready = (): string | undefined => registry.get(pods, 'default', 'p').object.status.conditions?.find(({ type }) => type === 'Ready')?.status;
  assert.ok(await clock.pass(5000, () => ready() === 'True'));
  assert.equal(links, [undefined]);
  world.links.get('n1')!.cut();
  await registry.modify(nodes, '', 'n1', (node) => ({ ...node, status: { ...node.status, conditions: [condition('Unknown')] } }), { subresource: 'status' });
  await registry.modify(pods, 'default', 'p', (pod) => ({ ...pod, status: { ...pod.status, conditions: [condition('False')] } }), { subresource: 'status' });
  assert.is(ready(), 'False');
  assert.ok(await clock.pass(120_000, () => ready() === 'True'));
  assert.is(links.length, 3, 'the link was lost and came back');
  assert.ok(typeof links[1] === 'number' && links[2] === undefined);
  await agent.stop();
  await world.stopMaster();
});

test.run();
