import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetworkIndex } from '../../../master/hub/network-index.ts';
import { PeerTable } from '../../../master/hub/peers.ts';
import type { KindChange } from '../../../master/registry/types.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import type { Payload } from '../../../shared/protocol.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';
import { seeded } from '../../property/random.ts';

const test = suite('peers');
const node = (name: string, address: string, podCIDR: string) => nodeOf(name, { spec: podCIDR ? { podCIDR, podCIDRs: [podCIDR] } : {}, status: { addresses: [{ type: 'InternalIP', address }] } });
const change = (type: KindChange['type'], name: string, object: unknown): KindChange => ({ type, name, namespace: '', object, kind: nodes, revision: 1 }) as unknown as KindChange;

test('nodes are found by network, whatever their order; changes that are none for neighbours are no news', () => {
  const table = new PeerTable();
  for (const [name, ip, cidr] of [['c', '10.0.1.3', '10.244.3.0/24'], ['a', '10.0.0.255', '10.244.1.0/24'], ['b', '10.0.1.0', '10.244.2.0/24'], ['d', '10.0.2.0', '10.244.4.0/24'], ['bare', '10.0.1.9', '']] as const) {
    table.apply(change('ADDED', name, node(name, ip, cidr)));
  }
  assert.equal(table.within(['10.0.1.0/24']).map(([name]) => name), ['b', 'c']);
  assert.equal(table.within(['10.0.0.0/24', '10.0.2.0/30', 'nonsense']).map(([name]) => name), ['a', 'd']);
  assert.is(table.apply(change('MODIFIED', 'b', node('b', '10.0.1.0', '10.244.2.0/24'))), undefined);
  assert.equal(table.apply(change('MODIFIED', 'b', node('b', '10.0.2.8', '10.244.2.0/24'))), { before: ['b', '10.0.1.0', '10.244.2.0/24'], after: ['b', '10.0.2.8', '10.244.2.0/24'] });
  assert.equal(table.apply(change('DELETED', 'c', undefined))?.after, undefined);
  assert.equal(table.within(['10.0.1.0/24']), []);
});

test('the order is kept as nodes come, move and go', () => {
  const table = new PeerTable();
  const random = seeded(11);
  const there = new Map<string, string>();
  for (let round = 0; round < 500; round++) {
    const name = `n${random.below(40)}`;
    const address = `10.0.${random.below(3)}.${random.below(20)}`;
    if (random.chance(0.3)) there.delete(name);
    else there.set(name, address);
    table.apply(there.has(name) ? change('MODIFIED', name, node(name, address, '10.244.1.0/24')) : change('DELETED', name, undefined));
    const expected = [...there].filter(([, at]) => at.startsWith('10.0.1.')).map(([one]) => one).sort();
    assert.equal(table.within(['10.0.1.0/24']).map(([one]) => one).sort(), expected);
  }
});

test('who is on the network of an address is found without a look at everybody', () => {
  const index = new NetworkIndex();
  for (let site = 0; site < 200; site++) index.set(`n${site}`, [`10.${site}.0.0/16`, 'nonsense']);
  index.set('all', ['0.0.0.0/0']);
  index.set('two', ['10.7.0.0/24', '10.7.0.0/16']);
  assert.equal([...index.at('10.7.0.9')].sort(), ['all', 'n7', 'two']);
  assert.equal([...index.at('10.7.1.9', '10.8.0.1', undefined, 'nonsense')].sort(), ['all', 'n7', 'n8', 'two']);
  index.set('two', ['10.9.0.0/16']);
  index.remove('all');
  assert.equal([...index.at('10.7.0.9')], ['n7']);
  index.remove('n7');
  index.remove('n7');
  assert.equal([...index.at('10.7.0.9')], []);
});

test('a node that comes is told to its neighbours, not tried on everybody', async () => {
  const cluster = new LinkedCluster();
  await cluster.startMaster({ settings: () => ({ serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '10.244.1.0/24', clusterCIDR: '10.244.0.0/16' }) });
  // A cluster without anything lets nobody in.
  await cluster.registry.create(nodes, '', node('far', '10.7.0.1', '10.244.7.0/24'));
  const told: string[] = [];
  const peers = (name: string, network: string) => ({ wanted: () => ({ networks: [network], held: '' }), changed: ([, set, removed]: Payload<'peers'>) => { told.push(...set.map(([peer]) => `${name}+${peer}`), ...removed.map((peer) => `${name}-${peer}`)); } });
  const agents = [cluster.startAgent('a', new MemoryState(), { peers: peers('a', '10.0.1.0/24') }), cluster.startAgent('b', new MemoryState(), { peers: peers('b', '10.0.2.0/24') })];
  await cluster.clock.pass(10_000);
  await cluster.registry.create(nodes, '', node('c', '10.0.1.7', '10.244.9.0/24'));
  assert.ok(await cluster.clock.pass(10_000, () => told.length === 1));
  await cluster.registry.modify(nodes, '', 'c', (current) => ({ ...current, status: { ...current.status, addresses: [{ type: 'InternalIP', address: '10.0.2.7' }] } }), { subresource: 'status' });
  assert.ok(await cluster.clock.pass(10_000, () => told.length === 3));
  assert.equal(told.sort(), ['a+c', 'a-c', 'b+c']);
  for (const agent of agents) await agent.stop();
  await cluster.stopMaster();
});

test('an agent is told of the nodes on its networks, then of changes only, and of nothing when it knows them already', async () => {
  const cluster = new LinkedCluster();
  await cluster.startMaster({ settings: () => ({ serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '10.244.1.0/24', clusterCIDR: '10.244.0.0/16' }) });
  const add = (name: string, address: string, podCIDR: string) => cluster.registry.create(nodes, '', node(name, address, podCIDR));
  await add('n2', '10.0.1.2', '10.244.2.0/24');
  await add('far', '10.7.0.1', '10.244.7.0/24');
  const told: Payload<'peers'>[] = [];
  let held = '';
  const peers = { wanted: () => ({ networks: ['10.0.1.0/24'], held }), changed: (what: Payload<'peers'>) => { told.push(what); } };
  const start = () => cluster.startAgent('n1', new MemoryState(), { peers });
  const agent = start();
  assert.ok(await cluster.clock.pass(10_000, () => told.length === 1));
  assert.equal(told.shift(), [true, [['n2', '10.0.1.2', '10.244.2.0/24']], []]);
  await add('n3', '10.0.1.3', '10.244.3.0/24');
  assert.ok(await cluster.clock.pass(10_000, () => told.length === 1));
  assert.equal(told.shift(), [false, [['n3', '10.0.1.3', '10.244.3.0/24']], []]);
  await add('far-2', '10.7.0.2', '10.244.8.0/24');
  await cluster.registry.delete(nodes, '', 'n2');
  assert.ok(await cluster.clock.pass(10_000, () => told.length === 1));
  assert.equal(told.shift(), [false, [], ['n2']]);
  await agent.stop();
  const { peersDigest } = await import('../../../shared/peers.ts');
  held = peersDigest([['n3', '10.0.1.3', '10.244.3.0/24']]);
  const again = start();
  await cluster.clock.pass(10_000);
  assert.equal(told, []);
  await again.stop();
  await cluster.stopMaster();
});

test.run();
