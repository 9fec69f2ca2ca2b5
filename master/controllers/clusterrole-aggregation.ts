import { isDeepStrictEqual } from 'node:util';
import { clusterRoles, type ClusterRole } from '../../shared/kinds/rbac.ts';
import { selectorOf } from '../../shared/selector.ts';
import { defineController, some, type Context } from './controller.ts';

function* aggregates({ registry }: Context): Generator<string> {
  for (const role of registry.all(clusterRoles)) if (role.aggregationRule) yield role.metadata.name ?? '';
}

/** Keeps the rules of ClusterRoles that have an aggregationRule: those of all roles that it selects, by name, each once. */
export const clusterRoleAggregation = defineController({
  name: 'clusterrole-aggregation', for: some(clusterRoles),
  watches: [{ kind: some(clusterRoles), keys: (_, context) => aggregates(context) }],
  async reconcile(name, { registry }) {
    const role = registry.find(clusterRoles, '', name);
    if (!role?.aggregationRule || role.metadata.deletionTimestamp) return;
    const rules = rulesOf(role, registry.all(clusterRoles));
    if (isDeepStrictEqual(role.rules ?? [], rules)) return;
    await registry.modify(clusterRoles, '', name, (current) => ({ ...current, rules }));
  },
});

/** In the order of the selectors, and of names within each. */
export function rulesOf(role: ClusterRole, all: readonly ClusterRole[]): NonNullable<ClusterRole['rules']> {
  const rules: NonNullable<ClusterRole['rules']> = [];
  for (const selector of role.aggregationRule?.clusterRoleSelectors ?? []) {
    for (const other of all) {
      if (other.metadata.name === role.metadata.name || !selectorOf(selector).matches(other.metadata.labels ?? {})) continue;
      for (const rule of other.rules ?? []) if (!rules.some((known) => isDeepStrictEqual(known, rule))) rules.push(rule);
    }
  }
  return rules;
}
