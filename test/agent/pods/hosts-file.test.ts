import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hostNetworkHosts, kernelName, managedHosts, podNames } from '../../../agent/pods/hosts-file.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('hosts-file');
const pod = (spec: object, name = 'web-0') => podOf(name, { containers: [{ name: 'a', image: 'a:1' }], ...spec });
const head = '# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n';

test('the kubelet\'s file', () => {
  assert.is(managedHosts(pod({}), 'cluster.local', ['10.244.1.7']), `${head}10.244.1.7\tweb-0\n`);
  assert.is(managedHosts(pod({ hostname: 'busy', subdomain: 'web' }), 'edge.example', ['10.244.1.7', 'fd00::7']),
    `${head}10.244.1.7\tbusy.web.default.svc.edge.example\tbusy\nfd00::7\tbusy.web.default.svc.edge.example\tbusy\n`);
  assert.is(managedHosts(pod({ hostAliases: [{ ip: '192.0.2.1', hostnames: ['a', 'b.example'] }, { ip: '192.0.2.2', hostnames: ['c'] }] }), 'cluster.local', []),
    `${head}\n# Entries added by HostAliases.\n192.0.2.1\ta\tb.example\n192.0.2.2\tc\n`);
});

test('on the host\'s network, the host\'s', () => {
  assert.is(hostNetworkHosts(pod({}), '127.0.0.1\tlocalhost\n'), '# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n');
  assert.is(hostNetworkHosts(pod({ hostAliases: [{ ip: '192.0.2.1', hostnames: ['a'] }] }), '127.0.0.1\tlocalhost\n'),
    '# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n\n# Entries added by HostAliases.\n192.0.2.1\ta\n');
});

test('what a pod calls itself', () => {
  assert.equal(podNames(pod({}, `${'x'.repeat(62)}-y`), 'cluster.local'), { hostname: 'x'.repeat(62), domain: '' });
  assert.is(kernelName(pod({ hostname: 'busy', subdomain: 'web' }), 'cluster.local'), 'busy');
  assert.is(kernelName(pod({ hostname: 'busy', subdomain: 'web', setHostnameAsFQDN: true }), 'cluster.local'), 'busy.web.default.svc.cluster.local');
  assert.is(kernelName(pod({ setHostnameAsFQDN: true }), 'cluster.local'), 'web-0');
  assert.throws(() => kernelName(pod({ hostname: 'h'.repeat(40), subdomain: 'web', setHostnameAsFQDN: true }), 'cluster.local'), /is too long \(64 characters is the max, 70 characters requested\)/);
});

test.run();
