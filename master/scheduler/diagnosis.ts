import type { Scores } from './scores.ts';
import type { Shape } from './shape.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Says why a pod fits nowhere, as Kubernetes does:
 * `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: 0/3 nodes are available:
 * 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.`
 */
export function diagnose(shape: Shape, scores: Scores, snapshot: Snapshot): string {
  const total = snapshot.nodeCount;
  if (total === 0) return 'no nodes available to schedule pods';
  const { never } = scores;
  if (never !== undefined) return `0/${total} nodes are available: ${never}. preemption: 0/${total} nodes are available: ${total} Preemption is not helpful for scheduling.`;
  const reasons = new Map<string, number>();
  const preemption = new Map<string, number>();
  for (let slot = 0; slot < snapshot.slotCount; slot++) {
    if (!snapshot.exists(slot)) continue;
    const refusal = scores.refusal(slot);
    if (!refusal) continue;
    for (const reason of refusal.reasons) count(reasons, reason);
    count(preemption, refusal.resolvable ? 'No preemption victims found for incoming pod' : 'Preemption is not helpful for scheduling');
  }
  const why = shape.spec.preemptionPolicy === 'Never' ? 'not eligible due to preemptionPolicy=Never.' : unavailable(total, preemption);
  return `${unavailable(total, reasons)} preemption: ${why}`;
}

const unavailable = (total: number, reasons: ReadonlyMap<string, number>): string =>
  `0/${total} nodes are available: ${[...reasons].map(([reason, nodes]) => `${nodes} ${reason}`).sort().join(', ')}.`;

const count = (counts: Map<string, number>, key: string): void => { counts.set(key, (counts.get(key) ?? 0) + 1); };
