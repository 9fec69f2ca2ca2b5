import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { environment, expand, EnvError, type EnvInput } from '../../../agent/pods/env.ts';
import type { ConfigMap } from '../../../shared/kinds/configmap.ts';
import type { Secret } from '../../../shared/kinds/secret.ts';
import type { ServiceItem } from '../../../shared/protocol.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('env');
const service = (namespace: string, name: string, ports: object[], ip = '10.96.0.7'): ServiceItem => ({
  type: 'service', revision: 1, namespace, name, serviceType: 'ClusterIP', clusterIPs: [ip], ports: ports as ServiceItem['ports'],
  affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false,
});
const configMaps = new Map([['cm', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'cm' }, data: { b: '2', a: '1', 'bad=name': 'x' } } as ConfigMap]]);
const secrets = new Map([['s', { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data: { key: Buffer.from('geheim').toString('base64') } } as unknown as Secret]]);

function env(container: object, more: Partial<EnvInput> = {}, spec: object = {}): Record<string, string> {
  const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1', ...container }], ...spec }, { labels: { app: 'web' } });
  return Object.fromEntries(environment({
    pod, container: pod.spec.containers[0]!, podIPs: ['10.0.0.2'], node: { name: 'n', ips: ['192.0.2.1'], cpus: 4, memoryBytes: 2 ** 30 },
    references: { configMap: (name) => configMaps.get(name), secret: (name) => secrets.get(name) }, services: [], ...more,
  }));
}
const fails = (container: object, message: string) => assert.throws(() => env(container), (error: Error) => error instanceof EnvError && error.message === message);

test('$(NAME)', () => {
  const lookup = (name: string): string | undefined => ({ A: '1' })[name];
  for (const [text, expected] of [['$(A)', '1'], ['$$(A)', '$(A)'], ['$(B)', '$(B)'], ['$$$(A)', '$1'], ['$A ${A} $', '$A ${A} $'], ['$(A', '$(A']] as const) {
    assert.is(expand(text, lookup), expected, text);
  }
});

test('values see what is before them', () => {
  assert.equal(env({ env: [{ name: 'A', value: '1' }, { name: 'B', value: '$(A)$(C)' }, { name: 'C', value: '3' }] }), { A: '1', B: '1$(C)', C: '3' });
});

test('whole objects, with a prefix; env wins', () => {
  assert.equal(env({ envFrom: [{ prefix: 'X_', configMapRef: { name: 'cm' } }, { secretRef: { name: 's' } }], env: [{ name: 'X_a', value: 'mine' }] }), { X_a: 'mine', X_b: '2', key: 'geheim' });
});

test('keys that cannot be names are skipped and told of, in the kubelet\'s words', () => {
  const told: string[] = [];
  const skipped = (message: string): void => { told.push(message); };
  assert.equal(env({ envFrom: [{ configMapRef: { name: 'cm' } }, { prefix: 'a b-', secretRef: { name: 's' } }] }, { skipped }), { a: '1', b: '2', 'a b-key': 'geheim' }, 'anything printable is a name');
  assert.equal(told.splice(0), ['Keys [bad=name] from the EnvFrom configMap default/cm were skipped since they are considered invalid environment variable names.']);
  assert.equal(env({ envFrom: [{ prefix: '\u00e9', configMapRef: { name: 'cm' } }, { prefix: '=', secretRef: { name: 's' } }] }, { skipped }), {});
  assert.equal(told, [
    'Keys [\u00e9a, \u00e9b, \u00e9bad=name] from the EnvFrom configMap default/cm were skipped since they are considered invalid environment variable names.',
    'Keys [=key] from the EnvFrom secret default/s were skipped since they are considered invalid environment variable names.',
  ]);
});

test('keys and fields', () => {
  const from = (name: string, valueFrom: object) => ({ name, valueFrom });
  assert.equal(env({
    resources: { limits: { cpu: '500m' }, requests: { memory: '1Mi' } },
    env: [
      from('A', { configMapKeyRef: { name: 'cm', key: 'a' } }), from('S', { secretKeyRef: { name: 's', key: 'key' } }), from('N', { secretKeyRef: { name: 'no', key: 'key', optional: true } }),
      from('POD', { fieldRef: { fieldPath: 'metadata.name' } }), from('APP', { fieldRef: { fieldPath: "metadata.labels['app']" } }), from('HOST', { fieldRef: { fieldPath: 'status.hostIP' } }),
      from('CPU', { resourceFieldRef: { resource: 'limits.cpu' } }), from('MILLI', { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } }),
      from('MEM', { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } }), from('REQ', { resourceFieldRef: { resource: 'requests.memory' } }),
    ],
  }), { A: '1', S: 'geheim', POD: 'p', APP: 'web', HOST: '192.0.2.1', CPU: '1', MILLI: '500', MEM: '1024', REQ: '1048576' });
});

test('what is missing is said as the kubelet says it', () => {
  fails({ envFrom: [{ configMapRef: { name: 'no' } }] }, 'configmap "no" not found');
  fails({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'no', key: 'k' } } }] }, 'secret "no" not found');
  fails({ env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'cm', key: 'z' } } }] }, 'couldn\'t find key z in ConfigMap default/cm');
});

test('services of the namespace, and kubernetes', () => {
  const services = [
    service('default', 'redis-master', [{ name: 'main', protocol: 'TCP', port: 6379 }]), service('other', 'x', [{ name: '', protocol: 'TCP', port: 1 }]),
    service('default', 'headless', [{ name: '', protocol: 'TCP', port: 1 }], 'None'), service('default', 'kubernetes', [{ name: 'https', protocol: 'TCP', port: 443 }], '10.96.0.1'),
  ];
  const found = env({}, { services });
  assert.equal(Object.fromEntries(Object.entries(found).filter(([name]) => name.startsWith('REDIS'))), {
    REDIS_MASTER_SERVICE_HOST: '10.96.0.7', REDIS_MASTER_SERVICE_PORT: '6379', REDIS_MASTER_SERVICE_PORT_MAIN: '6379', REDIS_MASTER_PORT: 'tcp://10.96.0.7:6379',
    REDIS_MASTER_PORT_6379_TCP: 'tcp://10.96.0.7:6379', REDIS_MASTER_PORT_6379_TCP_PROTO: 'tcp', REDIS_MASTER_PORT_6379_TCP_PORT: '6379', REDIS_MASTER_PORT_6379_TCP_ADDR: '10.96.0.7',
  });
  assert.is(found['KUBERNETES_SERVICE_HOST'], '10.96.0.1');
  assert.not.ok(Object.keys(found).some((name) => /^(X|HEADLESS)_/.test(name)));
  assert.not.ok('REDIS_MASTER_PORT' in env({}, { services }, { enableServiceLinks: false }));
});

test.run();
