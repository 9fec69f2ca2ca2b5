import type { PolicyRule } from '../../shared/kinds/rbac.ts';

/** What a request wants, as rules see it. */
export type Wanted =
  | { readonly verb: string; readonly group: string; readonly resource: string; readonly subresource: string; readonly name: string }
  | { readonly verb: string; readonly path: string };

const has = (list: readonly string[] | undefined, ...wanted: readonly string[]): boolean =>
  (list ?? []).some((item) => item === '*' || wanted.includes(item));

/** Whether a rule allows something, as `rbac.RuleAllows`. */
export function ruleAllows(rule: PolicyRule, wanted: Wanted): boolean {
  if (!has(rule.verbs, wanted.verb)) return false;
  if ('path' in wanted) return (rule.nonResourceURLs ?? []).some((url) => pathMatches(url, wanted.path));
  const { group, resource, subresource, name } = wanted;
  const combined = subresource ? `${resource}/${subresource}` : resource;
  return has(rule.apiGroups, group)
    && has(rule.resources, combined, ...(subresource ? [`*/${subresource}`] : []))
    && (!rule.resourceNames?.length || rule.resourceNames.includes(name));
}

const pathMatches = (url: string, path: string): boolean => url === '*' || url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1)));

/** Which of `rules` go beyond what `owned` allow together; each of them in its smallest parts, as `validation.Covers`. */
export function missingRights(owned: readonly PolicyRule[], rules: readonly PolicyRule[]): PolicyRule[] {
  return rules.flatMap(breakDown).filter((part) => !owned.some((rule) => covers(rule, part)));
}

/** A rule as rules of one verb, group, resource and name, or of one verb and path. */
function breakDown(rule: PolicyRule): PolicyRule[] {
  const { verbs = [], apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const names = resourceNames.length > 0 ? resourceNames.map((name) => ({ resourceNames: [name] })) : [{}];
  return [
    ...apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.flatMap((verb) =>
      names.map((name) => ({ verbs: [verb], apiGroups: [group], resources: [resource], ...name }))))),
    ...nonResourceURLs.flatMap((url) => verbs.map((verb) => ({ verbs: [verb], nonResourceURLs: [url] }))),
  ];
}

function covers(owner: PolicyRule, part: PolicyRule): boolean {
  const verb = part.verbs![0]!;
  if (!has(owner.verbs, verb)) return false;
  const url = part.nonResourceURLs?.[0];
  if (url !== undefined) return (owner.nonResourceURLs ?? []).some((own) => pathMatches(own, url));
  const resource = part.resources![0]!;
  const subresource = resource.includes('/') ? resource.slice(resource.indexOf('/') + 1) : '';
  return has(owner.apiGroups, part.apiGroups![0]!)
    && has(owner.resources, resource, ...(subresource ? [`*/${subresource}`] : []))
    && (!owner.resourceNames?.length || (part.resourceNames !== undefined && owner.resourceNames.includes(part.resourceNames[0]!)));
}

/** Rules of the same group, resource and names as one, with all their verbs. */
export function compact(rules: readonly PolicyRule[]): PolicyRule[] {
  const found = new Map<string, PolicyRule>();
  for (const { verbs, ...rest } of rules) {
    const key = JSON.stringify(rest);
    found.set(key, { ...rest, verbs: [...(found.get(key)?.verbs ?? []), ...(verbs ?? [])] });
  }
  return [...found.values()];
}

/** `["a" "b"]`: as Go writes texts in messages. */
export const quotedList = (texts: readonly string[]): string => `[${texts.map((text) => JSON.stringify(text)).join(' ')}]`;

/** `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`: as the apiserver writes rules in messages. */
export function ruleText({ apiGroups, resources, nonResourceURLs, resourceNames, verbs }: PolicyRule): string {
  const parts = [['APIGroups', apiGroups], ['Resources', resources], ['NonResourceURLs', nonResourceURLs], ['ResourceNames', resourceNames], ['Verbs', verbs]] as const;
  return `{${parts.filter(([, list]) => list?.length).map(([name, list]) => `${name}:${quotedList(list!)}`).join(', ')}}`;
}
