import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { follow } from '../../../master/registry/follow.ts';
import { Registry } from '../../../master/registry/registry.ts';
import type { KindChange } from '../../../master/registry/types.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import type { Store } from '../../../master/store/store.ts';
import type { Kind } from '../../../shared/kind.ts';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { FakeClock } from '../../fakes/clock.ts';

const test = suite('listing');
const [maps, hosts] = [configMaps as unknown as Kind, nodes as unknown as Kind];

/** A registry with some config maps and nodes, and how many ranges of its store have been begun, by prefix. */
async function filled(count: number): Promise<{ registry: Registry; ranges: Map<string, number> }> {
  const ranges = new Map<string, number>();
  const inner = openMemoryStore();
  const store = new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (name !== 'range') return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      return (...args: Parameters<Store['range']>) => {
        ranges.set(args[0], (ranges.get(args[0]) ?? 0) + 1);
        return target.range(...args);
      };
    },
  });
  const registry = new Registry({ store, clock: new FakeClock(), random: Math.random, kinds, allocators: [] });
  await registry.create(namespaces, '', { metadata: { name: 'default' } });
  for (let index = 0; index < count; index++) {
    await registry.create(configMaps, 'default', { metadata: { name: `map-${String(index).padStart(4, '0')}` }, data: { index: String(index) } });
    await registry.create(nodes, '', { metadata: { name: `node-${String(index).padStart(4, '0')}` } });
  }
  ranges.clear();
  return { registry, ranges };
}

const never = new AbortController().signal;
const nameOf = ({ kind, name }: KindChange): string => `${kind.kind}/${name}`;

test('readers that begin together share one pass and one parsed object', async () => {
  const { registry, ranges } = await filled(300);
  const [first, second]: [KindChange[], KindChange[]] = [[], []];
  const all = registry.read({ kinds: [maps, hosts], take: (object) => first.push(object) }, never);
  const some = registry.read({ kinds: [hosts], take: (object, key) => { assert.is(key, `${nodes.prefix}${object.name}`); second.push(object); } }, never);
  await Promise.all([all, some]);
  assert.is(first.length, 600);
  assert.equal(second, first.filter(({ kind }) => kind.kind === 'Node'));
  assert.is(second[17], first.find((object) => object.name === 'node-0017'));
  assert.equal(second.map(({ name }) => name), [...second.map(({ name }) => name)].sort());
  assert.ok(second.every(({ type, previous, revision, object }) => type === 'ADDED' && previous === undefined && object.metadata.resourceVersion === String(revision)));
  assert.equal([...ranges], [[configMaps.prefix, 1], [nodes.prefix, 1]]);
});

test('who comes during a pass gets one of its own, complete', async () => {
  const { registry } = await filled(300);
  const late: string[] = [];
  let second: Promise<void> | undefined;
  await registry.read({ kinds: [maps], take: (object) => {
    if (object.name === 'map-0200') second = registry.read({ kinds: [maps], take: (found) => late.push(nameOf(found)) }, never);
  } }, never);
  assert.is(late.length, 0);
  await second;
  assert.is(new Set(late).size, 300);
});

test('a reader that throws, or that is stopped, is no concern of the others', async () => {
  const { registry } = await filled(300);
  const stop = new AbortController();
  const [failing, stopped, whole]: [string[], string[], string[]] = [[], [], []];
  const reads = [
    registry.read({ kinds: [maps], take: (object) => { failing.push(object.name); if (failing.length === 3) throw new Error('no more'); } }, never),
    registry.read({ kinds: [maps, hosts], take: (object) => { stopped.push(object.name); if (stopped.length === 200) stop.abort(); } }, stop.signal),
    registry.read({ kinds: [maps, hosts], take: (object) => whole.push(object.name) }, never),
  ];
  const [failed, ...others] = await Promise.allSettled(reads);
  assert.is((failed as PromiseRejectedResult).reason.message, 'no more');
  assert.equal(others.map(({ status }) => status), ['fulfilled', 'fulfilled']);
  assert.is(failing.length, 3);
  assert.ok(stopped.length < 300, String(stopped.length));
  assert.is(whole.length, 600);
  await registry.read({ kinds: [maps], take: () => assert.unreachable('stopped before it began') }, stop.signal);
});

test('a store that cannot be read fails all who read it', async () => {
  const { registry } = await filled(1);
  const reads = [1, 2].map(() => registry.read({ kinds: [maps], take: () => {} }, never));
  await registry.store.close();
  for (const { status } of await Promise.allSettled(reads)) assert.is(status, 'rejected');
});

test('followers hear of every object and every change once, whatever is written meanwhile', async () => {
  const { registry } = await filled(300);
  const abort = new AbortController();
  const states = [new Map<string, string>(), new Map<string, string>()];
  let writing: Promise<unknown> | undefined;
  await Promise.all(states.map((state) => follow(registry, [maps], {
    onChange({ name, type, object, kind }) {
      if (kind !== maps) return;
      if (type === 'DELETED') state.delete(name);
      else state.set(name, (object as unknown as { data: { index: string } }).data.index);
      writing ??= Promise.all([
        registry.modify(configMaps, 'default', 'map-0001', (map) => ({ ...map, data: { index: 'changed' } })),
        registry.modify(configMaps, 'default', 'map-0299', (map) => ({ ...map, data: { index: 'changed' } })),
        registry.delete(configMaps, 'default', 'map-0298'), registry.delete(configMaps, 'default', 'map-0002'),
        registry.create(configMaps, 'default', { metadata: { name: 'map-new' }, data: { index: 'new' } }),
      ]);
    },
  }, abort.signal)));
  await writing;
  await new Promise((resolve) => setImmediate(resolve));
  const stored = new Map(registry.all(configMaps).map(({ metadata, data }) => [metadata.name, data?.['index']]));
  assert.is(stored.size, 299);
  for (const state of states) assert.equal(new Map([...state].sort()), new Map([...stored].sort()));
  abort.abort();
});

test.run();
