import type { Taint } from '../../../shared/kinds/node.ts';
import type { Shape } from '../shape.ts';
import { tolerates } from '../../../shared/tolerations.ts';
import type { Plugin } from './plugin.ts';

/** Keeps pods off nodes with taints that they do not tolerate, and prefers nodes without PreferNoSchedule taints. */
export const taintToleration: Plugin = {
  name: 'TaintToleration',
  prepare(shape, snapshot) {
    const untolerated = (slot: number): Taint | undefined => snapshot.facts(slot).taints.find((taint) => taint.effect !== 'PreferNoSchedule' && !tolerated(shape, taint));
    return {
      fits: (slot) => snapshot.facts(slot).taints.length === 0 || untolerated(slot) === undefined,
      reasons(slot) {
        const taint = untolerated(slot);
        return taint ? [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`] : [];
      },
      weight: 3,
      score(slot) {
        const { taints } = snapshot.facts(slot);
        if (taints.length === 0) return 100;
        return 100 / (1 + taints.filter((taint) => taint.effect === 'PreferNoSchedule' && !tolerated(shape, taint)).length);
      },
    };
  },
};

const tolerated = (shape: Shape, taint: Taint): boolean => tolerates(shape.spec.tolerations, taint);
