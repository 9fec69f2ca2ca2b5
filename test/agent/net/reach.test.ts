import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reach } from '../../../agent/net/reach.ts';
import type { Backend } from '../../../agent/net/routes.ts';
import { SimulatedClock } from '../../fakes/link.ts';

const test = suite('reach');
const there: Backend = { address: '10.244.2.7', port: 80, nodeName: 'n2', slice: 'default/web' };

function make() {
  const clock = new SimulatedClock();
  return { clock, reach: new Reach({ clock, nodeName: 'n1', isInside: (address) => address.startsWith('172.17.') }) };
}

test('what is on this node, on no node or no pod is dialled straight', () => {
  const { reach } = make();
  for (const backend of [{ ...there, nodeName: 'n1' }, { address: '192.0.2.1', port: 80 }, { address: '192.0.2.1', port: 80, nodeName: 'n2' }]) assert.is(reach.way(backend, true), 'direct');
});

test('a node that only the relay reached is not dialled again for a while; then one connection tries', async () => {
  const { clock, reach } = make();
  assert.is(reach.way(there, true), 'race');
  reach.connected(there, 'relay');
  assert.is(reach.way(there, true), 'relay');
  assert.is(reach.way({ ...there, address: '10.244.2.8' }, true), 'relay', 'any pod of that node');
  assert.is(reach.way({ ...there, nodeName: 'n3' }, true), 'race', 'not of another');
  await clock.pass(30_000);
  assert.equal([reach.way(there, true), reach.way(there, true)], ['race', 'relay']);
  reach.connected(there, 'direct');
  assert.is(reach.way(there, true), 'race');
});

test('relayed connections do not put off the next try', async () => {
  const { clock, reach } = make();
  reach.connected(there, 'relay');
  await clock.pass(20_000);
  reach.connected(there, 'relay');
  await clock.pass(10_000);
  assert.is(reach.way(there, true), 'race');
});

test('routes that change make it forget', () => {
  const { reach } = make();
  reach.connected(there, 'relay');
  reach.forget();
  assert.is(reach.way(there, true), 'race');
});

test('another node\'s pod with an address that this host\'s own bridge has is never dialled; without a master the rest is', () => {
  const { reach } = make();
  const alike = { ...there, address: '172.17.0.3' };
  assert.equal([reach.way(alike, true), reach.way(alike, false)], ['relay', 'relay']);
  reach.connected(alike, 'relay');
  assert.is(reach.way(there, true), 'race', 'which says nothing of the node');
  reach.connected(there, 'relay');
  assert.is(reach.way(there, false), 'direct');
});

test.run();
