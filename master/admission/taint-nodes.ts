import { nodes, type Node } from '../../shared/kinds/node.ts';
import type { Admission } from '../registry/types.ts';
import { concerns } from './plugin.ts';

const key = 'node.kubernetes.io/not-ready';
const effect = 'NoSchedule';

/** A new node takes no pods until it has reported that it is ready and the taint is taken off. */
export const taintNodes: Admission = {
  name: 'TaintNodesByCondition',
  handles: (attempt) => concerns(attempt, nodes, 'CREATE'),
  admit(attempt) {
    const { spec } = attempt.object as Node;
    if ((spec.taints ?? []).some((taint) => taint.key === key && taint.effect === effect)) return;
    spec.taints = [...spec.taints ?? [], { key, effect }];
  },
};
