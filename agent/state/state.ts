import type { Item } from '../../shared/protocol.ts';

/** What brings the agent from one revision to another. */
export interface Batch {
  readonly epoch: string;
  readonly revision: number;
  /** Replace everything held; otherwise upsert and remove. */
  readonly complete: boolean;
  readonly items: readonly Item[];
  /** Item keys, as `itemKey` gives them. */
  readonly removed: readonly string[];
}

/** Whether a write failed for want of room, so that it can be repeated when there is some. */
export const isFull = (error: unknown): boolean => ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');

/**
 * Everything that the agent must know to run its pods without a master, durable across power loss.
 * Reads are from memory; the caller must not mutate what it is given.
 */
export interface State {
  /** Epoch and revision of the assignment held; `''` and 0 at first. */
  readonly held: { readonly epoch: string; readonly revision: number };
  /** By `itemKey`. */
  readonly items: ReadonlyMap<string, Item>;
  /**
   * Persists a batch, then makes it visible and tells subscribers. Resolves when it survives power loss.
   * @throws when the disk refuses; then nothing of it is visible
   */
  apply(batch: Batch): Promise<void>;
  /** The agent's own small durable records (unacknowledged statuses, restart history, cluster settings), by key. JSON values. */
  readonly notes: ReadonlyMap<string, unknown>;
  /** Sets a note, or removes it with undefined. Notes of one event-loop turn share one write. */
  note(key: string, value: unknown): Promise<void>;
  /** Calls `listener` with the item keys that changed, after they are durable. Returns the way to stop it. */
  subscribe(listener: (keys: readonly string[]) => void): () => void;
  /** Waits for what is being written and releases the file. */
  close(): Promise<void>;
}
