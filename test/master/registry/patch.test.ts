import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { applyPatch, goText, jsonPatch, mergePatch, type Patch } from '../../../master/registry/patch.ts';
import type { Kind } from '../../../shared/kind.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { services } from '../../../shared/kinds/service.ts';
import type { KubeObject } from '../../../shared/meta.ts';
import { StatusError } from '../../../shared/status.ts';

const test = suite('patch');

interface Case { readonly name: string; readonly from: unknown; readonly patch: unknown; readonly to: unknown }

/** The examples of RFC 7386, appendix A. */
const merges: readonly [unknown, unknown, unknown][] = [
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [['a', 'b'], ['c', 'd'], ['c', 'd']],
  [{ a: 'b' }, ['c'], ['c']],
  [{ a: 'foo' }, null, null],
  [{ a: 'foo' }, 'bar', 'bar'],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: 'b', c: null }, { a: 'b' }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];
for (const [index, [from, patch, to]] of merges.entries()) {
  test(`merge patch, RFC 7386 example ${index + 1}`, () => assert.equal(mergePatch(structuredClone(from), patch), to));
}

/** Examples of RFC 6902, appendix A, and the corners of the format. */
const operations: readonly Case[] = [
  { name: 'add a member', from: { foo: 'bar' }, patch: [{ op: 'add', path: '/baz', value: 'qux' }], to: { baz: 'qux', foo: 'bar' } },
  { name: 'add an element', from: { foo: ['bar', 'baz'] }, patch: [{ op: 'add', path: '/foo/1', value: 'qux' }], to: { foo: ['bar', 'qux', 'baz'] } },
  { name: 'append', from: { foo: [1] }, patch: [{ op: 'add', path: '/foo/-', value: [2] }], to: { foo: [1, [2]] } },
  { name: 'remove', from: { baz: 'qux', foo: 'bar' }, patch: [{ op: 'remove', path: '/baz' }], to: { foo: 'bar' } },
  { name: 'remove an element', from: { foo: [1, 2, 3] }, patch: [{ op: 'remove', path: '/foo/1' }], to: { foo: [1, 3] } },
  { name: 'replace', from: { baz: 'qux' }, patch: [{ op: 'replace', path: '/baz', value: 'boo' }], to: { baz: 'boo' } },
  { name: 'move', from: { foo: { bar: 'baz', waldo: 'fred' }, qux: {} }, patch: [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }], to: { foo: { bar: 'baz' }, qux: { thud: 'fred' } } },
  { name: 'move an element', from: { foo: ['all', 'grass', 'cows', 'eat'] }, patch: [{ op: 'move', from: '/foo/1', path: '/foo/3' }], to: { foo: ['all', 'cows', 'eat', 'grass'] } },
  { name: 'copy', from: { a: { b: 1 } }, patch: [{ op: 'copy', from: '/a', path: '/c' }, { op: 'replace', path: '/a/b', value: 2 }], to: { a: { b: 2 }, c: { b: 1 } } },
  { name: 'test and go on', from: { baz: ['a', 2] }, patch: [{ op: 'test', path: '/baz/1', value: 2 }, { op: 'test', path: '/nope', value: null }], to: { baz: ['a', 2] } },
  { name: 'escaped paths', from: { 'a/b': 1, 'm~n': 2 }, patch: [{ op: 'replace', path: '/a~1b', value: 3 }, { op: 'remove', path: '/m~0n' }], to: { 'a/b': 3 } },
  { name: 'the whole document', from: { a: 1 }, patch: [{ op: 'replace', path: '', value: { b: 2 } }], to: { b: 2 } },
  { name: 'a null member', from: { a: 1 }, patch: [{ op: 'add', path: '/b', value: null }], to: { a: 1, b: null } },
];
for (const { name, from, patch, to } of operations) test(`json patch: ${name}`, () => assert.equal(jsonPatch(structuredClone(from), patch), to));

const status = (run: () => unknown): [number, string, string] => {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return [error.code, error.reason, error.message];
    throw error;
  }
  throw new Error('nothing was thrown');
};

const unfit: [number, string, string] = [422, 'Invalid', 'the server rejected our request due to an error in our request'];
for (const operation of [
  { op: 'remove', path: '/b' }, { op: 'replace', path: '/b', value: 1 }, { op: 'add', path: '/b/c', value: 1 }, { op: 'add', path: '/list/3', value: 1 }, { op: 'add', path: '/list/01', value: 1 },
  { op: 'test', path: '/a', value: 2 }, { op: 'move', from: '/b', path: '/c' }, { op: 'copy', from: '/b', path: '/c' }, { op: 'add', path: 'a', value: 1 }, { op: 'turn', path: '/a' }, { path: '/a' }, { op: 'move', path: '/a' }, { op: 'move', from: '', path: '/c' },
]) test(`json patch: ${JSON.stringify(operation)} does not apply`, () => assert.equal(status(() => jsonPatch({ a: 1, list: [1, 2] }, [operation])), unfit));

test('patches of another shape', () => {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: {} };
  assert.equal(status(() => jsonPatch({}, {})), [400, 'BadRequest', 'json: cannot unmarshal object into Go value of type jsonpatch.Patch']);
  assert.equal(status(() => jsonPatch({}, Array.from({ length: 10_001 }, () => ({ op: 'test', path: '/a' }))))[0], 413);
  assert.equal(status(() => applyPatch(pods as unknown as Kind, pod, { type: 'strategic', body: [] })), [400, 'BadRequest', 'json: cannot unmarshal array into Go value of type map[string]interface {}']);
  assert.equal(status(() => applyPatch(pods as unknown as Kind, pod, { type: 'merge', body: 1 })), [400, 'BadRequest', 'Invalid JSON Patch']);
});

const strategic = (kind: Kind, from: object, body: unknown): unknown => applyPatch(kind, from as KubeObject, { type: 'strategic', body } satisfies Patch);
const podOf = (spec: object): object => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec });
const onPod = (from: object, patch: object): unknown => (strategic(pods as unknown as Kind, podOf(from), { spec: patch }) as { spec: unknown }).spec;

const strategies: readonly Case[] = [
  { name: 'a list merges by its key, new items first', from: { containers: [{ name: 'a', image: '1' }, { name: 'b' }] }, patch: { containers: [{ name: 'b', image: '2' }, { name: 'c' }] }, to: { containers: [{ name: 'a', image: '1' }, { name: 'b', image: '2' }, { name: 'c' }] } },
  { name: 'a new item alone comes first', from: { containers: [{ name: 'a' }] }, patch: { containers: [{ name: 'b' }] }, to: { containers: [{ name: 'b' }, { name: 'a' }] } },
  { name: '$patch: delete takes an item out', from: { containers: [{ name: 'a' }, { name: 'b' }] }, patch: { containers: [{ name: 'a', $patch: 'delete' }] }, to: { containers: [{ name: 'b' }] } },
  { name: '$patch: replace replaces a list', from: { containers: [{ name: 'a' }, { name: 'b' }] }, patch: { containers: [{ $patch: 'replace' }, { name: 'c' }] }, to: { containers: [{ name: 'c' }] } },
  { name: '$patch: replace replaces an object', from: { securityContext: { runAsUser: 1, fsGroup: 2 } }, patch: { securityContext: { $patch: 'replace', runAsUser: 3 } }, to: { securityContext: { runAsUser: 3 } } },
  { name: '$patch: delete empties an object', from: { securityContext: { runAsUser: 1 } }, patch: { securityContext: { $patch: 'delete' } }, to: { securityContext: {} } },
  { name: 'null takes a field out', from: { nodeName: 'n', hostname: 'h' }, patch: { nodeName: null }, to: { hostname: 'h' } },
  { name: '$setElementOrder orders what is there', from: { containers: [{ name: 'a' }, { name: 'b' }, { name: 'c' }] }, patch: { '$setElementOrder/containers': [{ name: 'c' }, { name: 'a' }, { name: 'b' }] }, to: { containers: [{ name: 'c' }, { name: 'a' }, { name: 'b' }] } },
  { name: '$setElementOrder keeps the place of what it does not name', from: { containers: [{ name: 'a' }, { name: 'x' }, { name: 'b' }] }, patch: { '$setElementOrder/containers': [{ name: 'a' }, { name: 'b' }, { name: 'c' }], containers: [{ name: 'c', image: '1' }] }, to: { containers: [{ name: 'a' }, { name: 'x' }, { name: 'b' }, { name: 'c', image: '1' }] } },
  { name: '$retainKeys keeps one member of a union', from: { volumes: [{ name: 'v', emptyDir: {} }] }, patch: { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }] }, to: { volumes: [{ name: 'v', hostPath: { path: '/x' } }] } },
  { name: 'an atomic list is replaced', from: { containers: [{ name: 'a', command: ['x', 'y'] }] }, patch: { containers: [{ name: 'a', command: ['z'] }] }, to: { containers: [{ name: 'a', command: ['z'] }] } },
  { name: 'tolerations are atomic', from: { tolerations: [{ key: 'a' }] }, patch: { tolerations: [{ key: 'b' }] }, to: { tolerations: [{ key: 'b' }] } },
  { name: 'environment merges by name, ports by number', from: { containers: [{ name: 'a', env: [{ name: 'X', value: '1' }], ports: [{ containerPort: 80, name: 'http' }] }] }, patch: { containers: [{ name: 'a', env: [{ name: 'X', value: '2' }], ports: [{ containerPort: 80, name: 'web' }] }] }, to: { containers: [{ name: 'a', env: [{ name: 'X', value: '2' }], ports: [{ containerPort: 80, name: 'web' }] }] } },
  { name: 'a new list loses its directives', from: {}, patch: { containers: [{ name: 'a', env: [{ name: 'X', $patch: 'delete' }, { name: 'Y', value: '1' }] }] }, to: { containers: [{ name: 'a', env: [{ name: 'Y', value: '1' }] }] } },
  { name: 'maps merge by key', from: { nodeSelector: { a: '1', b: '2' } }, patch: { nodeSelector: { a: null, c: '3' } }, to: { nodeSelector: { b: '2', c: '3' } } },
];
for (const { name, from, patch, to } of strategies) test(`strategic: ${name}`, () => assert.equal(onPod(structuredClone(from) as object, patch as object), to));

test('strategic: lists of scalars', () => {
  const from = { metadata: { name: 'a', finalizers: ['x', 'y'] } };
  const change = (metadata: object): unknown => (strategic(services as unknown as Kind, from, { metadata }) as { metadata: { finalizers?: unknown } }).metadata.finalizers;
  assert.equal([...change({ finalizers: ['z'] }) as string[]].sort(), ['x', 'y', 'z']);
  assert.equal(change({ '$deleteFromPrimitiveList/finalizers': ['x'] }), ['y']);
  assert.equal(change({ '$deleteFromPrimitiveList/finalizers': ['x'], '$setElementOrder/finalizers': ['z', 'y'], finalizers: ['z'] }), ['z', 'y']);
  assert.equal(from.metadata.finalizers, ['x', 'y'], 'what was patched stays as it was');
});

test('strategic: mistakes', () => {
  assert.equal(status(() => onPod({}, { containers: [{ image: 'x' }] })), [500, '', 'map: map[image:x] does not contain declared merge key: name']);
  assert.equal(status(() => onPod({}, { $patch: 'burn' })), [500, '', 'unknown patch type: burn in map: map[$patch:burn]']);
  assert.equal(status(() => onPod({}, { volumes: [{ name: 'v', $retainKeys: 'x' }] }))[0], 400);
});

test('values as Go prints them', () => {
  assert.is(goText({ b: [1, 'x', null], a: { c: true } }), 'map[a:map[c:true] b:[1 x <nil>]]');
});

test.run();
