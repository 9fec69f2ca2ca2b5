import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMap, configMaps, openLab, pod, pods, type Lab } from './support.ts';

const test = suite<{ lab: Lab }>('writes');

test.before.each(async (context) => { context.lab = await openLab(); });
test.after.each(({ lab }) => lab.close());

const namespaces = '/api/v1/namespaces';
const rcs = '/api/v1/namespaces/default/replicationcontrollers';
const rc = { apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'web' }, spec: { replicas: 2, selector: { app: 'web' }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'nginx' }] } } } };

test('generateName makes a name, and another one when it is taken', async ({ lab }) => {
  const { json, code } = await lab.client.post(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { generateName: 'web-' } });
  assert.is(code, 201);
  assert.match(json.metadata.name, /^web-[a-z0-9]{5}$/);
});

test('dryRun answers as if, and writes nothing', async ({ lab }) => {
  const created = await lab.client.post(`${configMaps}?dryRun=All`, configMap('a'));
  assert.is(created.code, 201);
  assert.ok(created.json.metadata.uid);
  assert.is((await lab.client.get(`${configMaps}/a`)).code, 404);
  await lab.client.post(configMaps, configMap('a', { x: '1' }));
  const patched = await lab.client.patch(`${configMaps}/a?dryRun=All`, 'merge-patch+json', { data: { x: '2' } });
  assert.is(patched.json.data.x, '2');
  assert.is((await lab.client.get(`${configMaps}/a`)).json.data.x, '1');
  const deleted = await lab.client.delete(`${configMaps}/a`, { kind: 'DeleteOptions', apiVersion: 'v1', dryRun: ['All'] });
  assert.is(deleted.code, 200);
  assert.is((await lab.client.get(`${configMaps}/a`)).code, 200);
});

test('unknown and repeated fields: Strict refuses, Warn warns, Ignore is silent', async ({ lab }) => {
  const body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","color":"red"},"data":{"x":"1","x":"2"}}';
  const strict = await lab.client.post(`${configMaps}?fieldValidation=Strict`, body);
  assert.is(strict.code, 400);
  assert.is(strict.json.message, 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data.x", unknown field "metadata.color"');
  const ignored = await lab.client.post(`${configMaps}?fieldValidation=Ignore&dryRun=All`, body);
  assert.is(ignored.headers['warning'], undefined);
  const warned = await lab.client.post(configMaps, body);
  assert.is(warned.code, 201);
  assert.is(warned.headers['warning'], '299 - "duplicate field \\"data.x\\"", 299 - "unknown field \\"metadata.color\\""');
  assert.is(warned.json.data.x, '2');
});

test('the manager is the program in the User-Agent unless the query names one', async ({ lab }) => {
  const labels = { metadata: { labels: { a: 'b' } } };
  const first = await lab.client.post(configMaps, { ...configMap('a'), ...{ metadata: { name: 'a', ...labels.metadata } } });
  assert.is(first.json.metadata.managedFields[0].manager, 'tester');
  const second = await lab.client.post(`${configMaps}?fieldManager=me`, { ...configMap('b'), ...{ metadata: { name: 'b', ...labels.metadata } } });
  assert.is(second.json.metadata.managedFields[0].manager, 'me');
});

test('deletion answers with a Status, or with the object where Kubernetes does', async ({ lab }) => {
  const { json: { metadata } } = await lab.client.post(configMaps, configMap('a'));
  const status = await lab.client.delete(`${configMaps}/a`);
  assert.equal(status.json, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details: { name: 'a', kind: 'configmaps', uid: metadata.uid } });
  await lab.client.post(pods, pod('web'));
  const object = await lab.client.delete(`${pods}/web`, { gracePeriodSeconds: 0 });
  assert.is(object.json.kind, 'Pod');
});

test('finalizers keep an object until they are gone; 202 only for the old way of asking', async ({ lab }) => {
  await lab.client.post(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', finalizers: ['example.com/hold'] } });
  const marked = await lab.client.delete(`${configMaps}/a`, { kind: 'DeleteOptions', apiVersion: 'v1', orphanDependents: false });
  assert.is(marked.code, 202);
  assert.ok(marked.json.metadata.deletionTimestamp);
  assert.is((await lab.client.delete(`${configMaps}/a?propagationPolicy=Foreground`)).code, 200);
  const released = await lab.client.patch(`${configMaps}/a`, 'json-patch+json', [{ op: 'remove', path: '/metadata/finalizers' }]);
  assert.is(released.code, 200, released.text);
  assert.is((await lab.client.get(`${configMaps}/a`)).code, 404);
});

test('preconditions of a deletion', async ({ lab }) => {
  const { json: { metadata } } = await lab.client.post(configMaps, configMap('a'));
  const wrong = await lab.client.delete(`${configMaps}/a`, { preconditions: { uid: 'x' } });
  assert.is(wrong.code, 409);
  assert.is(wrong.json.message, `Operation cannot be fulfilled on configmaps "a": Precondition failed: UID in precondition: x, UID in object meta: ${metadata.uid}`);
  const stale = await lab.client.delete(`${configMaps}/a`, { preconditions: { resourceVersion: '1' } });
  assert.is(stale.code, 409);
  assert.is((await lab.client.delete(`${configMaps}/a`, { preconditions: { uid: metadata.uid, resourceVersion: metadata.resourceVersion } })).code, 200);
});

test('a namespace ends in two steps', async ({ lab }) => {
  const made = await lab.client.post(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'test' } });
  assert.equal(made.json.spec.finalizers, ['kubernetes']);
  const marked = await lab.client.delete(`${namespaces}/test`);
  assert.is(marked.code, 200);
  assert.is(marked.json.status.phase, 'Terminating');
  assert.ok(marked.json.metadata.deletionTimestamp);
  assert.is((await lab.client.delete(`${namespaces}/test`)).code, 200);
  const finalized = await lab.client.put(`${namespaces}/test/finalize`, { ...marked.json, metadata: { name: 'test' }, spec: {} });
  assert.is(finalized.code, 200, finalized.text);
  assert.is((await lab.client.get(`${namespaces}/test`)).code, 404);
});

test('status: writes of either part leave the other alone', async ({ lab }) => {
  const { json } = await lab.client.post(pods, pod('web'));
  assert.is(json.status.phase, 'Pending');
  const status = await lab.client.put(`${pods}/web/status`, { ...json, metadata: { ...json.metadata, labels: { a: 'b' } }, status: { ...json.status, phase: 'Running' } });
  assert.is(status.json.status.phase, 'Running', status.text);
  const both = await lab.client.patch(`${pods}/web`, 'strategic-merge-patch+json', { metadata: { labels: { c: 'd' } }, status: { phase: 'Failed' } });
  assert.is(both.json.status.phase, 'Running');
  assert.is(both.json.metadata.labels.c, 'd');
  assert.is((await lab.client.get(`${pods}/web/status`)).json.status.phase, 'Running');
});

test('scale reads and writes replicas', async ({ lab }) => {
  assert.is((await lab.client.post(rcs, rc)).code, 201);
  const { json } = await lab.client.get(`${rcs}/web/scale`);
  assert.equal([json.kind, json.apiVersion, json.spec.replicas, json.status.selector], ['Scale', 'autoscaling/v1', 2, 'app=web']);
  assert.is((await lab.client.put(`${rcs}/web/scale`, { ...json, spec: { replicas: 3 } })).json.spec.replicas, 3);
  assert.is((await lab.client.patch(`${rcs}/web/scale`, 'merge-patch+json', { spec: { replicas: 5 } })).json.spec.replicas, 5);
  assert.is((await lab.client.get(`${rcs}/web`)).json.spec.replicas, 5);
  assert.is((await lab.client.put(`${rcs}/web/scale`, json)).code, 409, 'a stale scale');
  const table = (await lab.client.get(`${rcs}/web/scale`, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' })).json;
  assert.equal(table.columnDefinitions.map(({ name }: { name: string }) => name), ['Name', 'Desired', 'Available', 'Age']);
  assert.equal(table.rows[0].cells.slice(0, 3), ['web', 5, 0]);
});

test('a pod is bound once, also through the collection of bindings', async ({ lab }) => {
  await lab.client.post(pods, pod('a'));
  await lab.client.post(pods, pod('b'));
  const binding = (name: string) => ({ apiVersion: 'v1', kind: 'Binding', metadata: { name }, target: { kind: 'Node', name: 'node-1' } });
  const bound = await lab.client.post(`${pods}/a/binding`, binding('a'));
  assert.equal(bound.json, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 });
  assert.is((await lab.client.post(`${pods}/a/binding`, binding('a'))).code, 409);
  assert.is((await lab.client.post('/api/v1/namespaces/default/bindings', binding('b'))).code, 201);
  assert.is((await lab.client.get(`${pods}/b`)).json.spec.nodeName, 'node-1');
});

test('an eviction deletes; both versions are taken', async ({ lab }) => {
  for (const apiVersion of ['policy/v1', 'policy/v1beta1']) {
    await lab.client.post(pods, pod('a'));
    const evicted = await lab.client.post(`${pods}/a/eviction`, { apiVersion, kind: 'Eviction', metadata: { name: 'a', namespace: 'default' }, deleteOptions: { gracePeriodSeconds: 0 } });
    assert.is(evicted.code, 201, evicted.text);
    assert.is((await lab.client.get(`${pods}/a`)).code, 404);
  }
});

test('apply creates, owns, and meets conflicts', async ({ lab }) => {
  const config = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: one\n';
  const created = await lab.client.patch(`${configMaps}/a?fieldManager=one`, 'apply-patch+yaml', config);
  assert.is(created.code, 201, created.text);
  assert.is(created.json.metadata.managedFields[0].operation, 'Apply');
  const refused = await lab.client.patch(`${configMaps}/a?fieldManager=two`, 'apply-patch+yaml', config.replace('one', 'two'));
  assert.is(refused.code, 409);
  assert.is(refused.json.message, 'Apply failed with 1 conflict: conflict with "one": .data.x');
  const forced = await lab.client.patch(`${configMaps}/a?fieldManager=two&force=true`, 'apply-patch+yaml', config.replace('one', 'two'));
  assert.is(forced.code, 200);
  assert.is(forced.json.data.x, 'two');
  const nobody = await lab.client.patch(`${configMaps}/a`, 'apply-patch+yaml', config);
  assert.is(nobody.code, 422);
  assert.is(nobody.json.message, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch');
});

test('writers that race all get their turn', async ({ lab }) => {
  await lab.client.post(configMaps, configMap('a'));
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => lab.client.patch(`${configMaps}/a`, 'merge-patch+json', { data: { [`k${n}`]: 'x' } })));
  assert.equal(new Set(answers.map(({ code }) => code)), new Set([200]));
  assert.is(Object.keys((await lab.client.get(`${configMaps}/a`)).json.data).length, 20);
});

test.run();
