import { badRequest } from '../../shared/status.ts';
import { flag, type Query } from './query.ts';

/** What a request asks for, as far as its method and URL tell. */
export interface RequestInfo {
  /** A Kubernetes verb for resources, the method in lower case for anything else. */
  readonly verb: string;
  readonly path: string;
  /** Undefined for paths outside of `/api/v1/…` and `/apis/GROUP/VERSION/…`. */
  readonly resource: ResourceRequest | undefined;
  /** Name of the one object that a list or watch selects (`metadata.name=NAME`): rules for that name allow it. */
  readonly selected?: string;
}

export interface ResourceRequest {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  /** What follows the subresource, such as a proxied path; usually ''. */
  readonly rest: string;
  /** '' for cluster-scoped resources and for requests over all namespaces. */
  readonly namespace: string;
  /** '' for a collection. */
  readonly name: string;
}

/** Subresources of namespaces themselves; any other word there is a resource inside of the namespace. */
const ofNamespaces: ReadonlySet<string> = new Set(['status', 'finalize']);

/** Reads a request's URL as apiserver's `RequestInfoFactory` does. @throws StatusError 400 for broken escapes */
export function describeRequest(method: string, path: string, query: Query): RequestInfo {
  const plain = { verb: method.toLowerCase(), path, resource: undefined };
  const parts = segments(path);
  const core = parts[0] === 'api';
  if (!core && parts[0] !== 'apis') return plain;
  const depth = core ? 2 : 3;
  if (parts.length <= depth || (core && parts[1] !== 'v1')) return plain;
  const group = core ? '' : parts[1]!;
  const version = parts[depth - 1]!;
  const watched = parts[depth] === 'watch';
  const words = parts.slice(watched ? depth + 1 : depth);
  if (words.length === 0) return plain;
  const resource = { group, version, ...place(words) };
  const verb = watched ? 'watch' : verbOf(method, resource.name, query);
  const selected = !resource.name && (verb === 'list' || verb === 'watch') ? selectedName(query) : undefined;
  return { verb, path, resource, ...(selected === undefined ? {} : { selected }) };
}

/**
 * The terms of a selector all have to hold, so one that names an object is enough. Where there are escapes, commas need
 * not part terms, and what looks like one may be a piece of a value: nothing is taken from those, nor from odd names.
 */
function selectedName(query: Query): string | undefined {
  const text = query.get('fieldSelector') ?? '';
  const terms = text.includes('\\') ? [] : text.split(',');
  return terms.flatMap((term) => /^metadata\.name==?([\w.:-]+)$/.exec(term)?.[1] ?? [])[0];
}

function place(words: readonly string[]): Omit<ResourceRequest, 'group' | 'version'> {
  const inNamespace = words[0] === 'namespaces' && words.length > 2 && !(words.length === 3 && ofNamespaces.has(words[2]!));
  const [resource = '', name = '', subresource = '', ...rest] = inNamespace ? words.slice(2) : words;
  return { resource, name, subresource, rest: rest.join('/'), namespace: inNamespace ? words[1]! : '' };
}

function verbOf(method: string, name: string, query: Query): string {
  switch (method) {
    case 'GET': case 'HEAD':
      if (name) return 'get';
      return flag(query, 'watch') ? 'watch' : 'list';
    case 'POST': return 'create';
    case 'PUT': return 'update';
    case 'PATCH': return 'patch';
    case 'DELETE': return name ? 'delete' : 'deletecollection';
    default: return method.toLowerCase();
  }
}

function segments(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  if (!path.includes('%')) return parts;
  try {
    return parts.map(decodeURIComponent);
  } catch {
    throw badRequest(`invalid URL escape in ${JSON.stringify(path)}`);
  }
}
