import { rbacGroup, type PolicyRule, type Subject } from '../shared/kinds/rbac.ts';

/** A cluster role that every cluster has; `aggregate`: the label of the roles that its rules are taken from. */
export interface RoleDocument { readonly name: string; readonly labels?: Readonly<Record<string, string>>; readonly rules: readonly PolicyRule[]; readonly aggregate?: string }

const read = ['get', 'list', 'watch'];
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const readWrite = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

const words = (text: string): string[] => text.split(' ');
const rule = (verbs: string[], group: string, resources: string): PolicyRule => ({ verbs, apiGroups: [group], resources: words(resources) });
const urls = (paths: string): PolicyRule => ({ verbs: ['get'], nonResourceURLs: words(paths) });

const label = (name: string): string => `rbac.authorization.k8s.io/aggregate-to-${name}`;
const into = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [label(name), 'true']));

/** What may be seen of a namespace: nothing secret, and no roles. */
const viewRules: readonly PolicyRule[] = [
  rule(read, '', 'configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status'),
  rule(read, '', 'bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status'),
  rule(read, '', 'namespaces'),
  rule(read, 'discovery.k8s.io', 'endpointslices'),
  rule(read, 'apps', 'controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status'),
  rule(read, 'autoscaling', 'horizontalpodautoscalers horizontalpodautoscalers/status'),
  rule(read, 'batch', 'cronjobs cronjobs/status jobs jobs/status'),
  rule(read, 'policy', 'poddisruptionbudgets poddisruptionbudgets/status'),
  rule(read, 'networking.k8s.io', 'ingresses ingresses/status networkpolicies'),
];

const editRules: readonly PolicyRule[] = [
  rule(read, '', 'pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy'),
  rule(['impersonate'], '', 'serviceaccounts'),
  rule(write, '', 'pods pods/attach pods/exec pods/portforward pods/proxy'),
  rule(['create'], '', 'pods/eviction'),
  rule(write, '', 'configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy'),
  rule(['create'], '', 'serviceaccounts/token'),
  rule(write, 'apps', 'daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale'),
  rule(write, 'autoscaling', 'horizontalpodautoscalers'),
  rule(write, 'batch', 'cronjobs jobs'),
  rule(write, 'policy', 'poddisruptionbudgets'),
  rule(write, 'networking.k8s.io', 'ingresses networkpolicies'),
  rule(readWrite, 'coordination.k8s.io', 'leases'),
];

const adminRules: readonly PolicyRule[] = [
  rule(['create'], 'authorization.k8s.io', 'localsubjectaccessreviews'),
  rule(readWrite, rbacGroup, 'rolebindings roles'),
];

const probes = '/healthz /livez /readyz /version /version/';

/** Cluster roles as the apiserver's bootstrap policy has them, for what is served here. */
export const roleDocuments: readonly RoleDocument[] = [
  { name: 'cluster-admin', rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }, { verbs: ['*'], nonResourceURLs: ['*'] }] },
  { name: 'system:discovery', rules: [urls(`${probes} /api /api/* /apis /apis/* /openapi /openapi/*`)] },
  { name: 'system:public-info-viewer', rules: [urls(probes)] },
  {
    name: 'system:basic-user',
    rules: [rule(['create'], 'authorization.k8s.io', 'selfsubjectaccessreviews selfsubjectrulesreviews'), rule(['create'], 'authentication.k8s.io', 'selfsubjectreviews')],
  },
  { name: 'system:monitoring', rules: [urls('/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*')] },
  { name: 'system:service-account-issuer-discovery', rules: [urls('/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/')] },
  { name: 'system:auth-delegator', rules: [rule(['create'], 'authentication.k8s.io', 'tokenreviews'), rule(['create'], 'authorization.k8s.io', 'subjectaccessreviews')] },
  { name: 'admin', rules: [], aggregate: label('admin') },
  { name: 'edit', labels: into('admin'), rules: [], aggregate: label('edit') },
  { name: 'view', labels: into('edit'), rules: [], aggregate: label('view') },
  { name: 'system:aggregated-metrics-reader', labels: into('view', 'edit', 'admin'), rules: [rule(read, 'metrics.k8s.io', 'nodes pods')] },
  { name: 'system:aggregate-to-admin', labels: into('admin'), rules: adminRules },
  { name: 'system:aggregate-to-edit', labels: into('edit'), rules: editRules },
  { name: 'system:aggregate-to-view', labels: into('view'), rules: viewRules },
];

const groups = (...names: string[]): Subject[] => names.map((name) => ({ kind: 'Group', apiGroup: rbacGroup, name }));

/** A binding of the cluster role of its own name. */
export interface BindingDocument { readonly name: string; readonly subjects: Subject[] }

export const bindingDocuments: readonly BindingDocument[] = [
  { name: 'cluster-admin', subjects: groups('system:masters') },
  { name: 'system:discovery', subjects: groups('system:authenticated') },
  { name: 'system:public-info-viewer', subjects: groups('system:authenticated', 'system:unauthenticated') },
  { name: 'system:basic-user', subjects: groups('system:authenticated') },
  { name: 'system:monitoring', subjects: groups('system:monitoring') },
  { name: 'system:service-account-issuer-discovery', subjects: groups('system:serviceaccounts') },
];
