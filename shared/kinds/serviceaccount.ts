import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { bool, list, listMap, opt } from '../schema.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { LocalObjectReference, ObjectReference } from './references.ts';

const ServiceAccountSchema = topLevel('core.v1.ServiceAccount', {
  secrets: opt(listMap(ObjectReference, 'name'), 'Secrets that its pods may use.'),
  imagePullSecrets: opt(list(LocalObjectReference), 'Secrets with registry credentials, for all its pods.'),
  automountServiceAccountToken: opt(bool(), 'Whether its pods get a token mounted; they may say otherwise.'),
}, 'An identity for pods.');
export type ServiceAccount = ObjectOf<typeof ServiceAccountSchema>;

export const serviceAccounts = defineKind<ServiceAccount>({
  group: '', version: 'v1', kind: 'ServiceAccount', plural: 'serviceaccounts', shortNames: ['sa'], namespaced: true, schema: ServiceAccountSchema,
  subresources: [{ name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] }],
  columns: [
    nameColumn,
    { name: 'Secrets', type: 'string', description: 'Number of secrets.', cell: (o) => o.secrets?.length ?? 0 },
    ageColumn,
  ],
});
