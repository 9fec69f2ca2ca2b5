import { isKnownItem, itemKey, type Item } from '../../shared/protocol.ts';
import type { Batch } from './state.ts';
import type { JournalRecord } from './records.ts';

/** What a state holds, in memory, and how many bytes of journal it is worth. */
export class Contents {
  held: { readonly epoch: string; readonly revision: number } = { epoch: '', revision: 0 };
  readonly items = new Map<string, Item>();
  readonly notes = new Map<string, unknown>();
  readonly #sizes = new Map<string, number>();
  #liveBytes = 0;

  /** Bytes of the records that made what is held: what compaction would keep, roughly. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Takes over a batch; returns the keys that it changed. `bytes` is its size in the journal. */
  apply(batch: Omit<Batch, 'removed'> & { readonly removed: readonly string[] }, bytes: number): string[] {
    const changed = new Set<string>(batch.removed);
    if (batch.complete) for (const key of this.items.keys()) changed.add(key);
    // A later version of the agent may have written others.
    const items = new Map(batch.items.filter(isKnownItem).map((item) => [itemKey(item), item]));
    for (const key of changed) if (!items.has(key)) this.#remove(key);
    const share = bytes / Math.max(1, items.size);
    for (const [key, item] of items) {
      this.items.set(key, item);
      this.#resize(key, share);
      changed.add(key);
    }
    this.held = { epoch: batch.epoch, revision: batch.revision };
    return [...changed];
  }

  setNote(key: string, value: unknown, bytes: number): void {
    if (value === undefined) this.notes.delete(key);
    else this.notes.set(key, value);
    this.#resize(`note ${key}`, value === undefined ? undefined : bytes);
  }

  /** Takes over a record read from a file. */
  replay(record: JournalRecord, bytes: number): void {
    switch (record.t) {
      case 'start': return;
      case 'base':
        this.apply({ ...this.held, complete: false, items: record.items, removed: [] }, bytes);
        for (const [key, value] of record.notes) this.setNote(key, value, bytes / record.notes.length);
        return;
      case 'ready':
        this.held = { epoch: record.epoch, revision: record.revision };
        return;
      case 'batch':
        this.apply(record, bytes);
        return;
      case 'notes':
        for (const [key, value] of record.set) this.setNote(key, value, bytes / record.set.length);
        for (const key of record.removed) this.setNote(key, undefined, 0);
        return;
    }
  }

  #remove(key: string): void {
    this.items.delete(key);
    this.#resize(key, undefined);
  }

  #resize(key: string, bytes: number | undefined): void {
    this.#liveBytes += (bytes ?? 0) - (this.#sizes.get(key) ?? 0);
    if (bytes === undefined) this.#sizes.delete(key);
    else this.#sizes.set(key, bytes);
  }
}
