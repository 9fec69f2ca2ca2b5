import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { rulesFor } from '../../../agent/net/firewall.ts';
import { networkOf, ownNetworks } from '../../../agent/net/own-networks.ts';
import { parseRoutes, planPeerRoutes, type Route } from '../../../agent/net/peer-routes.ts';
import { patchPeers, peersDigest, type Peer } from '../../../shared/peers.ts';

const test = suite('peer routes');
const me = { nodeName: 'edge-1', nodeIP: '192.168.7.11', networks: ['192.168.7.0/24'], podCIDR: '10.244.1.0/24', clusterCIDR: '10.244.0.0/16' };
const edge2: Peer = ['edge-2', '192.168.7.12', '10.244.2.0/24'];
const plan = (peers: readonly Peer[], routes: readonly Route[] = []) => planPeerRoutes({ ...me, peers, routes });
const own = (to: string, via: string): Route => ({ to, via, own: true });

test('each neighbour\'s pods get a route via its address, once', () => {
  assert.equal(plan([edge2]), { set: [{ to: '10.244.2.0/24', via: '192.168.7.12' }], remove: [] });
  assert.equal(plan([edge2], [own('10.244.2.0/24', '192.168.7.12')]), { set: [], remove: [] });
});

test('a neighbour that moved or went takes its route with it', () => {
  assert.equal(plan([edge2], [own('10.244.2.0/24', '192.168.7.99')]).set, [{ to: '10.244.2.0/24', via: '192.168.7.12' }]);
  assert.equal(plan([], [own('10.244.2.0/24', '192.168.7.12')]).remove, [own('10.244.2.0/24', '192.168.7.12')]);
});

test('nodes elsewhere, this node itself, one of this address and pods that are none of the cluster\'s get no route', () => {
  const others: Peer[] = [
    ['edge-3', '172.20.0.3', '10.244.3.0/24'], ['edge-1', '192.168.7.50', '10.244.1.0/24'], ['twin', '192.168.7.11', '10.244.4.0/24'],
    ['thief', '192.168.7.66', '0.0.0.0/0'], ['thief-2', '192.168.7.67', '192.168.0.0/16'],
  ];
  assert.equal(plan(others), { set: [], remove: [] });
});

test('routes of others stay, also where they are in the way', () => {
  const foreign: Route[] = [{ to: '10.244.2.0/24', via: '192.168.7.1', own: false }, { to: '10.244.200.0/24', via: '192.168.7.2', own: false }];
  assert.equal(plan([edge2], foreign), { set: [], remove: [] });
});

test('what ip prints is read, and whose it is', () => {
  const text = 'default via 192.168.7.1 dev eth0\n10.244.2.0/24 via 192.168.7.12 dev eth0 proto 87 \n10.244.3.0/24 via 192.168.7.13 dev eth0\n192.168.7.0/24 dev eth0 proto kernel scope link src 192.168.7.11 \n';
  assert.equal(parseRoutes(text), [
    own('10.244.2.0/24', '192.168.7.12'), { to: '10.244.3.0/24', via: '192.168.7.13', own: false }, { to: '192.168.7.0/24', via: '', own: false },
  ]);
});

test('bridges of engines are networks inside, others are shared', () => {
  const address = (cidr: string) => [{ family: 'IPv4' as const, internal: false, cidr, address: '', netmask: '', mac: '' }];
  assert.equal(ownNetworks({ eth0: address('192.168.7.11/24'), docker0: address('172.17.0.1/16'), wherry0: address('10.244.1.1/24'), wg0: address('10.9.0.1/32') }),
    { shared: ['192.168.7.0/24'], inside: ['172.17.0.0/16', '10.244.1.0/24'] });
  assert.equal(['192.168.7.77/26', '10.1.2.3/8', '200.1.2.3/30'].map(networkOf), ['192.168.7.64/26', '10.0.0.0/8', '200.1.2.0/30']);
});

test('changes add up to what a complete list says, in whatever order', () => {
  const edge3: Peer = ['edge-3', '192.168.7.13', '10.244.3.0/24'];
  const held = patchPeers([edge2, ['old', '192.168.7.9', '10.244.9.0/24']], [false, [edge3], ['old']]);
  assert.equal(held, [edge2, edge3]);
  assert.is(peersDigest(held), peersDigest([edge3, edge2]));
  assert.is.not(peersDigest(held), peersDigest([edge2]));
  assert.equal(patchPeers(held, [true, [edge3], []]), [edge3]);
});

test('pods keep their address towards pods, and only a bridge of the agent\'s own needs a rule for that', () => {
  assert.is(rulesFor('10.244.0.0/16', undefined).length, 2);
  assert.equal(rulesFor('10.244.0.0/16', '10.244.1.0/24')[2], { table: 'nat', chain: 'POSTROUTING', match: ['-s', '10.244.1.0/24', '-d', '10.244.0.0/16', '-j', 'ACCEPT'] });
});

test.run();
