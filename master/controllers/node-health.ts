import type { Node } from '../../shared/kinds/node.ts';
import { readyCondition } from './node-taints.ts';

interface Health {
  /** On the monotonic clock. */
  seenMs: number;
  heartbeat: string;
  ready: boolean;
}

/**
 * When each node was last heard of, by this master's own clock: the stamps that nodes send only say that something new
 * came. A node that this master has never heard of counts as heard of when it was first looked at, so that after a
 * restart every node gets its full grace.
 */
export class NodeHealth {
  readonly #nodes = new Map<string, Health>();
  #ready = 0;

  /** Takes a node's state in; true when the answer to {@link allLost} has changed. */
  note(node: Node, nowMs: number): boolean {
    const before = this.allLost;
    const condition = readyCondition(node);
    const heartbeat = condition?.status === 'Unknown' ? '' : `${condition?.lastHeartbeatTime} ${condition?.status}`;
    const ready = condition?.status === 'True';
    const known = this.#nodes.get(node.metadata.name ?? '');
    this.#ready += Number(ready) - Number(known?.ready ?? false);
    if (!known) this.#nodes.set(node.metadata.name ?? '', { seenMs: nowMs, heartbeat, ready });
    else {
      if (heartbeat && known.heartbeat !== heartbeat) known.seenMs = nowMs;
      known.heartbeat = heartbeat || known.heartbeat;
      known.ready = ready;
    }
    return this.allLost !== before;
  }

  /** A renewed lease is a sign of life. */
  renewed(name: string, nowMs: number): void {
    const known = this.#nodes.get(name);
    if (known) known.seenMs = nowMs;
  }

  forget(name: string): boolean {
    const before = this.allLost;
    if (this.#nodes.get(name)?.ready) this.#ready -= 1;
    this.#nodes.delete(name);
    return this.allLost !== before;
  }

  seenMs(name: string): number | undefined {
    return this.#nodes.get(name)?.seenMs;
  }

  /** Gives every node a new full grace. */
  restart(nowMs: number): void {
    for (const health of this.#nodes.values()) health.seenMs = Math.max(health.seenMs, nowMs);
  }

  get names(): Iterable<string> {
    return this.#nodes.keys();
  }

  /** No node is ready: the fault is more likely on this side of the wire. */
  get allLost(): boolean {
    return this.#nodes.size > 0 && this.#ready === 0;
  }
}
