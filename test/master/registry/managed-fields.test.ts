import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, FieldSet, fieldSetOf, intersection, pathString, union } from '../../../master/registry/field-set.ts';
import { ownedFields, trackFields } from '../../../master/registry/managed-fields.ts';
import type { WriteOptions } from '../../../master/registry/types.ts';
import type { Kind } from '../../../shared/kind.ts';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { services } from '../../../shared/kinds/service.ts';
import type { KubeObject, ManagedFieldsEntry } from '../../../shared/meta.ts';
import { nodeOf } from '../../../shared/schema.ts';

const test = suite('managed fields');
const now = Date.parse('2026-01-02T03:04:05Z');
const later = now + 60_000;

const map = (data: Record<string, string>, more: object = {}): KubeObject => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', ...more }, data } as KubeObject);

/** Writes as a manager, one after the other, and returns what is on record. */
function write(kind: Kind, old: KubeObject | undefined, next: KubeObject, options: WriteOptions, nowMs = now): KubeObject {
  const object = structuredClone(next);
  if (old?.metadata.managedFields && !object.metadata.managedFields) object.metadata.managedFields = structuredClone(old.metadata.managedFields);
  trackFields(kind, old, object, options, nowMs);
  return object;
}
const fields = (object: KubeObject): Record<string, unknown> =>
  Object.fromEntries((object.metadata.managedFields ?? []).map((entry) => [entry.manager + (entry.subresource ? `/${entry.subresource}` : ''), entry.fieldsV1]));
const kindOf = (kind: unknown): Kind => kind as Kind;

test('a creator owns all that it wrote, and what holds it', () => {
  const made = write(kindOf(configMaps), undefined, map({ x: '1' }, { labels: { l: '1' }, uid: 'u', creationTimestamp: '2026-01-02T03:04:05Z' }), { fieldManager: 'me' });
  assert.equal(made.metadata.managedFields, [{
    manager: 'me', operation: 'Update', apiVersion: 'v1', time: '2026-01-02T03:04:05Z', fieldsType: 'FieldsV1',
    fieldsV1: { 'f:metadata': { 'f:labels': { '.': {}, 'f:l': {} } }, 'f:data': { '.': {}, 'f:x': {} } },
  }]);
});

test('the second writer owns what it changes', () => {
  const first = write(kindOf(configMaps), undefined, map({ x: '1', y: '1' }), { fieldManager: 'one' });
  const second = write(kindOf(configMaps), first, map({ x: '2', y: '1', z: '1' }), { fieldManager: 'two' }, later);
  assert.equal(fields(second), { one: { 'f:data': { '.': {}, 'f:y': {} } }, two: { 'f:data': { 'f:x': {}, 'f:z': {} } } });
  const third = write(kindOf(configMaps), second, map({ y: '1' }), { fieldManager: 'three' }, later);
  assert.equal(fields(third), { one: { 'f:data': { '.': {}, 'f:y': {} } } }, 'what is gone is nobody\'s');
});

test('writing what is there already takes nothing', () => {
  const first = write(kindOf(configMaps), undefined, map({ x: '1' }), { fieldManager: 'one' });
  const second = write(kindOf(configMaps), first, map({ x: '1' }), { fieldManager: 'two' }, later);
  assert.equal(second.metadata.managedFields, first.metadata.managedFields);
});

test('an untracked write keeps the record, an empty list resets it', () => {
  const first = write(kindOf(configMaps), undefined, map({ x: '1' }), { fieldManager: 'one' });
  const untracked = structuredClone(map({ x: '2' }));
  trackFields(kindOf(configMaps), first, untracked, {}, later);
  assert.equal(untracked.metadata.managedFields, first.metadata.managedFields);
  const reset = map({ x: '1', y: '1' }, { managedFields: [] });
  trackFields(kindOf(configMaps), first, reset, { fieldManager: 'two' }, later);
  assert.equal(fields(reset), { two: { 'f:data': { 'f:y': {} } } });
});

test('items of keyed lists, defaults in keys, atomic values', () => {
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: { type: 'ClusterIP', selector: { a: 'b' }, ports: [{ port: 80, targetPort: 80 }] } };
  const set = ownedFields(kindOf(services), service);
  assert.equal(set.toJSON(), {
    'f:spec': { 'f:type': {}, 'f:selector': {}, 'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:port': {}, 'f:targetPort': {} } } },
  });
  const path = ['f:spec', 'f:ports', 'k:{"port":80,"protocol":"TCP"}', 'f:port'];
  assert.ok(set.has(path));
  assert.is(pathString(path), '.spec.ports[port=80,protocol="TCP"].port');
  assert.is(pathString(['f:metadata', 'f:finalizers', 'v:"x"']), '.metadata.finalizers[="x"]');
});

test('status belongs to writers of the status', () => {
  const pod = (status: object): KubeObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { containers: [{ name: 'c' }] }, status } as KubeObject);
  const made = write(kindOf(pods), undefined, pod({ phase: 'Pending' }), { fieldManager: 'one' });
  assert.equal(fields(made), { one: { 'f:spec': { 'f:containers': { 'k:{"name":"c"}': { '.': {}, 'f:name': {} } } } } });
  const running = write(kindOf(pods), made, pod({ phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }), { fieldManager: 'kubelet', subresource: 'status' }, later);
  assert.equal(fields(running)['kubelet/status'], { 'f:status': { 'f:phase': {}, 'f:conditions': { '.': {}, 'k:{"type":"Ready"}': { '.': {}, 'f:type': {}, 'f:status': {} } } } });
});

test('more than ten updaters: the oldest become one', () => {
  let object = write(kindOf(configMaps), undefined, map({}), { fieldManager: 'm0' });
  for (let i = 0; i < 12; i++) {
    const data = Object.fromEntries(Array.from({ length: i + 1 }, (_, n) => [`k${n}`, '1']));
    object = write(kindOf(configMaps), object, map(data), { fieldManager: `m${i}` }, now + i * 1000);
  }
  const managers = object.metadata.managedFields!.map(({ manager }: ManagedFieldsEntry) => manager);
  assert.is(managers.length, 10);
  assert.ok(managers.includes('ancient-changes'));
  const all = object.metadata.managedFields!.map(({ fieldsV1 }) => FieldSet.fromJSON(fieldsV1)).reduce(union);
  assert.is([...all.paths()].filter((path) => path.length === 2 && path[1] !== '.').length >= 12, true, 'nothing is lost');
});

test('appliers come first, then by time and name', () => {
  const entry = (manager: string, operation: string, time: string): ManagedFieldsEntry => ({ manager, operation, apiVersion: 'v1', time, fieldsType: 'FieldsV1', fieldsV1: { 'f:data': { [`f:${manager}`]: {} } } });
  const object = map({ a: '1', b: '1', c: '1', d: '1' }, { managedFields: [entry('a', 'Update', '2026-01-02T03:04:05Z'), entry('b', 'Apply', '2026-01-02T03:04:06Z'), entry('c', 'Apply', '2026-01-02T03:04:05Z')] });
  const next = write(kindOf(configMaps), object, map({ a: '1', b: '1', c: '1', d: '2' }), { fieldManager: 'd' }, now);
  assert.equal(next.metadata.managedFields!.map(({ manager }) => manager), ['c', 'b', 'a', 'd']);
});

test('set algebra', () => {
  const of = (...paths: string[]): FieldSet => {
    const set = new FieldSet();
    for (const path of paths) path.split(' ').reduce((at, element) => at.child(element), set).member = true;
    return set;
  };
  const paths = (set: FieldSet): string[] => [...set.paths()].map((path) => path.join(' ')).sort();
  const [a, b] = [of('f:x', 'f:y f:z'), of('f:y', 'f:y f:z', 'f:w')];
  assert.equal(paths(union(a, b)), ['f:w', 'f:x', 'f:y', 'f:y f:z']);
  assert.equal(paths(intersection(a, b)), ['f:y f:z']);
  assert.equal(paths(difference(a, b)), ['f:x']);
  assert.equal(paths(difference(b, a)), ['f:w', 'f:y']);
  assert.equal(FieldSet.fromJSON(b.toJSON()).toJSON(), { 'f:y': { '.': {}, 'f:z': {} }, 'f:w': {} });
  assert.equal(fieldSetOf(nodeOf(configMaps.schema), { data: {} }).toJSON(), { 'f:data': {} });
});

test.run();
