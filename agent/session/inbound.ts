import { patchEndpoints } from '../../shared/endpoints-patch.ts';
import { itemKey, ProtocolError, type EndpointsItem, type Item, type Payload, type SlicePatch } from '../../shared/protocol.ts';
import { sleep, type Clock } from '../../shared/clock.ts';
import { isFull, type Batch, type State } from '../state/state.ts';

/** What became of a sync: held and to be acknowledged, or not to be had from what is held. */
export type Applied =
  | { readonly type: 'held'; readonly epoch: string; readonly revision: number }
  | { readonly type: 'resync'; readonly reason: string }
  | { readonly type: 'ignored' };

/** Items of one sync, over all of its parts. More is refused, so that a broken master cannot exhaust the agent. */
const maxItems = 200_000;

export interface InboundOptions {
  readonly state: State;
  /** Of the session, as welcome named it. */
  readonly epoch: string;
  readonly clock: Clock;
  /** Aborts with the connection. */
  readonly signal: AbortSignal;
  /** How often a disk that is full is tried. Default 5 s. */
  readonly retryMs?: number;
}

/**
 * Puts the parts of syncs together and applies them to the state one after the other: nothing twice, nothing older over
 * newer, nothing across a gap.
 */
export class Inbound {
  readonly #options: InboundOptions;
  readonly #state: State;
  /** Epoch of the session, as welcome named it. */
  readonly #epoch: string;
  #items: Item[] = [];
  #removed: string[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  #awaitingSnapshot = false;

  constructor(options: InboundOptions) {
    this.#options = options;
    this.#state = options.state;
    this.#epoch = options.epoch;
  }

  /** Takes a part; resolves with the outcome of the whole for its last part. @throws Error when the state cannot persist it */
  sync(part: Payload<'sync'>): Promise<Applied> {
    if (part.epoch !== this.#epoch) throw new ProtocolError(`sync of epoch ${part.epoch} in a session of epoch ${this.#epoch}`);
    for (const item of part.items) this.#items.push(item);
    for (const key of part.removed) this.#removed.push(key);
    if (this.#items.length > maxItems) throw new ProtocolError(`sync of more than ${maxItems} items`);
    return part.more ? Promise.resolve({ type: 'ignored' }) : this.#enqueue(part.from, part.revision, []);
  }

  patch([from, revision, slices]: Payload<'patch'>): Promise<Applied> {
    return this.#enqueue(from, revision, slices);
  }

  /** Waits for what is being applied. */
  async idle(): Promise<void> {
    await this.#tail.catch(() => {});
  }

  #enqueue(from: number, revision: number, patches: readonly SlicePatch[]): Promise<Applied> {
    const [items, removed] = [this.#items, this.#removed];
    this.#items = [];
    this.#removed = [];
    const applied = this.#tail.then(() => this.#apply(from, revision, items, removed, patches));
    this.#tail = applied;
    // Whoever awaits the result hears of a failure; the chain must not report it as unhandled too.
    applied.catch(() => {});
    return applied;
  }

  async #apply(from: number, revision: number, items: readonly Item[], removed: readonly string[], patches: readonly SlicePatch[]): Promise<Applied> {
    const { held } = this.#state;
    const complete = from === 0;
    if (complete && held.epoch === this.#epoch && revision < held.revision) {
      throw new ProtocolError(`the master offers revision ${revision}, older than ${held.revision}, which is held`);
    }
    if (!complete) {
      if (this.#awaitingSnapshot) return { type: 'ignored' };
      if (held.epoch !== this.#epoch) return this.#resync(`an update from revision ${from}, and nothing of this epoch is held`);
      if (from > held.revision) return this.#resync(`an update from revision ${from}, and ${held.revision} is held`);
      if (revision <= held.revision) return { type: 'held', ...held };
    }
    this.#awaitingSnapshot = false;
    const byKey = new Map(items.map((item) => [itemKey(item), item]));
    if (!complete) for (const [key, item] of byKey) if ((this.#state.items.get(key)?.revision ?? 0) > item.revision) byKey.delete(key);
    for (const patch of patches) {
      const failure = this.#patchInto(byKey, patch);
      if (failure) return this.#resync(failure);
    }
    const dropped = removed.filter((key) => !byKey.has(key) && (complete || this.#state.items.has(key)));
    await this.#persist({ epoch: this.#epoch, revision, complete, items: [...byKey.values()], removed: complete ? [] : dropped });
    return { type: 'held', epoch: this.#epoch, revision };
  }

  /**
   * A full disk is waited for, and what comes meanwhile waits behind: if the connection ended instead, the master would
   * take the node for lost and its pods away, though they are well.
   */
  async #persist(batch: Batch): Promise<void> {
    const { clock, signal, retryMs = 5000 } = this.#options;
    for (;;) {
      try {
        return await this.#state.apply(batch);
      } catch (error) {
        if (!isFull(error) || signal.aborted) throw error;
        await sleep(clock, retryMs, signal);
        if (signal.aborted) throw error;
      }
    }
  }

  #resync(reason: string): Applied {
    this.#awaitingSnapshot = true;
    return { type: 'resync', reason };
  }

  #patchInto(items: Map<string, Item>, patch: SlicePatch): string | undefined {
    const [namespace, name, base, revision] = patch;
    const key = itemKey({ type: 'endpoints', namespace, name } as EndpointsItem);
    const held = items.get(key) ?? this.#state.items.get(key);
    if (held && held.revision >= revision) return undefined;
    if (held?.type !== 'endpoints' || held.revision !== base) return `a change of ${key} from revision ${base}, and ${held?.revision ?? 'none'} is held`;
    items.set(key, patchEndpoints(held, patch));
    return undefined;
  }
}
