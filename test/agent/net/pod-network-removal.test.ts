import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { removePodNetwork } from '../../../agent/net/pod-network-removal.ts';

const test = suite('pod network, removed');
const kept = { podCIDR: '10.244.0.0/24', clusterCIDR: '10.244.0.0/16', own: true, peers: [['b', '192.168.7.12', '10.244.1.0/24'], ['c', '192.168.7.13', '10.244.2.0/24']] };
const routes = [
  'default via 192.168.7.1 dev eth0', '10.244.1.0/24 via 192.168.7.12 dev eth0 proto 87',
  '10.244.2.0/24 via 192.168.7.13 dev eth0', '10.244.3.0/24 via 192.168.7.14 dev eth0 proto 87',
].join('\n');

const host = (ruled: boolean) => {
  const [commands, asked]: [string[], string[][]] = [[], []];
  return {
    commands, asked,
    engine: { removeNetwork: (...of: [string, string]) => { asked.push(of); return Promise.resolve(true); } },
    run: (program: string, args: readonly string[]): Promise<string> => {
      const command = [program, ...args].join(' ');
      if (command === 'ip -4 route show') return Promise.resolve(routes);
      if (program === 'iptables' && !ruled) return Promise.reject(new Error('No chain/target/match by that name.'));
      commands.push(command);
      return Promise.resolve('');
    },
  };
};

test('the network, the agent\'s own routes and its rules go; what others made stays', async () => {
  const { commands, asked, ...on } = host(true);
  assert.equal(await removePodNetwork({ owner: '/var/lib/wherry/agent', kept, ...on }), [
    'the network wherry', 'the route to 10.244.1.0/24 via 192.168.7.12', 'the rule DOCKER-USER -s 10.244.0.0/16 -j ACCEPT',
    'the rule DOCKER-USER -d 10.244.0.0/16 -j ACCEPT', 'the rule POSTROUTING -s 10.244.0.0/24 -d 10.244.0.0/16 -j ACCEPT',
  ]);
  assert.equal(asked, [['wherry', '/var/lib/wherry/agent']]);
  assert.equal(commands, [
    'ip -4 route del 10.244.1.0/24 via 192.168.7.12 proto 87', 'iptables -w 10 -t filter -D DOCKER-USER -s 10.244.0.0/16 -j ACCEPT',
    'iptables -w 10 -t filter -D DOCKER-USER -d 10.244.0.0/16 -j ACCEPT', 'iptables -w 10 -t nat -D POSTROUTING -s 10.244.0.0/24 -d 10.244.0.0/16 -j ACCEPT',
  ]);
});

test('where there is no rule, or nothing was kept, nothing is said of it', async () => {
  assert.equal(await removePodNetwork({ owner: '/var/lib/wherry/agent', kept: { ...kept, peers: [] }, ...host(false) }), ['the network wherry']);
  const { commands, ...on } = host(true);
  assert.match(String(await removePodNetwork({ owner: '/elsewhere', kept: undefined, ...on })), /^the network wherry-[0-9a-f]{8}$/);
  assert.equal(commands, []);
});

test.run();
