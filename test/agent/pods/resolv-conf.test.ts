import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podResolver } from '../../../agent/pods/resolv-conf.ts';
import { parseResolvConf, resolvConfText } from '../../../shared/resolv-conf.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('resolv-conf');
const cluster = { servers: ['10.96.0.10'], domain: 'cluster.local' };
const stub = { servers: ['127.0.0.53'], searches: ['lan'], options: ['edns0'] };
const host = { own: stub, forPods: { ...stub, servers: ['192.0.2.53'] } };
const none = { servers: [], searches: [], options: [] };

const textOf = (spec: object, more: { cluster?: typeof cluster; host?: typeof host } = {}): string =>
  resolvConfText(podResolver(podOf('p', { containers: [{ name: 'a', image: 'a:1' }], ...spec }), more.cluster ?? cluster, more.host ?? host).settings);

const clusterFirst = 'search default.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.96.0.10\noptions ndots:5\n';
const own = 'search lan\nnameserver 192.0.2.53\noptions edns0\n';

test('policies', () => {
  assert.is(textOf({}), clusterFirst);
  assert.is(textOf({ dnsPolicy: 'ClusterFirst' }), clusterFirst);
  assert.is(textOf({ dnsPolicy: 'ClusterFirst', hostNetwork: true }), 'search lan\nnameserver 127.0.0.53\noptions edns0\n');
  assert.is(textOf({ dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }), clusterFirst);
  assert.is(textOf({ dnsPolicy: 'Default' }), own);
  assert.is(textOf({ dnsPolicy: 'None', dnsConfig: { nameservers: ['192.0.2.1'], searches: ['a.example'], options: [{ name: 'ndots', value: '2' }, { name: 'rotate' }] } }),
    'search a.example\nnameserver 192.0.2.1\noptions ndots:2 rotate\n');
});

test('dnsConfig adds to the policy, and its options win', () => {
  assert.is(textOf({ dnsConfig: { nameservers: ['10.96.0.10', '192.0.2.1'], searches: ['lan.', 'extra.example'], options: [{ name: 'ndots', value: '1' }] } }),
    'search default.svc.cluster.local svc.cluster.local cluster.local lan extra.example\nnameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:1\n');
});

test('without cluster DNS, the host\'s; where pods cannot ask the host\'s, cluster DNS passes their questions on', () => {
  assert.is(textOf({}, { cluster: { servers: [], domain: 'cluster.local' } }), own);
  const unreachable = { own: stub, forPods: { ...stub, servers: [] } };
  assert.is(textOf({ dnsPolicy: 'Default' }, { host: unreachable }), 'search lan\nnameserver 10.96.0.10\noptions edns0\n');
});

test('limits leave the first, and say so', () => {
  const made = podResolver(podOf('p', { containers: [], dnsConfig: { nameservers: ['192.0.2.1', '192.0.2.2', '192.0.2.3'], searches: Array.from({ length: 40 }, (_, index) => `s${index}`) } }), cluster, { own: none, forPods: none });
  assert.equal(made.settings.servers, ['10.96.0.10', '192.0.2.1', '192.0.2.2']);
  assert.is(made.settings.searches.length, 32);
  assert.equal(made.omitted.map((text) => text.slice(0, 30)), ['Nameserver limits were exceede', 'Search Line limits were exceed']);
  const long = podResolver(podOf('p', { containers: [], dnsConfig: { searches: Array.from({ length: 12 }, (_, index) => `${'x'.repeat(200)}.${index}`) } }), cluster, { own: none, forPods: none });
  assert.ok(long.settings.searches.join(' ').length <= 2048 && long.settings.searches.length > 8);
});

test('reading what hosts have', () => {
  assert.equal(parseResolvConf('# made by hand\nnameserver 192.0.2.1 # first\n\tnameserver  fe80::1%eth0\ndomain old\nsearch lan. example.com .\nnameserver\noptions edns0 trust-ad\n; end\n'),
    { servers: ['192.0.2.1', 'fe80::1%eth0'], searches: ['lan', 'example.com', '.'], options: ['edns0', 'trust-ad'] });
  assert.equal(parseResolvConf(''), none);
  assert.is(resolvConfText(none), '');
});

test.run();
