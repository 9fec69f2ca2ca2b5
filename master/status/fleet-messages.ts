import * as v from 'valibot';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const moment = v.pipe(v.number(), v.integer());

/** What the Ready condition of a node says; `NotReady` for False, `Unknown` also for a node that never reported. */
const NodeState = v.picklist(['Ready', 'NotReady', 'Unknown']);

/** One node of the fleet. Times are RFC 3339. */
export interface FleetNode {
  readonly name: string;
  readonly state: v.InferOutput<typeof NodeState>;
  /** Whether new pods are kept away (`kubectl cordon`). */
  readonly cordoned: boolean;
  readonly connected: boolean;
  /** When its session began; without one, when it was last heard of; absent when it was not since the master started. */
  readonly since?: string;
  /** Last sign of life; absent for a node not heard of since the master started. */
  readonly lastSeen?: string;
  /** Store revisions between what it should hold and what it has acknowledged; 0 when it is up to date. */
  readonly lag: number;
  /** Of its agent; `''` while unknown. */
  readonly version: string;
  readonly pods: { readonly running: number; readonly total: number };
}

export const Totals = v.object({
  nodes: count, ready: count, connected: count,
  /** By phase; `Unscheduled` ones have no node yet and are counted under Pending as well. */
  pods: v.object({ Running: count, Pending: count, Succeeded: count, Failed: count, Unknown: count, Unscheduled: count }),
});
export type Totals = v.InferOutput<typeof Totals>;

/** A node on the wire: name, state, connected + 2 × cordoned, since and last seen in ms since 1970 (0: never), lag, version, running, total. */
export const NodeTuple = v.tuple([v.string(), NodeState, v.picklist([0, 1, 2, 3]), moment, moment, count, v.string(), count, count]);
export type NodeTuple = v.InferOutput<typeof NodeTuple>;

/**
 * What the status stream pushes, as JSON text: first the whole fleet, in parts of which all but the last have `more`;
 * then what changed. A delta's nodes are whole; `totals` is there when it changed.
 */
export const FleetMessage = v.variant('type', [
  v.object({ type: v.literal('snapshot'), masterVersion: v.string(), time: moment, nodes: v.array(NodeTuple), totals: Totals, more: v.boolean() }),
  v.object({ type: v.literal('delta'), time: moment, nodes: v.array(NodeTuple), removed: v.array(v.string()), totals: v.optional(Totals) }),
]);
export type FleetMessage = v.InferOutput<typeof FleetMessage>;

const iso = (ms: number): string => new Date(ms).toISOString();

export function fromTuple([name, state, flags, since, seen, lag, version, running, total]: NodeTuple): FleetNode {
  return {
    name, state, connected: (flags & 1) !== 0, cordoned: (flags & 2) !== 0, ...(since ? { since: iso(since) } : {}), ...(seen ? { lastSeen: iso(seen) } : {}),
    lag, version, pods: { running, total },
  };
}
