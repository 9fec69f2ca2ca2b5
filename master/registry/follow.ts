import type { Kind } from '../../shared/kind.ts';
import { storeKey, type Registry } from './registry.ts';
import type { KindChange } from './types.ts';

export interface Follower {
  /** Every existing object once, as an ADDED change whose `bytes` are good during the call only, then every change. Other kinds than the ones asked for come too. */
  readonly onChange: (change: KindChange) => void;
  /** After each commit batch, with the revision of its last change. Not called for the listing. */
  readonly onBatch?: (revision: number) => void;
}

/**
 * Tells a follower the state of some kinds and then every change of any kind, without a gap: the subscription begins
 * first, and a listed object that has changed meanwhile is left out, as its change was told. Resolves when the listing
 * is complete; changes go on until `signal` aborts.
 */
export async function follow(registry: Registry, kinds: readonly Kind[], follower: Follower, signal: AbortSignal): Promise<void> {
  let touched: Set<string> | undefined = new Set();
  registry.changes(registry.store.revision, (changes) => {
    for (const change of changes) {
      touched?.add(storeKey(change.kind, change.namespace, change.name));
      follower.onChange(change);
    }
    const last = changes[changes.length - 1];
    if (last) follower.onBatch?.(last.revision);
  }, signal);
  await registry.read({ kinds, take: (object, key) => { if (!touched?.has(key)) follower.onChange(object); } }, signal);
  touched = undefined;
}
