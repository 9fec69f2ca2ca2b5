import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { networkNames, PodNetwork, type Kept, type PodNetworkMode } from '../../../agent/net/pod-network.ts';
import { silentLog } from '../../../shared/log.ts';
import type { Payload } from '../../../shared/protocol.ts';
import { settle, SimulatedClock } from '../../fakes/link.ts';

const test = suite('pod network');
const welcome = { podCIDR: '10.244.1.0/24', clusterCIDR: '10.244.0.0/16' };
const neighbour: Payload<'peers'> = [true, [['n2', '192.168.7.12', '10.244.2.0/24']], []];

interface Scene { kept?: Kept; mode?: PodNetworkMode; subnets?: string[]; routes?: string; refuse?: string; hostNetworks?: string[] }

/** A host whose `ip` and `iptables` only take note, and an engine of that kind. */
function scene({ kept, mode = 'auto', subnets = ['172.17.0.0/16'], routes = '', refuse, hostNetworks = ['192.168.7.0/24'] }: Scene = {}) {
  const clock = new SimulatedClock();
  const ran: string[] = [];
  const made: string[] = [];
  const problems: (string | undefined)[] = [];
  const saved: Kept[] = [];
  let routesNow = routes;
  const network = new PodNetwork({
    mode, nodeName: 'n1', nodeIP: '192.168.7.11', owner: '/var/lib/wherry/agent', clock, log: silentLog, kept, networks: () => ({ shared: hostNetworks }),
    keep: async (value) => { saved.push(value); }, onProblem: (why) => { problems.push(why); }, onRoutes: () => {},
    engine: {
      defaultSubnets: async () => subnets,
      ensureNetwork: async ({ name, bridge, subnet }) => { if (refuse) throw new Error(refuse); if (!made.includes(`${name} ${bridge} ${subnet}`)) made.push(`${name} ${bridge} ${subnet}`); },
    },
    run: async (program, args) => {
      const line = [program, ...args].join(' ');
      if (line === 'ip -4 route show') return routesNow;
      if (args.includes('-C')) throw new Error('no such rule');
      if (!args.includes('-L')) ran.push(line);
      if (args[2] === 'replace') routesNow += `${args[3]} via ${args[5]} dev eth0 proto 87\n`;
      return '';
    },
  });
  return { clock, network, ran, made, problems, saved };
}

test('a node alone is on the engine\'s bridge; with a neighbour it gets its own, a route and the rules, and keeps all that', async () => {
  const { network, ran, made, saved, clock } = scene();
  network.welcome(welcome);
  assert.equal(network.wanted(), { networks: ['192.168.7.0/24'], held: '' });
  network.changed([true, [], []]);
  assert.is(await network.network(), 'bridge');
  assert.equal([made, ran], [[], []]);
  network.changed([false, neighbour[1], []]);
  assert.is(await network.network(), 'wherry');
  await clock.pass(0);
  assert.equal(made, ['wherry wherry0 10.244.1.0/24']);
  assert.is(ran[0], 'ip -4 route replace 10.244.2.0/24 via 192.168.7.12 proto 87');
  assert.is(ran.filter((line) => line.startsWith('iptables')).length > 0, true);
  assert.equal(saved.at(-1), { ...welcome, own: true, peers: [['n2', '192.168.7.12', '10.244.2.0/24']] });
  assert.is.not(network.wanted().held, '');
});

test('without a master it is all made from what was kept, also when no neighbour is left', async () => {
  const { network, made } = scene({ kept: { ...welcome, own: true, peers: [] } });
  assert.is(await network.network(), 'wherry');
  assert.equal(made, ['wherry wherry0 10.244.1.0/24']);
});

test('the first pods of a node wait for the master\'s word, but not for long', async () => {
  const { network, clock } = scene();
  let got = '';
  void network.network().then((name) => { got = name; });
  await clock.pass(4_000);
  assert.is(got, '');
  network.welcome(welcome);
  network.changed(neighbour);
  await clock.pass(0, () => got !== '');
  assert.is(got, 'wherry');
  const alone = scene();
  let fallen = '';
  void alone.network.network().then((name) => { fallen = name; });
  await alone.clock.pass(5_000);
  assert.is(fallen, 'bridge');
});

test('a master that knows of no pod network leaves pods where they were', async () => {
  const { network } = scene();
  network.welcome({ podCIDR: '' });
  assert.is(await network.network(), 'bridge');
});

test('a bridge that has addresses of the cluster already is left alone, with its routes', async () => {
  const { network, ran, made } = scene({ subnets: ['10.244.9.0/24'] });
  network.welcome(welcome);
  network.changed(neighbour);
  assert.is(await network.network(), 'bridge');
  assert.equal([made, ran], [[], []]);
});

test('what cannot be made is said, and pods run on the engine\'s bridge', async () => {
  const cases: [Scene, RegExp][] = [
    [{ refuse: 'Pool overlaps with other one on this address space' }, /on the engine's own bridge.*Pool overlaps/],
    [{ hostNetworks: ['192.168.7.0/24', '10.244.0.0/15'] }, /overlaps with 10\.244\.0\.0\/15, a network of this host/],
    [{ routes: '10.244.1.0/24 via 192.168.7.99 dev eth0\n' }, /has a route to the node's podCIDR 10\.244\.1\.0\/24 via 192\.168\.7\.99/],
  ];
  for (const [what, text] of cases) {
    const { network, problems } = scene(what);
    network.welcome(welcome);
    network.changed(neighbour);
    assert.is(await network.network(), 'bridge');
    await settle();
    assert.match(problems.at(-1) ?? '', text);
  }
});

test('told to, a node has its own network when it is alone, or never', async () => {
  const own = scene({ mode: 'own' });
  own.network.welcome(welcome);
  own.network.changed([true, [], []]);
  assert.is(await own.network.network(), 'wherry');
  const bridge = scene({ mode: 'bridge' });
  bridge.network.welcome(welcome);
  bridge.network.changed(neighbour);
  assert.is(await bridge.network.network(), 'bridge');
});

test('agents that share an engine have networks of their own', () => {
  const { name, bridge } = networkNames('/tmp/agent-2');
  assert.is.not(name, 'wherry');
  assert.ok(bridge.length <= 15, bridge);
});

test.run();
