import { selectorOf, type Labels, type Selector } from '../../shared/selector.ts';

interface Selecting {
  readonly key: string;
  readonly namespace: string;
  /** The pair that it is filed under. */
  readonly label: string;
  readonly value: string;
  readonly selector: Selector;
}

type ByValue = Map<string, Set<Selecting>>;

/**
 * Objects with an equality selector, found by the labels that they select: each is filed under one of its pairs, so that
 * a lookup only tries those that share a pair with the labels.
 */
export class SelectorIndex {
  readonly #byKey = new Map<string, Selecting>();
  /** Namespace → label → value. No text is put together for a look-up: there are several for each change of a pod. */
  readonly #byNamespace = new Map<string, Map<string, ByValue>>();

  /** Files `namespace/name` under its selector; without one, or with an empty one, it selects nothing. */
  set(namespace: string, name: string, selects: Labels | undefined): void {
    const key = `${namespace}/${name}`;
    this.#remove(key);
    const pairs = Object.entries(selects ?? {});
    const last = pairs[pairs.length - 1];
    if (!last) return;
    const entry: Selecting = { key, namespace, label: last[0], value: last[1], selector: selectorOf(selects) };
    this.#byKey.set(key, entry);
    const byLabel = this.#byNamespace.get(namespace) ?? new Map<string, ByValue>();
    const byValue: ByValue = byLabel.get(entry.label) ?? new Map<string, Set<Selecting>>();
    this.#byNamespace.set(namespace, byLabel.set(entry.label, byValue.set(entry.value, (byValue.get(entry.value) ?? new Set()).add(entry))));
  }

  /** Keys of the objects of a namespace that select these labels. */
  *matching(namespace: string, labels: Labels): Generator<string> {
    const byLabel = this.#byNamespace.get(namespace);
    if (!byLabel) return;
    for (const [label, value] of Object.entries(labels)) {
      for (const { key, selector } of byLabel.get(label)?.get(value) ?? []) if (selector.matches(labels)) yield key;
    }
  }

  #remove(key: string): void {
    const entry = this.#byKey.get(key);
    if (!entry) return;
    this.#byKey.delete(key);
    const byLabel = this.#byNamespace.get(entry.namespace);
    const byValue = byLabel?.get(entry.label);
    const set = byValue?.get(entry.value);
    set?.delete(entry);
    if (set?.size === 0) byValue?.delete(entry.value);
    if (byValue?.size === 0) byLabel?.delete(entry.label);
    if (byLabel?.size === 0) this.#byNamespace.delete(entry.namespace);
  }
}
