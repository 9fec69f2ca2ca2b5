import type { NodeSelectorRequirement, NodeSelectorTerm } from '../../../shared/kinds/affinity.ts';
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

/** All requirements of a term; an empty term matches nothing. */
export function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, { labels, name }: NodeFacts): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  return matchExpressions.every((requirement) => meets(requirement, labels[requirement.key]))
    && matchFields.every((requirement) => requirement.key === 'metadata.name' && meets(requirement, name));
}

/** As {@link matchesTerm}, but an empty preference is met by all nodes. */
const matchesPreference = (term: NodeSelectorTerm, facts: NodeFacts): boolean =>
  (!term.matchExpressions?.length && !term.matchFields?.length) || matchesTerm(term, facts);

function meets({ operator, values = [] }: NodeSelectorRequirement, value: string | undefined): boolean {
  switch (operator) {
    case 'In': return value !== undefined && values.includes(value);
    case 'NotIn': return value === undefined || !values.includes(value);
    case 'Exists': return value !== undefined;
    case 'DoesNotExist': return value === undefined;
    case 'Gt': return isInteger(value) && Number(value) > Number(values[0]);
    case 'Lt': return isInteger(value) && Number(value) < Number(values[0]);
  }
}

const isInteger = (value: string | undefined): boolean => value !== undefined && /^[+-]?\d+$/.test(value);
