import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clients, configMap, controller, list, pod, startCluster, type Cluster, type Kubectl } from './kubectl-support.ts';

/** `kubectl apply`, where the client merges and where the server does, with real kubectls of every version. */
const test = suite('kubectl apply');
let cluster: Cluster;
test.before(async () => { cluster = await startCluster(); });
test.after(() => cluster.down());

let count = 0;
function each(title: string, body: (kubectl: Kubectl) => Promise<void>): void {
  const number = count++;
  for (const name of clients) {
    test(`${name}: ${title}`, async () => body(await cluster.client(name, `${name.replace('kubectl-', 'v').replace('.', '')}-${number}`)));
  }
}

interface Managed { readonly manager: string; readonly operation: string; readonly subresource?: string; readonly fieldsV1: Record<string, unknown> }
/** Fields by manager and operation. */
async function owners(k: Kubectl, ...what: string[]): Promise<Record<string, unknown>> {
  const flag = k.old ? [] : ['--show-managed-fields'];
  const { metadata } = await k.json<{ metadata: { managedFields?: Managed[] } }>(...what, ...flag);
  return Object.fromEntries((metadata.managedFields ?? []).map(({ manager, operation, fieldsV1 }) => [`${manager} ${operation}`, fieldsV1]));
}

const container = '.spec.template.spec.containers[0]';

each('client-side: create, repeat, change, take a field out', async (k) => {
  await k.write('web.json', controller('web', 2, { A: '1', B: '2' }));
  assert.is(await k.ok('apply', '-f', 'web.json'), 'replicationcontroller/web created\n');
  assert.is(await k.ok('apply', '-f', 'web.json'), 'replicationcontroller/web unchanged\n');
  await k.write('web.json', controller('web', 2, { B: '2', C: '3' }, 'busybox:2'));
  assert.is(await k.ok('apply', '-f', 'web.json', '--dry-run=server'), 'replicationcontroller/web configured (server dry run)\n');
  assert.is(await k.value(`{${container}.image}`, 'rc', 'web'), 'busybox:1');
  assert.is(await k.ok('apply', '-f', 'web.json'), 'replicationcontroller/web configured\n');
  assert.is(await k.value(`{${container}.image} {${container}.env[*].name}`, 'rc', 'web'), 'busybox:2 B C');
  assert.match(await k.ok('apply', 'view-last-applied', 'rc', 'web'), /image: busybox:2/);
});

each('client-side: what others wrote stays', async (k) => {
  await k.write('web.json', controller('web', undefined, { A: '1' }));
  await k.ok('apply', '-f', 'web.json');
  await k.ok('scale', 'rc', 'web', '--replicas=5');
  await k.ok('set', 'env', 'rc/web', 'BY_HAND=1');
  await k.ok('label', 'rc', 'web', 'by=hand');
  await k.write('web.json', controller('web', undefined, { A: '2' }));
  assert.is(await k.ok('apply', '-f', 'web.json'), 'replicationcontroller/web configured\n');
  assert.is(await k.value(`{.spec.replicas} {${container}.env[?(@.name=="A")].value} {${container}.env[?(@.name=="BY_HAND")].value} {.metadata.labels.by}`, 'rc', 'web'), '5 2 1 hand');
  await k.write('web.json', controller('web', 3, { A: '2' }));
  await k.ok('apply', '-f', 'web.json');
  await k.ok('scale', 'rc', 'web', '--replicas=1');
  await k.write('web.json', controller('web', undefined, { A: '2' }));
  await k.ok('apply', '-f', 'web.json');
  assert.is(await k.value('{.spec.replicas}', 'rc', 'web'), '1', 'a field that was applied before and is gone goes back to its default');
});

each('client-side: prune', async (k) => {
  const flag = k.old ? '--prune-whitelist' : '--prune-allowlist';
  await k.write('maps.json', list(configMap('a', { k: '1' }, { set: 'x' }), configMap('b', { k: '1' }, { set: 'x' })));
  await k.ok('apply', '-f', 'maps.json', '--prune', '-l', 'set=x', `${flag}=core/v1/ConfigMap`);
  await k.ok('create', 'configmap', 'by-hand');
  await k.write('maps.json', list(configMap('a', { k: '1' }, { set: 'x' })));
  assert.match(await k.ok('apply', '-f', 'maps.json', '--prune', '-l', 'set=x', `${flag}=core/v1/ConfigMap`), /^configmap\/a unchanged\nconfigmap\/b pruned\n$/);
  assert.is(await k.value('{.items[*].metadata.name}', 'cm', '--field-selector=metadata.name!=kube-root-ca.crt'), 'a by-hand');
});

each('client-side: a List in several steps', async (k) => {
  await k.write('all.json', list(configMap('a', { k: '1' }), pod('p'), { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: { selector: { a: 'b' }, ports: [{ name: 'http', port: 80 }, { name: 'dns', port: 53, protocol: 'UDP' }] } }));
  await k.ok('apply', '-f', 'all.json');
  const address = await k.value('{.spec.clusterIP}', 'svc', 's');
  await k.write('all.json', list(configMap('a', { k: '2' }), { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: { selector: { a: 'c' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] } }));
  assert.is(await k.ok('apply', '-f', 'all.json'), 'configmap/a configured\nservice/s configured\n');
  assert.is(await k.value('{.spec.clusterIP} {.spec.selector.a} {.spec.ports[*].port} {.spec.ports[0].targetPort}', 'svc', 's'), `${address} c 80 8080`);
});

each('server-side: conflicts and who owns what', async (k) => {
  await k.write('map.json', configMap('a', { x: '1', y: '1' }));
  assert.is(await k.ok('apply', '--server-side', '-f', 'map.json'), 'configmap/a serverside-applied\n');
  await k.ok('apply', '--server-side', '-f', 'map.json', '--field-manager=other');
  await k.write('other.json', configMap('a', { x: '2' }));
  assert.match(await k.fails('apply', '--server-side', '-f', 'other.json', '--field-manager=other'), /^error: Apply failed with 1 conflict: conflict with "kubectl": \.data\.x\nPlease review the fields above--they currently have other managers\./);
  await k.ok('apply', '--server-side', '-f', 'other.json', '--field-manager=other', '--force-conflicts');
  assert.equal(await owners(k, 'cm', 'a'), { 'kubectl Apply': { 'f:data': { 'f:y': {} } }, 'other Apply': { 'f:data': { 'f:x': {} } } });
  await k.write('map.json', configMap('a', { z: '1' }));
  await k.ok('apply', '--server-side', '-f', 'map.json');
  assert.equal((await k.json('cm', 'a'))['data'], { x: '2', z: '1' }, 'a field that a manager gives up goes, unless another has it');
  await k.ok('patch', 'cm', 'a', '--type=merge', '-p', '{"data":{"z":"9"}}');
  const refused = await k.fails('apply', '--server-side', '-f', 'map.json');
  assert.match(refused, /^error: Apply failed with 1 conflict: conflict with "kubectl-patch" using v1(?: at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?: \.data\.z\n/);
  const version = await k.value('{.metadata.resourceVersion}', 'cm', 'a');
  await k.ok('apply', '--server-side', '-f', 'other.json', '--field-manager=other');
  assert.is(await k.value('{.metadata.resourceVersion}', 'cm', 'a'), version, 'an apply that changes nothing writes nothing');
});

each('server-side: keyed lists, defaults and numbers of replicas', async (k) => {
  await k.write('web.json', controller('web', 2, { A: '1', B: '2' }));
  await k.ok('apply', '--server-side', '-f', 'web.json');
  await k.write('sidecar.json', { apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'web' }, spec: { template: { spec: { containers: [{ name: 'proxy', image: 'proxy:1', livenessProbe: { tcpSocket: { port: 1 } } }] } } } });
  await k.ok('apply', '--server-side', '-f', 'sidecar.json', '--field-manager=mesh');
  assert.is(await k.value('{.spec.template.spec.containers[*].name}', 'rc', 'web'), 'main proxy');
  await k.write('web.json', controller('web', 2, { B: '2' }));
  await k.ok('apply', '--server-side', '-f', 'web.json');
  assert.is(await k.value(`{.spec.template.spec.containers[*].name} {${container}.env[*].name}`, 'rc', 'web'), 'main proxy B');
  await k.write('sidecar.json', { apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'web' }, spec: { template: { spec: { containers: [{ name: 'proxy', image: 'proxy:1' }] } } } });
  await k.ok('apply', '--server-side', '-f', 'sidecar.json', '--field-manager=mesh');
  assert.is(await k.value('{.spec.template.spec.containers[1].livenessProbe}', 'rc', 'web'), '', 'a probe goes with the defaults that were put into it');
  await k.ok('scale', 'rc', 'web', '--replicas=4');
  assert.match(await k.fails('apply', '--server-side', '-f', 'web.json'), /conflict with "kubectl[^"]*" with subresource "scale" using v1 at \S+: \.spec\.replicas\n/);
  await k.write('web.json', controller('web', undefined, { B: '2' }));
  await k.ok('apply', '--server-side', '-f', 'web.json');
  assert.is(await k.value('{.spec.replicas}', 'rc', 'web'), '4', 'the one who scaled keeps the number');
});

each('server-side: over what was applied client-side', async (k) => {
  await k.write('web.json', controller('web', 1, { A: '1', B: '2' }));
  await k.ok('apply', '-f', 'web.json');
  await k.write('web.json', controller('web', 1, { B: '3' }));
  const forced = k.old ? ['--force-conflicts'] : [];
  await k.ok('apply', '--server-side', '-f', 'web.json', ...forced);
  await k.ok('apply', '--server-side', '-f', 'web.json');
  // Newer clients move the fields of client-side apply over, so that what is no longer applied goes.
  assert.is(await k.value(`{${container}.env[*].name} {${container}.env[*].value}`, 'rc', 'web'), k.old ? 'A B 1 3' : 'B 3');
  if (!k.old) assert.is(Object.keys(await owners(k, 'rc', 'web')).includes('kubectl-client-side-apply Update'), false);
});

each('an update owns what it made', async (k) => {
  await k.with({ input: JSON.stringify(pod('a', { x: 'y' })) }, 'create', '-f', '-');
  assert.equal(await owners(k, 'pod', 'a'), {
    'kubectl-create Update': {
      'f:metadata': { 'f:labels': { '.': {}, 'f:x': {} } },
      'f:spec': {
        'f:containers': {
          'k:{"name":"main"}': { '.': {}, 'f:command': {}, 'f:image': {}, 'f:imagePullPolicy': {}, 'f:name': {}, 'f:resources': {}, 'f:terminationMessagePath': {}, 'f:terminationMessagePolicy': {} },
        },
        'f:dnsPolicy': {}, 'f:enableServiceLinks': {}, 'f:restartPolicy': {}, 'f:schedulerName': {}, 'f:securityContext': {}, 'f:terminationGracePeriodSeconds': {},
      },
    },
  });
});

test.run();
