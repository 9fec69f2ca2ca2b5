import type { Check, Plugin } from './plugins/plugin.ts';
import type { Shape } from './shape.ts';
import type { Snapshot } from './snapshot.ts';

/** Scores have this many steps per point, so that they fit an integer. */
const steps = 16;
const unfit = -1;

/** Why a node does not take a pod. */
export interface Refusal {
  readonly reasons: readonly string[];
  readonly resolvable: boolean;
}

/** Slots whose highest score is kept together, as a power of two. */
const blockBits = 6;
const blockSize = 1 << blockBits;

/**
 * The scores of all nodes for one shape, and the highest score of every block of them. Only nodes that changed since the
 * last look are scored again: placing pod after pod of one shape costs a few scores and a walk over the blocks each.
 */
export class Scores {
  readonly #snapshot: Snapshot;
  readonly #checks: readonly Check[];
  #scores = new Int32Array(0);
  #highest = new Int32Array(0);
  #position = -1;
  /** Where the walk starts, so that nodes of equal score take turns. */
  #start = 0;

  constructor(shape: Shape, snapshot: Snapshot, plugins: readonly Plugin[]) {
    this.#snapshot = snapshot;
    this.#checks = plugins.flatMap((plugin) => plugin.prepare(shape, snapshot) ?? []);
  }

  /** The slot of the best node, or undefined when none fits. */
  best(): number | undefined {
    this.#refresh();
    const top = this.#highest.reduce((highest, score) => (score > highest ? score : highest), unfit);
    if (top === unfit) return undefined;
    const slot = this.#find(top, this.#start, this.#scores.length) ?? this.#find(top, 0, this.#start);
    this.#start = slot! + 1;
    return slot;
  }

  /** Whether a pod fits a node now. */
  fits(slot: number): boolean {
    return this.scoreOf(slot) !== unfit;
  }

  /** The score of a node now; negative when the pod does not fit. */
  scoreOf(slot: number): number {
    if (!this.#snapshot.exists(slot)) return unfit;
    let sum = 0;
    for (const { fits, score, weight = 1 } of this.#checks) {
      if (fits && !fits(slot)) return unfit;
      if (score) sum += weight * score(slot);
    }
    return Math.round(sum * steps);
  }

  /** Why the pod can be placed nowhere at all, if that is so. */
  get never(): string | undefined {
    return this.#checks.find(({ never }) => never !== undefined)?.never;
  }

  /** Why a pod does not fit a node: what the first check that fails says. */
  refusal(slot: number): Refusal | undefined {
    for (const { fits, reasons, resolvable } of this.#checks) {
      if (fits && !fits(slot)) return { reasons: reasons?.(slot) ?? [], resolvable: resolvable ?? false };
    }
    return undefined;
  }

  /** The first slot in [from, to) with a score, found by way of the blocks that can hold it. */
  #find(score: number, from: number, to: number): number | undefined {
    for (let slot = from; slot < to; slot++) {
      if (this.#highest[slot >> blockBits]! < score) slot |= blockSize - 1;
      else if (this.#scores[slot] === score) return slot;
    }
    return undefined;
  }

  #refresh(): void {
    const snapshot = this.#snapshot;
    const changed = this.#scores.length < snapshot.slotCount || this.#position < 0 ? undefined : snapshot.changedSince(this.#position);
    this.#position = snapshot.position;
    if (!changed) return this.#scoreAll();
    for (const slot of changed) {
      const [before, after] = [this.#scores[slot]!, this.scoreOf(slot)];
      if (before === after) continue;
      this.#scores[slot] = after;
      const block = slot >> blockBits;
      if (after > this.#highest[block]!) this.#highest[block] = after;
      else if (before === this.#highest[block]) this.#measure(block);
    }
  }

  #scoreAll(): void {
    const { slotCount } = this.#snapshot;
    if (this.#scores.length < slotCount) {
      // Room to grow, so that nodes that come one by one do not make every shape start again.
      const blocks = Math.ceil(slotCount * 1.25 / blockSize) + 1;
      this.#scores = new Int32Array(blocks * blockSize).fill(unfit);
      this.#highest = new Int32Array(blocks);
    }
    for (let slot = 0; slot < slotCount; slot++) this.#scores[slot] = this.scoreOf(slot);
    for (let block = 0; block < this.#highest.length; block++) this.#measure(block);
  }

  #measure(block: number): void {
    let highest = unfit;
    for (let slot = block * blockSize, end = slot + blockSize; slot < end; slot++) if (this.#scores[slot]! > highest) highest = this.#scores[slot]!;
    this.#highest[block] = highest;
  }
}
