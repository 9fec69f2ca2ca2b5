import { isDeepStrictEqual } from 'node:util';
import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type Column, type ObjectOf } from '../kind.ts';
import { LabelSelector, type KubeObject } from '../meta.ts';
import { pathSegmentErrors } from '../names.ts';
import { atomicObj, dflt, list, obj, opt, req, str } from '../schema.ts';
import { fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { validateLabelSelector } from './affinity-validation.ts';
import { ageColumn, nameColumn } from './columns.ts';

export const rbacGroup = 'rbac.authorization.k8s.io';

export const PolicyRule = obj('rbac.v1.PolicyRule', {
  verbs: opt(list(str()), 'What may be done; * for all.'),
  apiGroups: opt(list(str()), 'Groups of the resources; "" is core, * is all.'),
  resources: opt(list(str()), 'Resources, and resource/subresource; * for all.'),
  resourceNames: opt(list(str()), 'Names that the rule is for; all without any.'),
  nonResourceURLs: opt(list(str()), 'Paths that are no resources; a * at the end stands for any rest.'),
}, 'Something that is allowed.');
export type PolicyRule = InferOutput<typeof PolicyRule>;

const Subject = atomicObj('rbac.v1.Subject', {
  kind: req(str(), 'User, Group or ServiceAccount.'),
  apiGroup: opt(str(), 'API group of the subject.'),
  name: req(str(), 'Name of the subject.'),
  namespace: opt(str(), 'Namespace of a service account.'),
}, 'Somebody whom a role is given to.');
export type Subject = InferOutput<typeof Subject>;

const RoleRef = atomicObj('rbac.v1.RoleRef', {
  apiGroup: dflt(str(), rbacGroup, 'API group of the role.'),
  kind: req(str(), 'Role or ClusterRole.'),
  name: req(str(), 'Name of the role.'),
}, 'The role that is given.');
export type RoleRef = InferOutput<typeof RoleRef>;

const rules = opt(list(PolicyRule), 'What the role allows.');
const AggregationRule = obj('rbac.v1.AggregationRule', {
  clusterRoleSelectors: opt(list(LabelSelector), 'Roles whose rules are taken over.'),
}, 'Where the rules of a role come from.');

const RoleSchema = topLevel('rbac.v1.Role', { rules }, 'Rules for one namespace.');
export type Role = ObjectOf<typeof RoleSchema>;
const ClusterRoleSchema = topLevel('rbac.v1.ClusterRole', { rules, aggregationRule: opt(AggregationRule, 'Where the rules come from; they are then kept by the server.') }, 'Rules for all namespaces and for what is in none.');
export type ClusterRole = ObjectOf<typeof ClusterRoleSchema>;

const bindingFields = { subjects: opt(list(Subject), 'Whom the role is given to.'), roleRef: req(RoleRef, 'The role; it cannot be changed.') };
const RoleBindingSchema = topLevel('rbac.v1.RoleBinding', bindingFields, 'Gives a role within one namespace.');
export type RoleBinding = ObjectOf<typeof RoleBindingSchema>;
const ClusterRoleBindingSchema = topLevel('rbac.v1.ClusterRoleBinding', bindingFields, 'Gives a cluster role everywhere.');
export type ClusterRoleBinding = ObjectOf<typeof ClusterRoleBindingSchema>;

function ruleErrors(rule: PolicyRule, path: string, namespaced: boolean): FieldError[] {
  const { verbs = [], apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const errors: FieldError[] = verbs.length > 0 ? [] : [fieldRequired(`${path}.verbs`, 'verbs must contain at least one value')];
  if (nonResourceURLs.length > 0) {
    const urls = `${path}.nonResourceURLs`;
    if (namespaced) errors.push(fieldInvalid(urls, nonResourceURLs, 'namespaced rules cannot apply to non-resource URLs'));
    if (apiGroups.length + resources.length + resourceNames.length > 0) errors.push(fieldInvalid(urls, nonResourceURLs, 'rules cannot apply to both regular resources and non-resource URLs'));
    return errors;
  }
  if (apiGroups.length === 0) errors.push(fieldRequired(`${path}.apiGroups`, 'resource rules must supply at least one api group'));
  if (resources.length === 0) errors.push(fieldRequired(`${path}.resources`, 'resource rules must supply at least one resource'));
  return errors;
}

const rulesErrors = (given: readonly PolicyRule[] | undefined, namespaced: boolean): FieldError[] =>
  (given ?? []).flatMap((rule, index) => ruleErrors(rule, `rules[${index}]`, namespaced));

function clusterRoleErrors({ rules: given, aggregationRule }: ClusterRole): FieldError[] {
  const errors = rulesErrors(given, false);
  const selectors = aggregationRule?.clusterRoleSelectors ?? [];
  if (aggregationRule && selectors.length === 0) errors.push(fieldRequired('aggregationRule.clusterRoleSelectors', 'at least one clusterRoleSelector required if aggregationRule is non-nil'));
  return [...errors, ...selectors.flatMap((selector, index) => validateLabelSelector(selector, `aggregationRule.clusterRoleSelectors[${index}]`))];
}

interface Binding extends KubeObject { subjects?: Subject[]; roleRef: RoleRef }

/** Users and groups are of RBAC's own group, service accounts of the core group. */
function normalizeBinding(binding: Binding): void {
  for (const subject of binding.subjects ?? []) {
    if (subject.kind === 'ServiceAccount') subject.apiGroup ||= '';
    else subject.apiGroup ||= rbacGroup;
    if (subject.apiGroup === '') delete subject.apiGroup;
  }
}

function subjectErrors({ kind, apiGroup = '', name, namespace = '' }: Subject, path: string): FieldError[] {
  const errors: FieldError[] = name === '' ? [fieldRequired(`${path}.name`)] : [];
  const group = (allowed: string): void => { if (apiGroup !== allowed) errors.push(fieldNotSupported(`${path}.apiGroup`, apiGroup, [allowed])); };
  switch (kind) {
    case 'ServiceAccount':
      group('');
      if (namespace === '') errors.push(fieldRequired(`${path}.namespace`));
      break;
    case 'User': case 'Group':
      group(rbacGroup);
      if (namespace !== '') errors.push(fieldForbidden(`${path}.namespace`, 'must be empty for users and groups'));
      break;
    default: errors.push(fieldNotSupported(`${path}.kind`, kind, ['ServiceAccount', 'User', 'Group']));
  }
  return errors;
}

function bindingErrors({ roleRef, subjects = [] }: Binding, kinds: readonly string[]): FieldError[] {
  const errors: FieldError[] = [];
  if (roleRef.apiGroup !== rbacGroup) errors.push(fieldNotSupported('roleRef.apiGroup', roleRef.apiGroup, [rbacGroup]));
  if (!kinds.includes(roleRef.kind)) errors.push(fieldNotSupported('roleRef.kind', roleRef.kind, kinds));
  if (roleRef.name === '') errors.push(fieldRequired('roleRef.name'));
  else errors.push(...pathSegmentErrors(roleRef.name).map((why) => fieldInvalid('roleRef.name', roleRef.name, why)));
  return [...errors, ...subjects.flatMap((subject, index) => subjectErrors(subject, `subjects[${index}]`))];
}

function bindingUpdateErrors(binding: Binding, old: Binding): FieldError[] {
  if (isDeepStrictEqual(binding.roleRef, old.roleRef)) return [];
  const { apiGroup, kind, name } = binding.roleRef;
  const value = `rbac.RoleRef{APIGroup:${JSON.stringify(apiGroup)}, Kind:${JSON.stringify(kind)}, Name:${JSON.stringify(name)}}`;
  return [{ type: 'FieldValueInvalid', field: 'roleRef', message: `Invalid value: ${value}: cannot change roleRef` }];
}

const createdColumn: Column<KubeObject> = { name: 'Created At', type: 'date', description: 'When it was made.', cell: ({ metadata }) => metadata.creationTimestamp ?? '' };

const named = (kind: string) => ({ subjects = [] }: Binding): string =>
  subjects.filter((subject) => subject.kind === kind).map(({ namespace, name }) => (namespace ? `${namespace}/${name}` : name)).join(', ');

const bindingColumns: readonly Column<Binding>[] = [
  nameColumn as Column<Binding>,
  { name: 'Role', type: 'string', description: 'The role that is given.', cell: ({ roleRef }) => `${roleRef.kind}/${roleRef.name}` },
  ageColumn as Column<Binding>,
  { name: 'Users', type: 'string', priority: 1, description: 'Users that have it.', cell: named('User') },
  { name: 'Groups', type: 'string', priority: 1, description: 'Groups that have it.', cell: named('Group') },
  { name: 'ServiceAccounts', type: 'string', priority: 1, description: 'Service accounts that have it.', cell: named('ServiceAccount') },
];

const common = { group: rbacGroup, version: 'v1', validateName: pathSegmentErrors } as const;
const binding = { normalize: normalizeBinding, validateUpdate: bindingUpdateErrors, columns: bindingColumns } as const;

export const roles = defineKind<Role>({
  ...common, kind: 'Role', plural: 'roles', namespaced: true, schema: RoleSchema,
  validate: (role) => rulesErrors(role.rules, true), columns: [nameColumn, createdColumn],
});
export const clusterRoles = defineKind<ClusterRole>({
  ...common, kind: 'ClusterRole', plural: 'clusterroles', namespaced: false, schema: ClusterRoleSchema,
  validate: clusterRoleErrors, columns: [nameColumn, createdColumn],
});
export const roleBindings = defineKind<RoleBinding>({
  ...common, ...binding, kind: 'RoleBinding', plural: 'rolebindings', namespaced: true, schema: RoleBindingSchema,
  validate: (given) => bindingErrors(given, ['Role', 'ClusterRole']),
});
export const clusterRoleBindings = defineKind<ClusterRoleBinding>({
  ...common, ...binding, kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', namespaced: false, schema: ClusterRoleBindingSchema,
  validate: (given) => bindingErrors(given, ['ClusterRole']),
});
