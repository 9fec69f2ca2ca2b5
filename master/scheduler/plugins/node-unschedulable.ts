import { tolerates } from '../../../shared/tolerations.ts';
import type { Plugin } from './plugin.ts';

const taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' as const };
const reasons = ['node(s) were unschedulable'];

/** Keeps pods off cordoned nodes unless they tolerate that. */
export const nodeUnschedulable: Plugin = {
  name: 'NodeUnschedulable',
  prepare(shape, snapshot) {
    if (tolerates(shape.spec.tolerations, taint)) return undefined;
    return { fits: (slot) => !snapshot.facts(slot).unschedulable, reasons: () => reasons };
  },
};
