import type { NodeSelectorTerm } from '../../../shared/kinds/affinity.ts';
import { matchesTerm } from '../../../shared/node-selector.ts';
import type { NodeFacts } from '../snapshot.ts';
import type { Plugin } from './plugin.ts';

const reasons = ["node(s) didn't match Pod's node affinity/selector"];

/** `nodeSelector` and node affinity: required terms filter, preferred ones add up to a score. */
export const nodeSelector: Plugin = {
  name: 'NodeAffinity',
  prepare(shape, snapshot) {
    const labels = Object.entries(shape.spec.nodeSelector ?? {});
    const affinity = shape.spec.affinity?.nodeAffinity;
    const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
    const preferred = affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    if (labels.length === 0 && !required && preferred.length === 0) return undefined;
    return {
      fits(slot) {
        const facts = snapshot.facts(slot);
        return labels.every(([key, value]) => facts.labels[key] === value) && (!required || required.some((term) => matchesTerm(term, facts)));
      },
      reasons: () => reasons,
      weight: 2,
      score: (slot) => Math.min(100, preferred.reduce((sum, { preference, weight }) => sum + (matchesPreference(preference, snapshot.facts(slot)) ? weight : 0), 0)),
    };
  },
};

/** As matchesTerm, but an empty preference is met by all nodes. */
const matchesPreference = (term: NodeSelectorTerm, facts: NodeFacts): boolean =>
  (!term.matchExpressions?.length && !term.matchFields?.length) || matchesTerm(term, facts);
