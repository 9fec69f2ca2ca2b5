import { decode } from '../../shared/decode.ts';
import type { Kind } from '../../shared/kind.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { secrets } from '../../shared/kinds/secret.ts';
import { serviceAccounts } from '../../shared/kinds/serviceaccount.ts';
import { ObjectMeta, type KubeObject } from '../../shared/meta.ts';
import { dflt, int64, list, obj, opt, str, time } from '../../shared/schema.ts';
import { badRequest, conflict, fieldInvalid, invalid, type FieldError } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import { namedOf, type Bound } from './account-claims.ts';
import type { AccountTokens } from './account-tokens.ts';
import type { Registry } from './registry.ts';

const BoundObjectReference = obj('authentication.v1.BoundObjectReference', {
  kind: opt(str(), 'Pod, Secret or Node.'),
  apiVersion: opt(str(), 'API version of the object.'),
  name: opt(str(), 'Name of the object.'),
  uid: opt(str(), 'UID that the object must have.'),
}, 'The object that a token ends with.');

/** `authentication.k8s.io/v1` TokenRequest. */
export const TokenRequestSchema = obj('authentication.v1.TokenRequest', {
  apiVersion: opt(str(), 'Versioned schema of this representation.'),
  kind: opt(str(), 'Kind of this object.'),
  metadata: opt(ObjectMeta, 'Standard object metadata.'),
  spec: dflt(obj('authentication.v1.TokenRequestSpec', {
    audiences: opt(list(str()), 'Whom the token is for; the API by default.'),
    expirationSeconds: dflt(int64(), 3600, 'Requested lifetime.'),
    boundObjectRef: opt(BoundObjectReference, 'What the token ends with.'),
  }, 'Which token is wanted.'), {}, 'Which token is wanted.'),
  status: opt(obj('authentication.v1.TokenRequestStatus', {
    token: opt(str(), 'The token.'), expirationTimestamp: opt(time(), 'When it should have been replaced.'),
  }, 'The token.'), 'The token; filled in by the server.'),
}, 'A request for a token of a service account.');

interface Reference { readonly kind?: string; readonly apiVersion?: string; readonly name?: string; readonly uid?: string }
interface Request {
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly spec: { readonly audiences?: readonly string[]; readonly expirationSeconds: number; readonly boundObjectRef?: Reference };
}

export interface TokenRequestOptions {
  readonly registry: Registry;
  readonly tokens: AccountTokens;
  /** Ms since 1970. */
  readonly now: () => number;
  /** Checks only, and makes no token. */
  readonly dryRun?: boolean;
}

const requests = { group: 'authentication.k8s.io', plural: '', kind: 'TokenRequest' };

/**
 * Answers a TokenRequest for an account with the same document and its status.
 * @throws StatusError as the apiserver's `serviceaccounts/token`
 */
export async function requestToken({ registry, tokens, now, dryRun }: TokenRequestOptions, namespace: string, name: string, document: unknown): Promise<unknown> {
  const { value: request, errors } = decode<Request>(TokenRequestSchema, document, { complete: true });
  const { expirationSeconds: seconds, boundObjectRef: reference, ...spec } = request.spec;
  const audiences = spec.audiences?.length ? spec.audiences : [tokens.issuer];
  const account = registry.get(serviceAccounts, namespace, name).object;
  if (request.metadata?.name && request.metadata.name !== name) throw badRequest(`metadata.name: Invalid value: ${JSON.stringify(request.metadata.name)}: must match the service account name if specified`);
  if (request.metadata?.namespace && request.metadata.namespace !== namespace) throw badRequest(`metadata.namespace: Invalid value: ${JSON.stringify(request.metadata.namespace)}: must match the service account namespace if specified`);
  const wrong = [...errors, ...lifeErrors(seconds)];
  if (wrong.length > 0) throw invalid(requests, '', wrong);
  const bound = reference ? boundTo(registry, namespace, name, reference) : {};
  const issuedMs = now();
  const token = dryRun ? '' : await tokens.issue({ account, audiences, seconds, bound });
  return {
    kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1', metadata: { name, namespace, creationTimestamp: toTime(issuedMs) },
    spec: { audiences, expirationSeconds: seconds, boundObjectRef: reference ?? null },
    status: { token, expirationTimestamp: toTime(issuedMs + seconds * 1000) },
  };
}

function lifeErrors(seconds: number): FieldError[] {
  if (seconds < 600) return [fieldInvalid('spec.expirationSeconds', seconds, 'may not specify a duration less than 10 minutes')];
  if (seconds > 2 ** 32) return [fieldInvalid('spec.expirationSeconds', seconds, 'may not specify a duration larger than 2^32 seconds')];
  return [];
}

/** The object that a token is to end with. @throws StatusError 400, 404, 409 */
function boundTo(registry: Registry, namespace: string, account: string, reference: Reference): Partial<Pick<Bound, 'pod' | 'secret' | 'node'>> {
  const { kind = '', apiVersion = '' } = reference;
  if (apiVersion === 'v1' || apiVersion === '') {
    if (kind === 'Pod') return podBound(registry, fetch(registry, pods, namespace, reference), account);
    if (kind === 'Secret') return { secret: namedOf(fetch(registry, secrets, namespace, reference)) };
    if (kind === 'Node') return { node: namedOf(fetch(registry, nodes, '', reference)) };
  }
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  throw badRequest(`cannot bind token to object of type ${group}/${version}, Kind=${kind}`);
}

function podBound(registry: Registry, pod: Pod, account: string): Partial<Pick<Bound, 'pod' | 'node'>> {
  if (pod.spec.serviceAccountName !== account) throw badRequest(`cannot bind token for serviceaccount ${JSON.stringify(account)} to pod running with different serviceaccount name.`);
  const { nodeName } = pod.spec;
  const node = nodeName ? registry.find(nodes, '', nodeName) : undefined;
  return { pod: namedOf(pod), ...(nodeName ? { node: node ? namedOf(node) : { name: nodeName, uid: '' } } : {}) };
}

function fetch<T extends KubeObject>(registry: Registry, kind: Kind<T>, namespace: string, { name = '', uid }: Reference): T {
  const { object } = registry.get(kind, namespace, name);
  if (uid && uid !== object.metadata.uid) {
    throw conflict({ ...kind, plural: kind.kind }, name, `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`);
  }
  return object;
}
