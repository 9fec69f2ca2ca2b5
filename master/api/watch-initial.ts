import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { parseDocument } from '../registry/cache.ts';
import { storeKey, type Registry } from '../registry/registry.ts';
import type { Entry } from '../store/store.ts';
import type { Item } from './encoder.ts';
import type { Selection } from './select.ts';
import type { Sink } from './watch-sink.ts';

/** Bytes of objects that go out together. */
const slabBytes = 128 * 1024;

/** Longest stretch of work before others get their turn. */
const sliceMs = 8;

/** The objects that a watch begins with, in slabs, no faster than the client takes them. One snapshot. */
export async function* initialEvents(registry: Registry, kind: Kind, selection: Selection, sink: Sink): AsyncGenerator<readonly Item[]> {
  let slab: Item[] = [];
  let size = 0;
  let since = performance.now();
  for (const entry of entriesOf(registry, kind, selection)) {
    const item = select(selection, entry);
    if (item) {
      slab.push(item);
      size += entry.bytes.length;
    }
    if (size < slabBytes && performance.now() - since < sliceMs) continue;
    if (slab.length > 0) yield slab;
    slab = [];
    size = 0;
    await nextTurn();
    await sink.drained();
    if (sink.closed) return;
    since = performance.now();
  }
  if (slab.length > 0) yield slab;
}

function entriesOf(registry: Registry, kind: Kind, { namespace, name }: Selection): Iterable<Entry> {
  if (name && (namespace || !kind.namespaced)) {
    const entry = registry.store.get(storeKey(kind, namespace, name));
    return entry ? [entry] : [];
  }
  return registry.store.range(kind.namespaced && namespace ? `${kind.prefix}${namespace}/` : kind.prefix);
}

function select(selection: Selection, { key, bytes }: Entry): Item | undefined {
  if (selection.name && !key.endsWith(`/${selection.name}`)) return undefined;
  let object: KubeObject | undefined;
  const item: Item = { bytes, get object() { return (object ??= parseDocument<KubeObject>(bytes)); } };
  return selection.everything || (selection.mayMatch(bytes) && selection.matches(item.object)) ? item : undefined;
}
