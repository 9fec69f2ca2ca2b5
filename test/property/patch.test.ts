import { isDeepStrictEqual } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { serverSideApply } from '../../master/registry/apply.ts';
import { difference, FieldSet, fieldSetOf, intersection, union } from '../../master/registry/field-set.ts';
import { trackFields } from '../../master/registry/managed-fields.ts';
import { applyPatch, jsonPatch, mergePatch } from '../../master/registry/patch.ts';
import type { Kind } from '../../shared/kind.ts';
import { configMaps } from '../../shared/kinds/configmap.ts';
import { kinds } from '../../shared/kinds/index.ts';
import { replicationControllers } from '../../shared/kinds/replicationcontroller.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { nodeOf } from '../../shared/schema.ts';
import { StatusError } from '../../shared/status.ts';
import { randomDocument, randomJson, seeded, type Random } from './random.ts';

const test = suite('patch properties');
const rounds = 400;
const nowMs = Date.parse('2026-01-02T03:04:05Z');

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const safe = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (key, child: unknown) => (key === '__proto__' || key === 'constructor' ? undefined : child)));
const document = (random: Random): Json => ({ a: safe(randomJson(random)), b: safe(randomJson(random)), c: { d: safe(randomJson(random)) } });

/** RFC 7386, section 2, as it is written there. */
function reference(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = reference(result[name], value);
  }
  return result;
}

/** A merge patch from one document to another, where there is one: it cannot set null. */
function mergeDiff(from: unknown, to: unknown): unknown {
  if (!isObject(from) || !isObject(to)) return to;
  const patch: Json = {};
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) patch[key] = null;
  for (const [key, value] of Object.entries(to)) if (!isDeepStrictEqual(from[key], value)) patch[key] = mergeDiff(from[key], value);
  return patch;
}

const withoutNulls = (value: unknown): unknown => {
  if (Array.isArray(value)) return value;
  return isObject(value) ? Object.fromEntries(Object.entries(value).filter(([, child]) => child !== null).map(([key, child]) => [key, withoutNulls(child)])) : value;
};

test('a merge patch does what RFC 7386 says', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const [target, patch] = [document(random), document(random)];
    assert.equal(mergePatch(structuredClone(target), patch), reference(target, patch), `seed ${seed}`);
  }
});

test('a merge patch made of two documents leads from one to the other, and again nowhere', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const [from, to] = [withoutNulls(document(random)), withoutNulls(document(random))];
    const patch = mergeDiff(from, to);
    const once = mergePatch(structuredClone(from), patch);
    assert.equal(once, to, `seed ${seed}`);
    assert.equal(mergePatch(structuredClone(once), patch), to, `seed ${seed}`);
  }
});

interface Step { readonly op: string; readonly path: string; readonly value?: unknown; readonly from?: string }

/** Every place of a document: parent and key. */
function places(value: unknown, path = ''): { path: string; parent: unknown; key: string; value: unknown }[] {
  const entries: [string, unknown][] = Array.isArray(value) ? value.map((item, index) => [String(index), item]) : isObject(value) ? Object.entries(value) : [];
  return entries.flatMap(([key, child]) => {
    const at = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    return [{ path: at, parent: value, key, value: child }, ...places(child, at)];
  });
}

/** A step that applies to the document, and the step that undoes it. */
function reversible(random: Random, current: Json): [Step, Step] {
  const all = places(current);
  const place = random.one(all);
  const value = safe(randomJson(random, 1));
  switch (random.below(3)) {
    case 0: return [{ op: 'remove', path: place.path }, { op: 'add', path: place.path, value: place.value }];
    case 1: return [{ op: 'replace', path: place.path, value }, { op: 'replace', path: place.path, value: place.value }];
    default: {
      const path = Array.isArray(place.parent) ? place.path : `${place.path.slice(0, place.path.lastIndexOf('/'))}/new${random.below(3)}`;
      const known = all.find((other) => other.path === path);
      if (known && !Array.isArray(place.parent)) return [{ op: 'add', path, value }, { op: 'add', path, value: known.value }];
      return [{ op: 'add', path, value }, { op: 'remove', path }];
    }
  }
}

test('json patches can be undone', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const original = document(random);
    let current = original;
    const back: Step[] = [];
    for (let i = 0; i < 6 && places(current).length > 0; i++) {
      const [step, inverse] = reversible(random, current);
      current = jsonPatch(structuredClone(current), [structuredClone(step)]) as Json;
      back.unshift(structuredClone(inverse));
    }
    assert.equal(jsonPatch(structuredClone(current), back), original, `seed ${seed}: ${JSON.stringify(back)}`);
  }
});

test('no patch crashes, whatever it holds', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const kind = random.one(kinds);
    const current = randomDocument(random, kind.schema, { fill: 0.3, noise: 0.05 }) as KubeObject;
    if (!isObject(current)) continue;
    const before = structuredClone(current);
    for (const type of ['json', 'merge', 'strategic'] as const) {
      const body = type === 'json' ? random.many(4, () => ({ op: random.one(['add', 'remove', 'replace', 'move', 'copy', 'test', 'x']), path: random.one(['', '/spec', '/metadata/labels/a', '/spec/containers/0', '/-', 'x']), from: '/metadata', value: randomJson(random, 2) }))
        : randomDocument(random, kind.schema, { fill: 0.3, noise: 0.1 });
      try {
        applyPatch(kind, current, { type, body });
      } catch (error) {
        if (!(error instanceof StatusError)) throw Object.assign(error as Error, { message: `seed ${seed} ${type}: ${(error as Error).message}` });
      }
      assert.ok(isDeepStrictEqual(current, before), `seed ${seed}: the document that was patched stays as it was`);
    }
  }
});

/** Containers as a client would write them: names differ. */
function controller(random: Random, fill = 0.6): Json {
  const env = (): Json[] => ['A', 'B', 'C'].filter(() => random.chance(fill)).map((name) => ({ name, value: random.one(['1', '2']) }));
  const containers = ['x', 'y', 'z'].filter(() => random.chance(fill)).map((name) => ({ name, image: random.one(['i:1', 'i:2']), ...(random.chance(fill) ? { env: env() } : {}), ...(random.chance(fill) ? { command: random.many(2, () => random.one(['a', 'b'])) } : {}) }));
  return {
    apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'rc', ...(random.chance(fill) ? { labels: Object.fromEntries(random.many(3, () => [random.one(['k', 'l', 'm']), random.one(['1', '2'])])) } : {}) },
    spec: { ...(random.chance(fill) ? { replicas: random.below(3) } : {}), template: { spec: { containers } } },
  };
}
const rcs = replicationControllers as unknown as Kind;

test('strategic merge: twice is once, and an empty patch is none', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const [current, patch] = [controller(random) as unknown as KubeObject, controller(random)];
    const once = applyPatch(rcs, current, { type: 'strategic', body: patch });
    assert.equal(applyPatch(rcs, once as KubeObject, { type: 'strategic', body: patch }), once, `seed ${seed}`);
    assert.equal(applyPatch(rcs, current, { type: 'strategic', body: {} }), current, `seed ${seed}`);
  }
});

test('strategic merge: the items of both, each once, the patch\'s values', () => {
  const list = (object: unknown): Json[] => (object as { spec: { template: { spec: { containers: Json[] } } } }).spec.template.spec.containers;
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const [current, patch] = [controller(random), controller(random)];
    const result = list(applyPatch(rcs, current as unknown as KubeObject, { type: 'strategic', body: patch }));
    const names = [...list(current), ...list(patch)].map(({ name }) => name);
    assert.equal(result.map(({ name }) => name).sort(), [...new Set(names)].sort(), `seed ${seed}`);
    for (const { name, image } of list(patch)) assert.is(result.find((item) => item['name'] === name)?.['image'], image, `seed ${seed}`);
  }
});

const apply = (live: KubeObject | undefined, config: unknown, manager: string, force = true): KubeObject => serverSideApply(rcs, live, config, { manager, force, nowMs });

/** Order inside of keyed lists and of managers aside. */
function unordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unordered).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return isObject(value) ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, unordered(value[key])])) : value;
}

/** Empty objects and lists are as good as none, and so is what only holds such. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (!isObject(value)) return value;
  const full = (child: unknown): boolean => typeof child !== 'object' || child === null || Object.keys(child).length > 0;
  return Object.fromEntries(Object.entries(value).map(([key, child]): [string, unknown] => [key, withoutEmpty(child)]).filter(([, child]) => full(child)));
}

test('apply: twice is once', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    let live = apply(undefined, controller(random), 'one');
    live = apply(live, controller(random), 'two');
    const config = controller(random);
    const once = apply(live, config, 'one');
    assert.equal(apply(once, config, 'one', false), once, `seed ${seed}: again, and without force`);
  }
});

test('apply: alone, a manager gets exactly what it asks for', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    let live: KubeObject | undefined;
    for (let i = 0; i < 3; i++) live = apply(live, controller(random), 'one');
    const config = controller(random);
    const { metadata: { managedFields, ...metadata }, ...rest } = apply(live, config, 'one');
    assert.ok(managedFields, `seed ${seed}`);
    assert.equal(unordered(withoutEmpty({ ...rest, metadata })), unordered(withoutEmpty(config)), `seed ${seed}`);
  }
});

test('apply: managers of different fields end in the same place, whoever comes first', () => {
  const values = (random: Random, keys: readonly string[]): Json => Object.fromEntries(keys.filter(() => random.chance(0.7)).map((key) => [key, random.one(['1', '2'])]));
  const config = (data: Json): Json => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data });
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const [one, two] = [config(values(random, ['a', 'b', 'c'])), config(values(random, ['x', 'y', 'z']))];
    const step = (live: KubeObject | undefined, wanted: Json, manager: string): KubeObject => serverSideApply(configMaps as unknown as Kind, live, wanted, { manager, force: false, nowMs });
    const forth = step(step(undefined, one, 'one'), two, 'two');
    const back = step(step(undefined, two, 'two'), one, 'one');
    assert.equal(unordered(forth), unordered(back), `seed ${seed}`);
  }
});

test('apply: what a manager takes out of its configuration is all that goes', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const mine = controller(random, 0.8);
    const live = apply(apply(undefined, controller(random), 'other'), mine, 'me');
    const after = apply(live, { apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'rc' } }, 'me');
    const node = nodeOf(rcs.schema);
    const owned = (live.metadata.managedFields ?? []).filter(({ manager }) => manager === 'other').map(({ fieldsV1 }) => FieldSet.fromJSON(fieldsV1)).reduce(union, new FieldSet());
    const lost = difference(intersection(owned, fieldSetOf(node, live)), fieldSetOf(node, after));
    assert.equal([...lost.paths()].filter((path) => path.length > 0), [], `seed ${seed}`);
    assert.not.ok(after.metadata.managedFields?.some(({ manager }) => manager === 'me'), `seed ${seed}: who applies nothing owns nothing`);
  }
});

test('managed fields: reading back what was written changes nothing', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const kind = random.one(kinds);
    const made = randomDocument(random, kind.schema, { fill: 0.3, noise: 0 });
    for (const containers of [false, true]) {
      const set = fieldSetOf(nodeOf(kind.schema), made, new FieldSet(), containers);
      const read = FieldSet.fromJSON(JSON.parse(JSON.stringify(set.toJSON())));
      if (set.children.size > 0) assert.equal(read.toJSON(), set.toJSON(), `seed ${seed}`);
    }
  }
});

test('managed fields: after any writes, every field has at most one updater, and only fields that are there', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    let live: KubeObject | undefined;
    for (let i = 0; i < 5; i++) {
      const next = controller(random) as unknown as KubeObject;
      trackFields(rcs, live, next, { fieldManager: random.one(['a', 'b', 'c']) }, nowMs + i);
      live = next;
    }
    const there = fieldSetOf(nodeOf(rcs.schema), live, new FieldSet(), true);
    const sets = (live!.metadata.managedFields ?? []).map(({ fieldsV1 }) => FieldSet.fromJSON(fieldsV1));
    for (const [index, set] of sets.entries()) {
      assert.equal([...difference(set, there).paths()], [], `seed ${seed}: only what is there`);
      for (const other of sets.slice(index + 1)) assert.equal([...intersection(set, other).paths()], [], `seed ${seed}: one owner each`);
    }
  }
});

test.run();
