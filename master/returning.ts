/** After a start, nodes not heard of yet are not missed while agents queue at the door, for so long at most. */
export const returnMs = 600_000;

export interface ReturningOptions {
  /** When a node was last heard of since the start; undefined: not yet. */
  readonly heardMs: (node: string) => number | undefined;
  /** When more agents stood at the door than could be served; -Infinity: never. */
  readonly crowdedMs: () => number;
  /** When this master started. All times are in ms of the monotonic clock. */
  readonly startedMs: number;
}

/** From when on a node's silence counts: that of one that may be standing at the door only from when there was last a crowd. */
export const silentSince = ({ heardMs, crowdedMs, startedMs }: ReturningOptions, node: string): number =>
  heardMs(node) ?? Math.min(crowdedMs(), startedMs + returnMs);
