import { selectorOf, type Labels, type Selector } from '../../shared/selector.ts';

interface Selecting {
  readonly key: string;
  readonly pair: string;
  readonly selector: Selector;
}

/**
 * Objects with an equality selector, found by the labels that they select: each is filed under one of its pairs, so that
 * a lookup only tries those that share a pair with the labels.
 */
export class SelectorIndex {
  readonly #byKey = new Map<string, Selecting>();
  readonly #byPair = new Map<string, Set<Selecting>>();

  /** Files `namespace/name` under its selector; without one, or with an empty one, it selects nothing. */
  set(namespace: string, name: string, selects: Labels | undefined): void {
    const key = `${namespace}/${name}`;
    this.#remove(key);
    const pairs = Object.entries(selects ?? {});
    const last = pairs[pairs.length - 1];
    if (!last) return;
    const entry: Selecting = { key, pair: pairOf(namespace, last[0], last[1]), selector: selectorOf(selects) };
    this.#byKey.set(key, entry);
    const set = this.#byPair.get(entry.pair);
    if (set) set.add(entry);
    else this.#byPair.set(entry.pair, new Set([entry]));
  }

  /** Keys of the objects of a namespace that select these labels. */
  *matching(namespace: string, labels: Labels): Generator<string> {
    for (const [name, value] of Object.entries(labels)) {
      for (const { key, selector } of this.#byPair.get(pairOf(namespace, name, value)) ?? []) if (selector.matches(labels)) yield key;
    }
  }

  #remove(key: string): void {
    const entry = this.#byKey.get(key);
    if (!entry) return;
    this.#byKey.delete(key);
    const set = this.#byPair.get(entry.pair);
    set?.delete(entry);
    if (set?.size === 0) this.#byPair.delete(entry.pair);
  }
}

const pairOf = (namespace: string, name: string, value: string): string => `${namespace}/${name}=${value}`;
