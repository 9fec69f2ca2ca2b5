import type { LabelSelector } from '../meta.ts';
import { labelValueErrors, qualifiedNameErrors, validateLabels } from '../names.ts';
import { fieldDuplicate, fieldForbidden, fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import type { Affinity, NodeSelector, NodeSelectorRequirement, PodAffinityTerm, Toleration, TopologySpreadConstraint } from './affinity.ts';

const keyErrors = (key: string, path: string): FieldError[] => (key ? qualifiedNameErrors(key).map((problem) => fieldInvalid(path, key, problem)) : []);

function valuesErrors(operator: string, values: readonly string[], path: string): FieldError[] {
  switch (operator) {
    case 'In': case 'NotIn': return values.length > 0 ? [] : [fieldRequired(path, "must be specified when `operator` is 'In' or 'NotIn'")];
    case 'Exists': case 'DoesNotExist': return values.length === 0 ? [] : [fieldForbidden(path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")];
    case 'Gt': case 'Lt': return values.length === 1 ? [] : [fieldRequired(path, "must be specified single value when `operator` is 'Lt' or 'Gt'")];
    default: return [];
  }
}

/** Rules for a LabelSelector; `path` of the object. */
export function validateLabelSelector(selector: LabelSelector | undefined, path: string): FieldError[] {
  if (!selector) return [];
  return [
    ...validateLabels(selector.matchLabels, `${path}.matchLabels`),
    ...(selector.matchExpressions ?? []).flatMap(({ key, operator, values = [] }, index) => {
      const at = `${path}.matchExpressions[${index}]`;
      return [
        ...valuesErrors(operator, values, `${at}.values`), ...keyErrors(key, `${at}.key`),
        ...values.flatMap((value, i) => labelValueErrors(value).map((problem) => fieldInvalid(`${at}.values[${i}]`, value, problem))),
      ];
    }),
  ];
}

const requirementErrors = ({ key, operator, values = [] }: NodeSelectorRequirement, path: string): FieldError[] =>
  [...valuesErrors(operator, values, `${path}.values`), ...keyErrors(key, `${path}.key`)];

/** Rules for a node selector; `path` of the object. */
export function validateNodeSelector({ nodeSelectorTerms }: NodeSelector, path: string): FieldError[] {
  if (nodeSelectorTerms.length === 0) return [fieldRequired(`${path}.nodeSelectorTerms`, 'must have at least one node selector term')];
  return nodeSelectorTerms.flatMap((term, index) => (term.matchExpressions ?? []).flatMap((requirement, i) =>
    requirementErrors(requirement, `${path}.nodeSelectorTerms[${index}].matchExpressions[${i}]`)));
}

function podTermErrors(term: PodAffinityTerm, path: string): FieldError[] {
  return [
    ...validateLabelSelector(term.labelSelector, `${path}.labelSelector`),
    ...validateLabelSelector(term.namespaceSelector, `${path}.namespaceSelector`),
    ...keyErrors(term.topologyKey, `${path}.topologyKey`),
  ];
}

const required = 'requiredDuringSchedulingIgnoredDuringExecution';
const preferred = 'preferredDuringSchedulingIgnoredDuringExecution';

/** Rules for `affinity`; `path` of the object. */
export function validateAffinity(affinity: Affinity | undefined, path: string): FieldError[] {
  if (!affinity) return [];
  const errors: FieldError[] = [];
  const nodes = affinity.nodeAffinity?.[required];
  if (nodes) errors.push(...validateNodeSelector(nodes, `${path}.nodeAffinity.${required}`));
  for (const side of ['podAffinity', 'podAntiAffinity'] as const) {
    affinity[side]?.[required]?.forEach((term, index) => errors.push(...podTermErrors(term, `${path}.${side}.${required}[${index}]`)));
    affinity[side]?.[preferred]?.forEach(({ podAffinityTerm }, index) => errors.push(...podTermErrors(podAffinityTerm, `${path}.${side}.${preferred}[${index}].podAffinityTerm`)));
  }
  return errors;
}

function tolerationErrors(toleration: Toleration, path: string): FieldError[] {
  const { key = '', operator = 'Equal', value = '', effect, tolerationSeconds } = toleration;
  const errors = keyErrors(key, `${path}.key`);
  if (key === '' && operator !== 'Exists') errors.push(fieldInvalid(`${path}.operator`, operator, 'operator must be Exists when `key` is empty, which means "match all values and all keys"'));
  if (tolerationSeconds !== undefined && effect !== 'NoExecute') errors.push(fieldInvalid(`${path}.effect`, effect ?? '', "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  if (operator === 'Exists') {
    if (value) errors.push(fieldInvalid(`${path}.operator`, toleration, "value must be empty when `operator` is 'Exists'"));
  } else {
    const [problem] = labelValueErrors(value);
    if (problem) errors.push(fieldInvalid(`${path}.operator`, value, problem));
  }
  return errors;
}

/** Rules for `tolerations`; `path` of the list. */
export const validateTolerations = (tolerations: readonly Toleration[], path: string): FieldError[] =>
  tolerations.flatMap((toleration, index) => tolerationErrors(toleration, `${path}[${index}]`));

/** Rules for `topologySpreadConstraints`; `path` of the list. */
export function validateSpread(constraints: readonly TopologySpreadConstraint[], path: string): FieldError[] {
  const seen = new Set<string>();
  return constraints.flatMap((constraint, index) => {
    const { maxSkew, topologyKey, whenUnsatisfiable, minDomains, labelSelector } = constraint;
    const at = `${path}[${index}]`;
    const errors = validateLabelSelector(labelSelector, `${at}.labelSelector`);
    if (maxSkew <= 0) errors.push(fieldInvalid(`${at}.maxSkew`, maxSkew, 'must be greater than zero'));
    if (minDomains !== undefined && minDomains <= 0) errors.push(fieldInvalid(`${at}.minDomains`, minDomains, 'must be greater than zero'));
    else if (minDomains !== undefined && whenUnsatisfiable !== 'DoNotSchedule') {
      errors.push(fieldInvalid(`${at}.minDomains`, minDomains, `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`));
    }
    const pair = `{${topologyKey}, ${whenUnsatisfiable}}`;
    if (seen.has(pair)) errors.push(fieldDuplicate(`${at}.{topologyKey, whenUnsatisfiable}`, pair));
    seen.add(pair);
    return errors;
  });
}
