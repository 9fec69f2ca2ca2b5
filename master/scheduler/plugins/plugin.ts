import type { Shape } from '../shape.ts';
import type { Snapshot } from '../snapshot.ts';

/**
 * One matter that decides where pods go. Asked once per shape; the check that it returns is asked once per node, and
 * again for a node only when that node has changed. A check may therefore look at its own node alone.
 */
export interface Plugin {
  readonly name: string;
  /** Undefined when pods of this shape leave the plugin nothing to say. */
  readonly prepare: (shape: Shape, snapshot: Snapshot) => Check | undefined;
}

export interface Check {
  /** Why the pod can be placed nowhere at all, whatever the nodes; `fits` then says no to all. */
  readonly never?: string;
  /** Whether the pod may run on the node. */
  readonly fits?: (slot: number) => boolean;
  /** Why not, in Kubernetes' words; asked only of nodes that do not fit. */
  readonly reasons?: (slot: number) => readonly string[];
  /** Whether a node that does not fit might if pods left it. */
  readonly resolvable?: boolean;
  /** How good the node is, from 0 to 100. */
  readonly score?: (slot: number) => number;
  /** How much the score counts. Default 1. */
  readonly weight?: number;
}
