import type { NodeSelector, NodeSelectorRequirement, NodeSelectorTerm } from './kinds/affinity.ts';

/** What node selectors look at. */
export interface SelectableNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Whether one term of a selector matches a node. */
export const matchesNode = ({ nodeSelectorTerms }: NodeSelector, node: SelectableNode): boolean => nodeSelectorTerms.some((term) => matchesTerm(term, node));

/** All requirements of a term; an empty term matches nothing. */
export function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, { labels, name }: SelectableNode): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  return matchExpressions.every((requirement) => meets(requirement, labels[requirement.key]))
    && matchFields.every((requirement) => requirement.key === 'metadata.name' && meets(requirement, name));
}

/** Whether a label (undefined: the node has none of that key) is as a requirement wants it. */
export function meets({ operator, values = [] }: NodeSelectorRequirement, value: string | undefined): boolean {
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
