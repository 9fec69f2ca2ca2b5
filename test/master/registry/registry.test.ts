import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Registry, storeKey } from '../../../master/registry/registry.ts';
import type { Admission, KindChange } from '../../../master/registry/types.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { configMaps, type ConfigMap } from '../../../shared/kinds/configmap.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { replicationControllers } from '../../../shared/kinds/replicationcontroller.ts';
import { StatusError } from '../../../shared/status.ts';
import { FakeClock } from '../../fakes/clock.ts';

const test = suite('registry');

function open(admissions: readonly Admission[] = []): Registry {
  const registry = new Registry({ store: openMemoryStore(), clock: new FakeClock(), random: () => 0.5, kinds, allocators: [] });
  registry.useAdmissions(admissions);
  return registry;
}

const map = (name: string, data: Record<string, string> = {}, metadata: object = {}): object => ({ metadata: { name, ...metadata }, data });
const pod = (name: string): object => ({ metadata: { name }, spec: { containers: [{ name: 'c', image: 'x' }] } });
const rc = (name: string): object => ({ metadata: { name }, spec: { template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'x' }] } } } });

async function failure(promise: Promise<unknown>): Promise<[number, string, string]> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof StatusError) return [error.code, error.reason, error.message];
    throw error;
  }
  throw new Error('the write succeeded');
}

test('create completes an object', async () => {
  const registry = open();
  const { object, revision, bytes } = await registry.create(configMaps, 'n', map('a', { x: '1' }, { uid: 'mine', generation: 7, deletionTimestamp: '2026-01-01T00:00:00Z' }));
  assert.equal([object.apiVersion, object.kind, object.metadata.namespace, object.metadata.creationTimestamp], ['v1', 'ConfigMap', 'n', '2026-01-02T03:04:05Z']);
  assert.is(object.metadata.resourceVersion, String(revision));
  assert.not.equal(object.metadata.uid, 'mine');
  assert.is(object.metadata.deletionTimestamp, undefined);
  assert.is(object.metadata.generation, undefined, 'config maps count no generations');
  assert.equal(JSON.parse(Buffer.from(bytes).toString()), object);
  assert.equal(registry.get(configMaps, 'n', 'a').object, object);
});

test('create refuses', async () => {
  const registry = open();
  await registry.create(configMaps, 'n', map('a'));
  assert.equal(await failure(registry.create(configMaps, 'n', map('a'))), [409, 'AlreadyExists', 'configmaps "a" already exists']);
  assert.equal((await failure(registry.create(configMaps, 'n', map('b', {}, { resourceVersion: '1' }))))[0], 400);
  assert.equal(await failure(registry.create(configMaps, 'n', map('b', {}, { namespace: 'm' }))), [400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request']);
  assert.equal(await failure(registry.create(configMaps, 'n', { metadata: {} })), [422, 'Invalid', 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required']);
  assert.equal(await failure(registry.create(configMaps, 'n', { metadata: { name: 'b' }, data: { x: 1 } })), [400, 'BadRequest', 'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data.x of type string']);
  assert.equal(await failure(registry.create(configMaps, 'n', map('b', {}, { finalizers: ['hold', 'orphan', 'example.com/hold'] }))), [422, 'Invalid', 'ConfigMap "b" is invalid: metadata.finalizers[0]: Invalid value: "hold": name is neither a standard finalizer name nor is it fully qualified']);
  assert.is(registry.find(configMaps, 'n', 'b'), undefined);
});

test('a writer hears what is odd about an object', async () => {
  const registry = open();
  const told: string[] = [];
  const options = { warn: (text: string): void => { told.push(text); } };
  const odd = { spec: { template: { metadata: { labels: { a: 'b' } }, spec: { terminationGracePeriodSeconds: -1, containers: [{ name: 'c', image: 'x' }] } } } };
  await registry.create(replicationControllers, 'n', { metadata: { name: 'a' }, ...odd }, options);
  assert.equal(told.splice(0), ['spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1']);
  await registry.modify(replicationControllers, 'n', 'a', (rc) => ({ ...rc, metadata: { ...rc.metadata, labels: { c: 'd' } } }), options);
  await registry.modify(replicationControllers, 'n', 'a', (rc) => ({ ...rc, spec: { ...rc.spec, replicas: 3 } }), { ...options, subresource: 'scale' });
  assert.equal(told, [], 'a change that has nothing to do with it');
  await registry.modify(replicationControllers, 'n', 'a', (rc) => ({ ...rc, spec: { ...rc.spec, minReadySeconds: 3 } }), options);
  assert.is(told.length, 1);
});

test('what is found is current, also for who hears of the change', async () => {
  const registry = open();
  const heard: (string | undefined)[] = [];
  const stop = new AbortController();
  registry.changes(0, () => heard.push(registry.find(configMaps, 'n', 'a')?.data?.['x']), stop.signal);
  await registry.create(configMaps, 'n', map('a', { x: '1' }));
  assert.is(registry.find(configMaps, 'n', 'a')?.data?.['x'], '1');
  await registry.update(configMaps, 'n', 'a', map('a', { x: '2' }));
  await registry.delete(configMaps, 'n', 'a');
  await registry.create(configMaps, 'n', map('a', { x: '3' }));
  assert.equal(heard, ['1', '2', undefined, '3']);
  stop.abort();
});

test('names are generated', async () => {
  const { object } = await open().create(configMaps, 'n', { metadata: { generateName: 'web-' } });
  assert.match(object.metadata.name ?? '', /^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
});

test('unknown fields: pruned, warned of, refused', async () => {
  const registry = open();
  const document = { ...map('a'), colour: 'red' };
  const warnings: string[] = [];
  await registry.create(configMaps, 'n', document, { fieldValidation: 'Warn', warn: (text) => warnings.push(text) });
  assert.equal(warnings, ['unknown field "colour"']);
  assert.not.ok('colour' in registry.get(configMaps, 'n', 'a').object);
  assert.equal(await failure(registry.create(configMaps, 'n', { ...document, metadata: { name: 'b' } }, { fieldValidation: 'Strict' })), [400, 'BadRequest', 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "colour"']);
  assert.equal(await failure(registry.update(configMaps, 'n', 'a', { metadata: {}, data: 1 }, { unreadable: (why) => new StatusError(422, 'Invalid', why) })), [422, 'Invalid', 'json: cannot unmarshal number into Go struct field ConfigMap.data of type map[string]string']);
});

test('update: the version that was meant', async () => {
  const registry = open();
  const first = await registry.create(configMaps, 'n', map('a', { x: '1' }));
  const second = await registry.update(configMaps, 'n', 'a', map('a', { x: '2' }, { resourceVersion: first.object.metadata.resourceVersion }));
  assert.ok(second.revision > first.revision);
  assert.equal([second.object.metadata.uid, second.object.metadata.creationTimestamp], [first.object.metadata.uid, first.object.metadata.creationTimestamp]);
  assert.equal(await failure(registry.update(configMaps, 'n', 'a', map('a', {}, { resourceVersion: String(first.revision) }))),
    [409, 'Conflict', 'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again']);
  assert.is((await failure(registry.update(configMaps, 'n', 'a', map('a', {}, { uid: 'other' }))))[0], 409);
  assert.equal(await failure(registry.update(configMaps, 'n', 'a', map('b'))), [400, 'BadRequest', 'the name of the object (b) does not match the name on the URL (a)']);
  assert.equal(await failure(registry.update(configMaps, 'n', 'c', map('c'))), [404, 'NotFound', 'configmaps "c" not found']);
});

test('an update without a change writes nothing', async () => {
  const registry = open();
  const first = await registry.create(configMaps, 'n', map('a', { x: '1' }), { fieldManager: 'me' });
  const { revision } = registry.store;
  const again = await registry.update(configMaps, 'n', 'a', structuredClone(first.object), { fieldManager: 'me' });
  assert.equal([again.object.metadata.resourceVersion, registry.store.revision], [first.object.metadata.resourceVersion, revision]);
});

test('modify runs again when somebody else is faster', async () => {
  const registry = open();
  await registry.create(configMaps, 'n', map('a', { count: '0' }));
  const increment = (current: ConfigMap): ConfigMap => ({ ...current, data: { count: String(Number(current.data?.['count']) + 1) } });
  await Promise.all(Array.from({ length: 10 }, () => registry.modify(configMaps, 'n', 'a', increment)));
  assert.equal(registry.get(configMaps, 'n', 'a').object.data, { count: '10' });
  const { revision } = registry.store;
  await registry.modify(configMaps, 'n', 'a', () => undefined);
  assert.is(registry.store.revision, revision);
  assert.is((await failure(registry.modify(configMaps, 'n', 'a', increment, { preconditions: { uid: 'other' } })))[0], 409);
});

test('a dry run checks and stores nothing', async () => {
  const registry = open();
  const { object } = await registry.create(configMaps, 'n', map('a'), { dryRun: true });
  assert.is(object.metadata.name, 'a');
  assert.is(registry.find(configMaps, 'n', 'a'), undefined);
  await registry.create(configMaps, 'n', map('a', { x: '1' }));
  const { revision } = registry.store;
  await registry.update(configMaps, 'n', 'a', map('a', { x: '2' }), { dryRun: true });
  await registry.delete(configMaps, 'n', 'a', { dryRun: true });
  assert.equal([registry.get(configMaps, 'n', 'a').object.data, registry.store.revision], [{ x: '1' }, revision]);
});

test('a node brings its first status along, and nobody else does', async () => {
  const registry = open();
  const node = await registry.create(nodes, '', { metadata: { name: 'a' }, status: { capacity: { cpu: '4' } } }, { fieldManager: 'agent' });
  assert.equal(node.object.status.capacity, { cpu: '4' });
  assert.equal(node.object.metadata.managedFields, undefined);
  const namespace = await registry.create(namespaces, '', { metadata: { name: 'a' }, status: { phase: 'Terminating' } });
  assert.is(namespace.object.status.phase, 'Active');
});

test('status and the rest are written apart, generations count the rest', async () => {
  const registry = open();
  const first = await registry.create(replicationControllers, 'n', { ...rc('a'), status: { replicas: 9 } });
  assert.equal([first.object.status.replicas, first.object.metadata.generation], [0, 1]);
  const changed = structuredClone(first.object);
  changed.spec.replicas = 3;
  changed.status = { ...changed.status, replicas: 7 };
  const second = await registry.update(replicationControllers, 'n', 'a', changed);
  assert.equal([second.object.status.replicas, second.object.spec.replicas, second.object.metadata.generation], [0, 3, 2]);
  const third = await registry.update(replicationControllers, 'n', 'a', { ...changed, metadata: { name: 'a', labels: { not: 'written' } } }, { subresource: 'status' });
  assert.equal([third.object.status.replicas, third.object.metadata.generation, third.object.metadata.labels], [7, 2, first.object.metadata.labels]);
});

test('a writer owns what it wrote, not what admission made of it', async () => {
  const registry = open([{ name: 'Label', handles: ({ operation }) => operation !== 'DELETE', admit: ({ object }) => { object.metadata.labels = { admitted: 'true' }; } }]);
  const { object } = await registry.create(configMaps, 'n', map('a', { x: '1' }), { fieldManager: 'me' });
  assert.equal(object.metadata.labels, { admitted: 'true' });
  assert.equal(object.metadata.managedFields!.map(({ fieldsV1 }) => fieldsV1), [{ 'f:data': { '.': {}, 'f:x': {} } }]);
});

test('admission may refuse, and validates what was made of the object', async () => {
  const refusing: Admission = { name: 'No', handles: ({ name }) => name === 'bad', validate: () => { throw new StatusError(403, 'Forbidden', 'no'); } };
  const registry = open([refusing]);
  assert.equal(await failure(registry.create(configMaps, 'n', map('bad'))), [403, 'Forbidden', 'no']);
  await registry.create(configMaps, 'n', map('good'));
});

test('finalizers: the last one to go takes the object with it', async () => {
  const registry = open();
  await registry.create(configMaps, 'n', map('a', {}, { finalizers: ['x.test/y'] }));
  const { removed, stored } = await registry.delete(configMaps, 'n', 'a');
  assert.equal([removed, stored.object.metadata.deletionTimestamp], [false, '2026-01-02T03:04:05Z']);
  assert.is((await failure(registry.modify(configMaps, 'n', 'a', (current) => ({ ...current, metadata: { ...current.metadata, finalizers: ['x.test/y', 'x.test/z'] } }))))[0], 422, 'none may be added');
  await registry.modify(configMaps, 'n', 'a', (current) => ({ ...current, metadata: { ...current.metadata, finalizers: [] } }));
  assert.is(registry.find(configMaps, 'n', 'a'), undefined);
});

test('delete: preconditions, grace, and what is not there', async () => {
  const registry = open();
  assert.equal(await failure(registry.delete(pods, 'n', 'p')), [404, 'NotFound', 'pods "p" not found']);
  const { object } = await registry.create(pods, 'n', pod('p'));
  assert.equal((await failure(registry.delete(pods, 'n', 'p', { preconditions: { uid: 'other' } })))[0], 409);
  assert.equal((await failure(registry.delete(pods, 'n', 'p', { preconditions: { resourceVersion: '999' } })))[0], 409);
  assert.is((await registry.delete(pods, 'n', 'p', { preconditions: { uid: object.metadata.uid ?? '' } })).removed, true);
});

test('namespaces go when finalize empties their spec', async () => {
  const registry = open();
  await registry.create(namespaces, '', { metadata: { name: 'x' }, spec: { finalizers: ['kubernetes'] } });
  const { stored } = await registry.delete(namespaces, '', 'x');
  assert.is(stored.object.status.phase, 'Terminating');
  await registry.finalize(namespaces, '', 'x', { metadata: { name: 'x' }, spec: { finalizers: [] } });
  assert.is(registry.find(namespaces, '', 'x'), undefined);
});

test('changes come in order, with what was before', async () => {
  const registry = open();
  const seen: KindChange[] = [];
  const abort = new AbortController();
  registry.changes(0, (changes) => { seen.push(...changes); }, abort.signal);
  await registry.create(configMaps, 'n', map('a', { x: '1' }));
  await registry.update(configMaps, 'n', 'a', map('a', { x: '2' }));
  await registry.delete(configMaps, 'n', 'a');
  await new Promise((wake) => setImmediate(wake));
  abort.abort();
  assert.equal(seen.map(({ type, namespace, name }) => `${type} ${namespace}/${name}`), ['ADDED n/a', 'MODIFIED n/a', 'DELETED n/a']);
  assert.equal(seen.map(({ object }) => (object as ConfigMap).data), [{ x: '1' }, { x: '2' }, { x: '2' }]);
  assert.equal((seen[1]!.previous as ConfigMap).data, { x: '1' });
  assert.is(seen[2]!.object.metadata.resourceVersion, String(seen[2]!.revision));
});

test('lists by namespace, keys by kind', async () => {
  const registry = open();
  for (const [namespace, name] of [['n', 'b'], ['n', 'a'], ['m', 'c'], ['n2', 'd']] as const) await registry.create(configMaps, namespace, map(name));
  assert.equal(registry.all(configMaps, 'n').map(({ metadata }) => metadata.name), ['a', 'b']);
  assert.is(registry.all(configMaps).length, 4);
  assert.is(storeKey(configMaps, 'n', 'a'), 'core/configmaps/n/a');
  assert.is(storeKey(namespaces, '', 'n'), 'core/namespaces/n');
});

test.run();
