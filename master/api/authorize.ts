import { forbidden, StatusError } from '../../shared/status.ts';
import type { User } from '../registry/types.ts';
import type { RequestInfo } from './request.ts';

/** One thing that a user wants to do. */
export interface Access {
  readonly user: User;
  readonly verb: string;
  /** Undefined for a path that is no resource. */
  readonly resource: AccessResource | undefined;
  readonly path: string;
}

export interface AccessResource {
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  /** '' for all namespaces and for cluster scope. */
  readonly namespace: string;
  /** '' for any. */
  readonly name: string;
}

export interface Decision {
  readonly allowed: boolean;
  /** Why, for the client. */
  readonly reason?: string;
}

/** What a user may do, as a SelfSubjectRulesReview lists it. */
export interface Rules {
  readonly resourceRules: readonly { readonly verbs: readonly string[]; readonly apiGroups: readonly string[]; readonly resources: readonly string[]; readonly resourceNames?: readonly string[] }[];
  readonly nonResourceRules: readonly { readonly verbs: readonly string[]; readonly nonResourceURLs: readonly string[] }[];
}

export interface Authorizer {
  authorize(access: Access): Decision | Promise<Decision>;
  rulesFor(user: User, namespace: string): Rules | Promise<Rules>;
}

/** The access that a request needs. */
export function accessOf(user: User, { verb, path, resource, selected }: RequestInfo): Access {
  return { user, verb, path, resource: resource && selected ? { ...resource, name: selected } : resource };
}

/** The 403 of a refused access, worded as the apiserver's `forbiddenMessage`. */
export function refusal({ user, verb, resource, path }: Access, reason: string | undefined): StatusError {
  const who = `User ${JSON.stringify(user.name)} cannot ${verb}`;
  const why = reason ? `: ${reason}` : '';
  if (!resource) return new StatusError(403, 'Forbidden', `forbidden: ${who} path ${JSON.stringify(path)}${why}`, {});
  const { group, subresource, namespace, name } = resource;
  const what = JSON.stringify(subresource ? `${resource.resource}/${subresource}` : resource.resource);
  const where = namespace ? ` in the namespace ${JSON.stringify(namespace)}` : ' at the cluster scope';
  const details = { ...(name ? { name } : {}), ...(group ? { group } : {}), kind: resource.resource };
  const { message } = forbidden({ group, plural: resource.resource, kind: '' }, name, `${who} resource ${what} in API group ${JSON.stringify(group)}${where}${why}`);
  return new StatusError(403, 'Forbidden', message, details);
}

const masters = 'system:masters';
const nodes = 'system:nodes';
const authenticated = 'system:authenticated';

/** Paths that even strangers may read: probes and versions. */
const openPaths = ['/healthz', '/livez', '/readyz', '/version', '/version/'];

/** Paths that every known user may read: what clients look at before anything else (`system:discovery`). */
const discoveryPaths = ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*'];

/** Reviews that everybody may make of themselves (`system:basic-user`). */
const selfReviews: Readonly<Record<string, readonly string[]>> = {
  'authorization.k8s.io': ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
  'authentication.k8s.io': ['selfsubjectreviews'],
};

const inGroup = (user: User, group: string): boolean => user.groups.includes(group);

/** What needs no role: masters may do all, a node its own, everybody sees whether the server lives. */
export const coreAuthorizer: Authorizer = {
  authorize: ({ user, verb, resource, path }) => ({ allowed: inGroup(user, masters)
    || (resource ? nodeUser(user, verb, resource) : (verb === 'get' || verb === 'head') && isOpen(path)) }),
  rulesFor: (user) => (inGroup(user, masters) ? rulesOf(user) : { resourceRules: [], nonResourceRules: [{ verbs: ['get'], nonResourceURLs: openPaths }] }),
};

/** Rules for servers without roles: the same, and the others look around. */
export const basicAuthorizer: Authorizer = {
  authorize: (access) => ({ allowed: mayDo(access) }),
  rulesFor: (user) => rulesOf(user),
};

function mayDo({ user, verb, resource, path }: Access): boolean {
  if (inGroup(user, masters)) return true;
  if (!resource) return (verb === 'get' || verb === 'head') && mayRead(user, path);
  if (verb === 'create' && inGroup(user, authenticated) && selfReviews[resource.group]?.includes(resource.resource)) return true;
  return nodeUser(user, verb, resource);
}

const nodeUser = (user: User, verb: string, resource: AccessResource): boolean =>
  inGroup(user, nodes) && user.name.startsWith('system:node:') && nodeMay(user.name.slice('system:node:'.length), verb, resource);

const isOpen = (path: string): boolean => openPaths.includes(path) || /^\/(?:livez|readyz|healthz)\//.test(path);

function mayRead(user: User, path: string): boolean {
  if (isOpen(path)) return true;
  return inGroup(user, authenticated) && discoveryPaths.some((known) => (known.endsWith('/*') ? path.startsWith(known.slice(0, -1)) : path === known));
}

/** A node sees and writes itself and its lease, and reports events. */
function nodeMay(node: string, verb: string, { group, resource, subresource, namespace, name }: AccessResource): boolean {
  if (group === '' && resource === 'nodes') {
    if (verb === 'create') return subresource === '';
    return name === node && (subresource === '' || subresource === 'status') && ['get', 'list', 'watch', 'update', 'patch'].includes(verb);
  }
  if (group === 'coordination.k8s.io' && resource === 'leases' && namespace === 'kube-node-lease') {
    return verb === 'create' || (name === node && ['get', 'update', 'patch', 'delete'].includes(verb));
  }
  return resource === 'events' && (group === '' || group === 'events.k8s.io') && ['create', 'patch', 'update'].includes(verb);
}

function rulesOf(user: User): Rules {
  if (inGroup(user, masters)) {
    return {
      resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
      nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
    };
  }
  const known = inGroup(user, authenticated);
  return {
    resourceRules: known ? Object.entries(selfReviews).map(([group, resources]) => ({ verbs: ['create'], apiGroups: [group], resources })) : [],
    nonResourceRules: [{ verbs: ['get'], nonResourceURLs: known ? [...openPaths, ...discoveryPaths] : openPaths }],
  };
}
