import { sleep, type Clock } from '../../shared/clock.ts';
import { leases, type Lease } from '../../shared/kinds/lease.ts';
import { nodes } from '../../shared/kinds/node.ts';
import type { Log } from '../../shared/log.ts';
import { isConflict, isNotFound } from '../../shared/status.ts';
import { toMicroTime } from '../../shared/time.ts';
import type { Registry } from '../registry/registry.ts';
import { nodeUser } from './writer.ts';

export const leaseNamespace = 'kube-node-lease';

export interface LeaseOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  /** Silence after which a node counts as lost: the duration that leases name. */
  readonly graceMs: number;
  /** Renewals written per second, for all nodes together. Default 50. */
  readonly perSecond?: number;
  /** Nodes connected, and the monotonic time when each was last heard of. */
  readonly alive: () => Iterable<{ readonly node: string; readonly seenMs: number }>;
}

/**
 * Renews the Lease of every node that is alive: each quarter of the grace in a small cluster, in turn and more rarely
 * in one so large that this would be more than `perSecond` writes. Leases are for those who look from outside; the
 * master itself asks the hub when a node was last seen.
 */
export async function renewLeases(options: LeaseOptions, signal: AbortSignal): Promise<void> {
  const { clock, graceMs, perSecond = 50, alive } = options;
  const renewedMs = new Map<string, number>();
  while (!signal.aborted) {
    await sleep(clock, 1000, signal);
    if (signal.aborted) return;
    const now = clock.monotonic();
    const due = [...alive()].filter(({ node, seenMs }) => now - seenMs < graceMs && now - (renewedMs.get(node) ?? -Infinity) >= graceMs / 4);
    due.sort((a, b) => (renewedMs.get(a.node) ?? 0) - (renewedMs.get(b.node) ?? 0));
    const batch = due.slice(0, perSecond);
    for (const { node } of batch) renewedMs.set(node, now);
    await Promise.all(batch.map(({ node }) => renew(options, node)));
  }
}

async function renew({ registry, clock, log, graceMs }: LeaseOptions, node: string): Promise<void> {
  const owner = registry.find(nodes, '', node);
  if (!owner) return;
  const user = nodeUser(node);
  const spec = { holderIdentity: node, leaseDurationSeconds: Math.ceil(graceMs / 1000), renewTime: toMicroTime(clock.now()) };
  try {
    if (registry.find(leases, leaseNamespace, node)) {
      await registry.modify(leases, leaseNamespace, node, (current: Lease) => Object.assign(current, { spec: { ...current.spec, ...spec } }), { user });
    } else {
      const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: node, uid: owner.metadata.uid }];
      await registry.create(leases, leaseNamespace, { metadata: { name: node, namespace: leaseNamespace, ownerReferences }, spec }, { user });
    }
  } catch (error) {
    // Another renewal follows.
    log[isNotFound(error) || isConflict(error) ? 'debug' : 'warn']('renewing a lease failed', { node, error });
  }
}
