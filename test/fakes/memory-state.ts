import { itemKey, type Item } from '../../shared/protocol.ts';
import type { Batch, State } from '../../agent/state/state.ts';

/** The contract of State without a disk. `persist` stands for the disk: it may take time, and fail. */
export class MemoryState implements State {
  held: { readonly epoch: string; readonly revision: number } = { epoch: '', revision: 0 };
  readonly items = new Map<string, Item>();
  readonly notes = new Map<string, unknown>();
  /** Batches applied, in order. */
  readonly applied: Batch[] = [];
  readonly #persist: () => Promise<void>;
  readonly #listeners = new Set<(keys: readonly string[]) => void>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(persist: () => Promise<void> = async () => {}) {
    this.#persist = persist;
  }

  apply(batch: Batch): Promise<void> {
    const applied = this.#tail.then(async () => {
      const { epoch, revision } = this.held;
      if (batch.epoch === epoch && batch.revision < revision) throw new Error(`revision ${batch.revision} is older than ${revision}, which is held`);
      if (batch.epoch !== epoch && !batch.complete) throw new Error(`an update of epoch ${batch.epoch} does not fit what is held of epoch ${epoch}`);
      await this.#persist();
      this.#take(batch);
    });
    this.#tail = applied.catch(() => {});
    return applied;
  }

  async note(key: string, value: unknown): Promise<void> {
    if (value === undefined) this.notes.delete(key);
    else this.notes.set(key, value);
    await this.#persist();
  }

  subscribe(listener: (keys: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  async close(): Promise<void> {
    await this.#tail;
  }

  #take(batch: Batch): void {
    const changed = new Set(batch.removed);
    if (batch.complete) for (const key of this.items.keys()) changed.add(key);
    for (const key of changed) this.items.delete(key);
    for (const item of batch.items) {
      this.items.set(itemKey(item), item);
      changed.add(itemKey(item));
    }
    this.held = { epoch: batch.epoch, revision: batch.revision };
    this.applied.push(batch);
    for (const listener of this.#listeners) listener([...changed]);
  }
}
