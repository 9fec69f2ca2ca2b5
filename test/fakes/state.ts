import { itemKey, type Item } from '../../shared/protocol.ts';
import type { Batch, State } from '../../agent/state/state.ts';

/** A State in memory, that survives nothing. */
export class FakeState implements State {
  held = { epoch: '', revision: 0 };
  readonly items = new Map<string, Item>();
  readonly notes = new Map<string, unknown>();
  readonly #listeners = new Set<(keys: readonly string[]) => void>();

  async apply(batch: Batch): Promise<void> {
    const keys = new Set(batch.removed);
    if (batch.complete) for (const key of this.items.keys()) keys.add(key);
    for (const key of keys) this.items.delete(key);
    for (const item of batch.items) {
      this.items.set(itemKey(item), item);
      keys.add(itemKey(item));
    }
    this.held = { epoch: batch.epoch, revision: batch.revision };
    for (const listener of this.#listeners) listener([...keys]);
  }

  /** Adds or changes items at the next revision. */
  put(...items: Item[]): Promise<void> {
    return this.apply({ epoch: 'fake', revision: this.held.revision + 1, complete: false, items, removed: [] });
  }

  /** Removes items by key at the next revision. */
  drop(...removed: string[]): Promise<void> {
    return this.apply({ epoch: 'fake', revision: this.held.revision + 1, complete: false, items: [], removed });
  }

  async note(key: string, value: unknown): Promise<void> {
    if (value === undefined) this.notes.delete(key);
    else this.notes.set(key, structuredClone(value));
  }

  subscribe(listener: (keys: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  async close(): Promise<void> {
    this.#listeners.clear();
  }
}
