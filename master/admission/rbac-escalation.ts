import { isDeepStrictEqual } from 'node:util';
import { clusterRoleBindings, clusterRoles, rbacGroup, roleBindings, roles, type ClusterRole, type PolicyRule, type RoleBinding } from '../../shared/kinds/rbac.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { forbidden, notFound } from '../../shared/status.ts';
import type { Policy } from '../registry/policy.ts';
import { compact, missingRights, quotedList, ruleText } from '../registry/policy-rules.ts';
import type { Admission, Attempt, User } from '../registry/types.ts';

/** Nobody gives to others (or to themselves) what they do not have: roles and bindings grant only what their writer holds. */
export const rbacEscalation = (policy: Policy): Admission => ({
  name: 'RBACEscalation',
  handles: ({ kind, operation, options }) => kind.group === rbacGroup && operation !== 'DELETE' && options.user !== undefined && !options.user.groups.includes('system:masters'),
  validate(attempt) {
    const user = attempt.options.user!;
    switch (attempt.kind.prefix) {
      case roles.prefix: case clusterRoles.prefix: return checkRole(policy, attempt, user);
      case roleBindings.prefix: case clusterRoleBindings.prefix: return checkBinding(policy, attempt, user);
    }
  },
});

function checkRole(policy: Policy, { kind, namespace, name, object, old }: Attempt, user: User): void {
  const { rules = [], aggregationRule } = object as ClusterRole;
  // Labels count too: they say which other roles take the rules over.
  if (isForCollector(object, old)) return;
  if (policy.find(user, namespace, { verb: 'escalate', group: rbacGroup, resource: kind.plural, subresource: '', name })) return;
  // Whoever chooses where rules come from may get any.
  const all: PolicyRule[] = [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }, { verbs: ['*'], nonResourceURLs: ['*'] }];
  const aggregates = aggregationRule ?? (old as ClusterRole | undefined)?.aggregationRule;
  if (aggregates && missingRights(policy.rules(user, ''), all).length > 0) throw forbidden(kind, name, 'must have cluster-admin privileges to use the aggregationRule');
  confirm(policy, { kind, name, user, namespace, rules });
}

/** Whether a write changes nothing but what lets the garbage collector delete the object, as `IsOnlyMutatingGCFields`. */
function isForCollector(object: KubeObject, old: KubeObject | undefined): boolean {
  return old !== undefined && isDeepStrictEqual(withoutOwners(object), withoutOwners(old));
}

/** Without what every write changes, too: whose write it was is said by `managedFields`. */
function withoutOwners({ metadata, ...rest }: KubeObject): unknown {
  const { ownerReferences: _, finalizers: __, managedFields: ___, resourceVersion: ____, ...kept } = metadata;
  return { ...rest, metadata: kept };
}

function checkBinding(policy: Policy, { kind, namespace, name, object, old }: Attempt, user: User): void {
  const { roleRef, subjects } = object as RoleBinding;
  const before = old as RoleBinding | undefined;
  if (before && isDeepStrictEqual(before.roleRef, roleRef) && isDeepStrictEqual(before.subjects, subjects)) return;
  const resource = roleRef.kind === 'Role' ? 'roles' : 'clusterroles';
  if (policy.find(user, namespace, { verb: 'bind', group: rbacGroup, resource, subresource: '', name: roleRef.name })) return;
  const rules = policy.rulesOf(roleRef, namespace);
  if (!rules) throw notFound(roleRef.kind === 'Role' ? roles : clusterRoles, roleRef.name);
  confirm(policy, { kind, name, user, namespace, rules });
}

interface Grant { readonly kind: Attempt['kind']; readonly name: string; readonly user: User; readonly namespace: string; readonly rules: readonly PolicyRule[] }

/** @throws StatusError 403 as `ConfirmNoEscalation` */
function confirm(policy: Policy, { kind, name, user, namespace, rules }: Grant): void {
  const missing = missingRights(policy.rules(user, namespace), rules);
  if (missing.length === 0) return;
  const lines = [...new Set(compact(missing).map(ruleText))].sort();
  throw forbidden(kind, name, `user ${JSON.stringify(user.name)} (groups=${quotedList(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${lines.join('\n')}`);
}
