/** Keys that were removed and when, the latest `max` of them. */
export class Tombstones {
  readonly #max: number;
  /** In the order of their revisions. */
  readonly #removed = new Map<string, number>();
  #horizon: number;

  /** `horizon`: the revision from which on removals are known. */
  constructor(max: number, horizon: number) {
    this.#max = max;
    this.#horizon = horizon;
  }

  /** Removals after this revision are all known; of earlier ones some may be forgotten. */
  get horizon(): number {
    return this.#horizon;
  }

  add(key: string, revision: number): void {
    this.#removed.delete(key);
    this.#removed.set(key, revision);
    if (this.#removed.size <= this.#max) return;
    const [[oldest, at]] = this.#removed as unknown as [[string, number]];
    this.#removed.delete(oldest);
    this.#horizon = Math.max(this.#horizon, at);
  }

  /** The key exists again. */
  delete(key: string): void {
    this.#removed.delete(key);
  }

  /** Keys removed after `revision`. */
  since(revision: number): string[] {
    const keys: string[] = [];
    for (const [key, at] of this.#removed) if (at > revision) keys.push(key);
    return keys;
  }
}
