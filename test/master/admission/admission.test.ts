import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { StatusError } from '../../../shared/status.ts';
import { admissions } from '../../../master/admission/index.ts';
import { Cluster, podDocument, realClock } from '../controllers/cluster.ts';

const test = suite('admission');

async function cluster(): Promise<Cluster> {
  const made = new Cluster({ admissions: (registry) => admissions({ registry, clock: realClock }) });
  await made.create(namespaces, '', { metadata: { name: 'default' } });
  await made.create(serviceAccounts, 'default', { metadata: { name: 'default' }, imagePullSecrets: [{ name: 'pull' }] });
  return made;
}

async function refusal(attempt: Promise<unknown>): Promise<StatusError> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

test('creates nothing in a namespace that is not there or is ending', async () => {
  const { registry } = await cluster();
  const missing = await refusal(registry.create(configMaps, 'nowhere', { metadata: { name: 'a' } }));
  assert.equal([missing.code, missing.message], [404, 'namespaces "nowhere" not found']);
  await registry.create(namespaces, '', { metadata: { name: 'leaving' } });
  await registry.delete(namespaces, '', 'leaving');
  const ending = await refusal(registry.create(configMaps, 'leaving', { metadata: { name: 'a' } }));
  assert.equal([ending.code, ending.message], [403, 'configmaps "a" is forbidden: unable to create new content in namespace leaving because it is being terminated']);
  assert.equal(ending.details?.causes, [{ reason: 'NamespaceTerminating', message: 'namespace leaving is being terminated', field: 'metadata.namespace' }]);
});

test('the default namespace stays', async () => {
  const { registry } = await cluster();
  const error = await refusal(registry.delete(namespaces, '', 'default'));
  assert.equal([error.code, error.message], [403, 'namespaces "default" is forbidden: this namespace may not be deleted']);
});

test('a pod replaced by a manifest without what admission added is refused, as it would change the pod', async () => {
  const { registry } = await cluster();
  const { object } = await registry.create(pods, 'default', podDocument('a'));
  assert.ok(object.spec.volumes?.some(({ name }) => name.startsWith('kube-api-access-')));
  const bare = { ...podDocument('a') as object, metadata: { name: 'a', resourceVersion: object.metadata.resourceVersion } };
  const error = await refusal(registry.update(pods, 'default', 'a', bare));
  assert.is(error.code, 422);
  assert.match(error.message, /^Pod "a" is invalid: spec: Forbidden: pod updates may not change fields other than /);
});

test('pods get a service account, tolerations and a priority', async () => {
  const { registry } = await cluster();
  const { spec } = (await registry.create(pods, 'default', podDocument('a', { priorityClassName: 'system-node-critical' }))).object;
  assert.equal([spec.serviceAccountName, spec.serviceAccount, spec.imagePullSecrets], ['default', 'default', [{ name: 'pull' }]]);
  assert.is(spec.priority, 2_000_001_000);
  assert.equal(spec.tolerations, ['not-ready', 'unreachable'].map((what) => ({ key: `node.kubernetes.io/${what}`, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })));
  assert.is((await registry.create(pods, 'default', podDocument('b'))).object.spec.priority, 0);
});

test('tolerations of one\'s own are kept', async () => {
  const { registry } = await cluster();
  const own = { operator: 'Exists' };
  assert.equal((await registry.create(pods, 'default', podDocument('a', { tolerations: [own] }))).object.spec.tolerations, [own]);
});

test('waits a while for the service account, then says that there is none', async () => {
  const { registry } = await cluster();
  await registry.create(namespaces, '', { metadata: { name: 'fresh' } });
  const creation = registry.create(pods, 'fresh', podDocument('a'));
  await registry.create(serviceAccounts, 'fresh', { metadata: { name: 'default' } });
  assert.is((await creation).object.spec.serviceAccountName, 'default');
  const error = await refusal(registry.create(pods, 'fresh', podDocument('b', { serviceAccountName: 'ghost' })));
  assert.equal([error.code, error.message], [403, 'pods "b" is forbidden: error looking up service account fresh/ghost: serviceaccount "ghost" not found']);
});

test('an unknown priority class is refused', async () => {
  const { registry } = await cluster();
  const error = await refusal(registry.create(pods, 'default', podDocument('a', { priorityClassName: 'vip' })));
  assert.is(error.message, 'pods "a" is forbidden: no PriorityClass with name vip was found');
});

test('new nodes wait for their first report', async () => {
  const { registry } = await cluster();
  assert.equal((await registry.create(nodes, '', { metadata: { name: 'n' } })).object.spec.taints, [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]);
});

test('a node writes about itself only', async () => {
  const { registry } = await cluster();
  const user = { name: 'system:node:a', groups: ['system:nodes'] };
  await registry.create(nodes, '', { metadata: { name: 'a' } }, { user });
  assert.is((await refusal(registry.create(nodes, '', { metadata: { name: 'b' } }, { user }))).message, 'nodes "b" is forbidden: node "a" is not allowed to modify node "b"');
  await registry.create(pods, 'default', podDocument('theirs', { nodeName: 'b' }));
  await registry.create(pods, 'default', podDocument('own', { nodeName: 'a' }));
  await registry.modify(pods, 'default', 'own', (pod) => ({ ...pod, status: { ...pod.status, phase: 'Running' } }), { subresource: 'status', user });

test('a node draws no pods to itself by labels that are an administrator\'s', async () => {
  const { registry } = await cluster();
  const user = { name: 'system:node:a', groups: ['system:nodes'] };
  const marked = { metadata: { name: 'a', labels: { 'node-restriction.kubernetes.io/tier': 'secret', room: '3' } } };
  assert.is((await refusal(registry.create(nodes, '', marked, { user }))).message, 'nodes "a" is forbidden: node "a" is not allowed to set the following labels: node-restriction.kubernetes.io/tier');
  await registry.create(nodes, '', { metadata: { name: 'a', labels: { 'kubernetes.io/hostname': 'a' } } }, { user });
  const label = (key: string, value: string | undefined) => registry.modify(nodes, '', 'a', (node) => ({ ...node, metadata: { ...node.metadata, labels: { ...node.metadata.labels, [key]: value } } }), { user });
  for (const key of ['room', 'example.com/room', 'node.kubernetes.io/room', 'kubernetes.io/arch']) await label(key, 'x');
  for (const key of ['x.node-restriction.kubernetes.io/tier', 'node-role.kubernetes.io/gateway', 'scheduling.k8s.io/class']) {
    assert.is((await refusal(label(key, 'x'))).message, `nodes "a" is forbidden: node "a" is not allowed to modify labels: ${key}`);
  }
  const owned = (): Promise<unknown> => registry.modify(nodes, '', 'a', (node) => ({ ...node, metadata: { ...node.metadata, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'b', uid: 'u' }] } }), { user });
  assert.is((await refusal(owned())).message, 'nodes "a" is forbidden: node "a" is not allowed to modify owner references');
  await registry.modify(nodes, '', 'a', (node) => ({ ...node, metadata: { ...node.metadata, labels: { 'node-restriction.kubernetes.io/tier': 'secret' } } }), {});
});
  assert.is((await refusal(registry.delete(pods, 'default', 'theirs', { user }))).message, 'pods "theirs" is forbidden: node "a" can only delete pods with spec.nodeName set to itself');
});

test.run();
