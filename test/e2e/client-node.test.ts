import { ApiException, CoordinationV1Api, CoreV1Api, KubeConfig, makeInformer, PatchStrategy, setHeaderOptions, VersionApi, Watch, type V1ConfigMap, type V1Status } from '@kubernetes/client-node';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startCluster, type Cluster } from './kubectl-support.ts';
import { until } from './lab.ts';

/** The JavaScript client of the Kubernetes project against a real master. */
const test = suite('client-node');
const namespace = 'default';
let cluster: Cluster;
let config: KubeConfig;
let core: CoreV1Api;
test.before(async () => {
  cluster = await startCluster();
  config = new KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  core = config.makeApiClient(CoreV1Api);
});
test.after(() => cluster.down());

const map = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}): V1ConfigMap => ({ metadata: { name, labels }, data });
const create = (body: V1ConfigMap): Promise<V1ConfigMap> => core.createNamespacedConfigMap({ namespace, body });

/** The Status that a call fails with. */
async function failure(call: Promise<unknown>): Promise<V1Status & { code: number }> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ApiException)) throw error;
    const status = (typeof error.body === 'string' ? JSON.parse(error.body) : error.body) as V1Status & { code: number };
    assert.is(status.code, error.code);
    assert.equal([status.kind, status.apiVersion, status.status], ['Status', 'v1', 'Failure']);
    return status;
  }
  throw new Error('the call succeeded');
}

test('create, read, replace, delete', async () => {
  const made = await create(map('crud', { a: '1' }));
  assert.type(made.metadata?.uid, 'string');
  assert.ok(made.metadata?.creationTimestamp instanceof Date);
  const replaced = await core.replaceNamespacedConfigMap({ name: 'crud', namespace, body: { ...made, data: { a: '2' } } });
  assert.not.equal(replaced.metadata?.resourceVersion, made.metadata?.resourceVersion);
  assert.equal((await core.readNamespacedConfigMap({ name: 'crud', namespace })).data, { a: '2' });
  const gone = await core.deleteNamespacedConfigMap({ name: 'crud', namespace });
  assert.is(gone.status, 'Success');
  assert.is((await failure(core.readNamespacedConfigMap({ name: 'crud', namespace }))).message, 'configmaps "crud" not found');
});

test('list with selectors and in pages', async () => {
  for (let i = 0; i < 5; i++) await create(map(`list-${i}`, {}, { of: 'list', even: String(i % 2 === 0) }));
  const selected = await core.listNamespacedConfigMap({ namespace, labelSelector: 'of=list,even=true' });
  assert.equal(selected.items.map(({ metadata }) => metadata?.name), ['list-0', 'list-2', 'list-4']);
  const names: (string | undefined)[] = [];
  let next: string | undefined;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'of=list', limit: 2, ...(next ? { _continue: next } : {}) });
    names.push(...page.items.map(({ metadata }) => metadata?.name));
    next = page.metadata?._continue || undefined;
  } while (next);
  assert.equal(names, ['list-0', 'list-1', 'list-2', 'list-3', 'list-4']);
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'of=list' });
  assert.is((await core.listNamespacedConfigMap({ namespace, labelSelector: 'of=list' })).items.length, 0);
});

test('every type of patch, and apply', async () => {
  await create(map('patched', { a: '1' }));
  const patch = async (type: PatchStrategy, body: unknown, more: { fieldManager?: string; force?: boolean } = {}): Promise<V1ConfigMap> =>
    core.patchNamespacedConfigMap({ name: 'patched', namespace, body, ...more }, setHeaderOptions('Content-Type', type));
  assert.equal((await patch(PatchStrategy.MergePatch, { data: { b: '2' } })).data, { a: '1', b: '2' });
  assert.equal((await patch(PatchStrategy.JsonPatch, [{ op: 'remove', path: '/data/a' }])).data, { b: '2' });
  assert.equal((await patch(PatchStrategy.StrategicMergePatch, { data: { c: '3' } })).data, { b: '2', c: '3' });
  const wanted = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'patched' }, data: { c: '4' } };
  const conflict = await failure(patch(PatchStrategy.ServerSideApply, wanted, { fieldManager: 'me' }));
  assert.equal([conflict.code, conflict.reason], [409, 'Conflict']);
  assert.match(conflict.message ?? '', /^Apply failed with 1 conflict: conflict with ".+" using v1 at .+: \.data\.c$/);
  assert.equal(conflict.details?.causes?.map(({ reason, field }) => [reason, field]), [['FieldManagerConflict', '.data.c']]);
  const applied = await patch(PatchStrategy.ServerSideApply, wanted, { fieldManager: 'me', force: true });
  assert.equal(applied.data, { b: '2', c: '4' });
  assert.ok(applied.metadata?.managedFields?.some(({ manager, operation }) => manager === 'me' && operation === 'Apply'));
  const fresh = await core.patchNamespacedConfigMap({ name: 'applied', namespace, body: { ...wanted, metadata: { name: 'applied' } }, fieldManager: 'me' }, setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply));
  assert.equal(fresh.data, { c: '4' });
});

test('errors carry a Status', async () => {
  await create(map('taken'));
  const exists = await failure(create(map('taken')));
  assert.equal([exists.code, exists.reason, exists.message, exists.details], [409, 'AlreadyExists', 'configmaps "taken" already exists', { name: 'taken', kind: 'configmaps' }]);
  const invalid = await failure(core.createNamespacedPod({ namespace, body: { metadata: { name: 'p' }, spec: { containers: [] } } }));
  assert.equal([invalid.code, invalid.reason, invalid.details], [422, 'Invalid', { name: 'p', kind: 'Pod', causes: [{ reason: 'FieldValueRequired', message: 'Required value', field: 'spec.containers' }] }]);
  const stale = await failure(core.replaceNamespacedConfigMap({ name: 'taken', namespace, body: { metadata: { name: 'taken', resourceVersion: '1' } } }));
  assert.equal([stale.code, stale.reason], [409, 'Conflict']);
  const nowhere = await failure(core.createNamespacedConfigMap({ namespace: 'nowhere', body: map('x') }));
  assert.equal([nowhere.code, nowhere.message], [404, 'namespaces "nowhere" not found']);
  const old = await failure(core.listNamespacedConfigMap({ namespace, limit: 1, _continue: 'nonsense' }));
  assert.is(old.code, 400);
  const lease = await failure(config.makeApiClient(CoordinationV1Api).readNamespacedLease({ name: 'no', namespace }));
  assert.equal([lease.message, lease.details], ['leases.coordination.k8s.io "no" not found', { name: 'no', group: 'coordination.k8s.io', kind: 'leases' }]);
});

test('version', async () => {
  const { major, minor, platform } = await config.makeApiClient(VersionApi).getCode();
  assert.equal([major, minor], ['1', '32']);
  assert.match(platform, /^\w+\/(?:amd64|arm64|arm)$/);
});

test('watch from a resourceVersion', async () => {
  const { metadata } = await core.listNamespacedConfigMap({ namespace });
  const seen: string[] = [];
  const watching = await new Watch(config).watch(`/api/v1/namespaces/${namespace}/configmaps`, { resourceVersion: metadata?.resourceVersion, labelSelector: 'w=1', allowWatchBookmarks: true },
    (phase, object: V1ConfigMap) => { if (phase !== 'BOOKMARK') seen.push(`${phase} ${object.metadata?.name}`); }, () => undefined);
  await create(map('watched', {}, { w: '1' }));
  await create(map('ignored'));
  await core.patchNamespacedConfigMap({ name: 'watched', namespace, body: { data: { a: '1' } } }, setHeaderOptions('Content-Type', PatchStrategy.MergePatch));
  await core.patchNamespacedConfigMap({ name: 'watched', namespace, body: { metadata: { labels: { w: null } } } }, setHeaderOptions('Content-Type', PatchStrategy.MergePatch));
  await until('three events have come', 10_000, async () => seen.length >= 3);
  watching.abort();
  assert.equal(seen, ['ADDED watched', 'MODIFIED watched', 'DELETED watched']);
});

test('an informer goes on after the master was killed', async () => {
  const selector = 'of=informer';
  await create(map('before', { n: '1' }, { of: 'informer' }));
  const informer = makeInformer<V1ConfigMap>(config, `/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace, labelSelector: selector }), selector);
  const added: string[] = [];
  informer.on('add', ({ metadata }) => { added.push(metadata?.name ?? ''); });
  let wanted = true;
  informer.on('error', () => { if (wanted) setTimeout(() => { if (wanted) informer.start().catch(() => undefined); }, 200); });
  await informer.start();
  await until('the first object is known', 10_000, async () => added.includes('before'));
  await create(map('during', {}, { of: 'informer' }));
  await until('a change is seen', 10_000, async () => added.includes('during'));
  await cluster.kill();
  await cluster.start();
  assert.equal((await core.readNamespacedConfigMap({ name: 'during', namespace })).metadata?.name, 'during', 'what was acknowledged is there');
  await create(map('after', {}, { of: 'informer' }));
  await core.deleteNamespacedConfigMap({ name: 'before', namespace });
  await until('the informer has caught up', 60_000, async () => added.includes('after') && !informer.get('before', namespace));
  wanted = false;
  await informer.stop();
  assert.equal(informer.list(namespace).map(({ metadata }) => metadata?.name).sort(), ['after', 'during']);
});

test.run();
