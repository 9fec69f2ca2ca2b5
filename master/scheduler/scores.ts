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

/**
 * The scores of all nodes for one shape. Only nodes that changed since the last look are scored again: placing pod after
 * pod of one shape costs one node's score and one walk over an array of integers each.
 */
export class Scores {
  readonly #snapshot: Snapshot;
  readonly #checks: readonly Check[];
  #scores = new Int32Array(0);
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
    const scores = this.#scores;
    const count = this.#snapshot.slotCount;
    let [best, at] = [unfit, -1];
    for (let slot = this.#start; slot < count; slot++) if (scores[slot]! > best) [best, at] = [scores[slot]!, slot];
    for (let slot = 0; slot < this.#start && slot < count; slot++) if (scores[slot]! > best) [best, at] = [scores[slot]!, slot];
    if (at < 0) return undefined;
    this.#start = at + 1 < count ? at + 1 : 0;
    return at;
  }

  /** Whether a pod fits a node now. */
  fits(slot: number): boolean {
    return this.#score(slot) !== unfit;
  }

  /** The score of a node now; negative when the pod does not fit. */
  scoreOf(slot: number): number {
    return this.#score(slot);
  }

  /** Why a pod does not fit a node: what the first check that fails says. */
  refusal(slot: number): Refusal | undefined {
    for (const { fits, reasons, resolvable } of this.#checks) {
      if (fits && !fits(slot)) return { reasons: reasons?.(slot) ?? [], resolvable: resolvable ?? false };
    }
    return undefined;
  }

  #refresh(): void {
    const snapshot = this.#snapshot;
    const changed = this.#scores.length < snapshot.slotCount || this.#position < 0 ? undefined : snapshot.changedSince(this.#position);
    this.#position = snapshot.position;
    if (changed) {
      for (const slot of changed) this.#scores[slot] = this.#score(slot);
      return;
    }
    // Room to grow, so that nodes that come one by one do not make every shape start again.
    if (this.#scores.length < snapshot.slotCount) this.#scores = new Int32Array(Math.ceil(snapshot.slotCount * 1.25) + 8);
    for (let slot = 0; slot < snapshot.slotCount; slot++) this.#scores[slot] = this.#score(slot);
  }

  #score(slot: number): number {
    if (!this.#snapshot.exists(slot)) return unfit;
    let sum = 0;
    for (const { fits, score, weight = 1 } of this.#checks) {
      if (fits && !fits(slot)) return unfit;
      if (score) sum += weight * score(slot);
    }
    return Math.round(sum * steps);
  }
}
