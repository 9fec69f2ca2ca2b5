import { isDeepStrictEqual } from 'node:util';
import { clusterRoleBindings, clusterRoles, rbacGroup, type ClusterRole, type ClusterRoleBinding, type PolicyRule, type Subject } from '../shared/kinds/rbac.ts';
import { bindingDocuments, roleDocuments, type BindingDocument, type RoleDocument } from './bootstrap-roles.ts';
import { missingRights } from './registry/policy-rules.ts';
import type { Registry } from './registry/registry.ts';

const autoupdate = 'rbac.authorization.kubernetes.io/autoupdate';
const metadataOf = (name: string, labels: Readonly<Record<string, string>> = {}): unknown =>
  ({ name, labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...labels }, annotations: { [autoupdate]: 'true' } });

/**
 * Makes the roles and bindings that every cluster has, and gives back to those that are there what they lack, as the
 * apiserver does at each start. What somebody has added stays; one annotated with autoupdate "false" is left alone.
 */
export async function bootstrapPolicy(registry: Registry): Promise<void> {
  // All at once, for one commit.
  await Promise.all([...roleDocuments.map((document) => ensureRole(registry, document)), ...bindingDocuments.map((document) => ensureBinding(registry, document))]);
}

async function ensureRole(registry: Registry, { name, labels, rules, aggregate }: RoleDocument): Promise<void> {
  const found = registry.find(clusterRoles, '', name);
  const aggregationRule = aggregate && { clusterRoleSelectors: [{ matchLabels: { [aggregate]: 'true' } }] };
  if (!found) await registry.create(clusterRoles, '', { metadata: metadataOf(name, labels), rules, ...(aggregationRule ? { aggregationRule } : {}) });
  else if (!aggregationRule) await completeRole(registry, found, rules);
}

async function ensureBinding(registry: Registry, { name, subjects }: BindingDocument): Promise<void> {
  const found = registry.find(clusterRoleBindings, '', name);
  if (found) return completeBinding(registry, found, subjects);
  await registry.create(clusterRoleBindings, '', { metadata: metadataOf(name), subjects, roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name } });
}

const isKept = ({ metadata }: ClusterRole | ClusterRoleBinding): boolean => metadata.annotations?.[autoupdate] !== 'false';

async function completeRole(registry: Registry, role: ClusterRole, rules: readonly PolicyRule[]): Promise<void> {
  if (!isKept(role) || missingRights(role.rules ?? [], rules).length === 0) return;
  const missing = rules.filter((rule) => missingRights(role.rules ?? [], [rule]).length > 0);
  await registry.modify(clusterRoles, '', role.metadata.name ?? '', (current) => ({ ...current, rules: [...current.rules ?? [], ...missing] }));
}

async function completeBinding(registry: Registry, binding: ClusterRoleBinding, subjects: readonly Subject[]): Promise<void> {
  const missing = subjects.filter((subject) => !binding.subjects?.some((known) => isDeepStrictEqual(known, subject)));
  if (!isKept(binding) || missing.length === 0) return;
  await registry.modify(clusterRoleBindings, '', binding.metadata.name ?? '', (current) => ({ ...current, subjects: [...current.subjects ?? [], ...missing] }));
}
