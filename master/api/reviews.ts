import { defineKind, topLevel, type Kind } from '../../shared/kind.ts';
import { badRequest } from '../../shared/status.ts';
import { isObject } from '../registry/field-set.ts';
import type { User } from '../registry/types.ts';
import { sendJson } from './answer.ts';
import type { TokenAuthenticator } from './authenticate.ts';
import type { Access, Authorizer } from './authorize.ts';
import { readDocument } from './document.ts';
import type { Exchange } from './exchange.ts';
import { noSuchMethod } from './kinds.ts';

type Document = Record<string, unknown>;

/** What answers are found with. */
export interface Judges {
  readonly authorizer: Authorizer;
  readonly tokens?: TokenAuthenticator;
}

interface Review {
  readonly kind: string;
  readonly status: (document: Document, user: User, judges: Judges, namespace: string) => Promise<unknown>;
}

/** Questions that are posted, answered and never stored, by group, version and resource. */
const reviews: Readonly<Record<string, Review>> = {
  'authentication.k8s.io/v1/selfsubjectreviews': { kind: 'SelfSubjectReview', status: whoAmI },
  'authentication.k8s.io/v1/tokenreviews': { kind: 'TokenReview', status: whoseToken },
  'authorization.k8s.io/v1/selfsubjectaccessreviews': { kind: 'SelfSubjectAccessReview', status: mayI },
  'authorization.k8s.io/v1/selfsubjectrulesreviews': { kind: 'SelfSubjectRulesReview', status: myRules },
  'authorization.k8s.io/v1/subjectaccessreviews': { kind: 'SubjectAccessReview', status: mayThey },
  'authorization.k8s.io/v1/localsubjectaccessreviews': { kind: 'LocalSubjectAccessReview', status: mayTheyHere },
};

/** The same for discovery; those in a namespace are about it. */
export const reviewKinds: readonly Kind[] = Object.entries(reviews).map(([path, { kind }]) => {
  const [group = '', version = '', plural = ''] = path.split('/');
  return defineKind({ group, version, kind, plural, namespaced: plural.startsWith('local'), schema: topLevel(kind, {}, kind), verbs: ['create'], columns: [] });
});

/** Answers a review; false for other requests. @throws StatusError */
export function answerReview(x: Exchange, judges: Judges): boolean | Promise<boolean> {
  const request = x.info.resource;
  if (!request || !request.group.startsWith('auth')) return false;
  const path = `${request.group}/${request.version}/${request.resource}`;
  const review = Object.hasOwn(reviews, path) ? reviews[path] : undefined;
  if (!review) return false;
  if (x.info.verb !== 'create') throw noSuchMethod();
  return answer(x, `${request.group}/${request.version}`, review, judges);
}

async function answer(x: Exchange, apiVersion: string, review: Review, judges: Judges): Promise<true> {
  const { document } = await readDocument(x, { kind: review.kind, apiVersion });
  const status = await review.status(document, x.user, judges, x.info.resource?.namespace ?? '');
  sendJson(x, 201, { ...document, kind: review.kind, apiVersion, metadata: isObject(document['metadata']) ? document['metadata'] : {}, status });
  return true;
}

async function whoAmI(_document: Document, user: User): Promise<unknown> {
  return { userInfo: infoOf(user) };
}

const infoOf = (user: User): unknown =>
  ({ username: user.name, ...(user.uid ? { uid: user.uid } : {}), groups: user.groups, ...(user.extra ? { extra: user.extra } : {}) });

/** Whom a token is of, for others that it is presented to. */
async function whoseToken(document: Document, _user: User, { tokens }: Judges): Promise<unknown> {
  const spec = specOf(document);
  const token = text(spec, 'token');
  if (!token) throw badRequest('token is required for TokenReview in authentication');
  const audiences = textsOf(spec['audiences']);
  const verdict = await tokens?.review?.(token, audiences);
  if (verdict && 'user' in verdict) return { authenticated: true, user: infoOf(verdict.user), audiences: verdict.audiences };
  const user = verdict || audiences.length > 0 ? undefined : await tokens?.authenticate(token);
  if (user) return { authenticated: true, user: infoOf(user) };
  return { user: {}, error: verdict ? `[invalid bearer token, ${verdict.error}]` : 'invalid bearer token' };
}

async function mayI(document: Document, user: User, { authorizer }: Judges): Promise<unknown> {
  return verdict(accessAsked(specOf(document), user), authorizer);
}

async function mayThey(document: Document, _user: User, { authorizer }: Judges): Promise<unknown> {
  const spec = specOf(document);
  const [name, groups] = [text(spec, 'user'), textsOf(spec['groups'])];
  if (!name && groups.length === 0) throw badRequest('at least one of user or group must be specified');
  return verdict(accessAsked(spec, { name, groups }), authorizer);
}

/** The same about one namespace, for those who may ask about that one only. */
async function mayTheyHere(document: Document, user: User, judges: Judges, namespace: string): Promise<unknown> {
  const { resourceAttributes: resource } = specOf(document);
  if (!isObject(resource)) throw badRequest('only resourceAttributes may be asked about in a namespace');
  if (text(resource, 'namespace') !== namespace) throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
  return mayThey(document, user, judges);
}

const textsOf = (value: unknown): string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);

async function verdict(access: Access, authorizer: Authorizer): Promise<unknown> {
  const { allowed, reason } = await authorizer.authorize(access);
  return { allowed, ...(reason ? { reason } : {}) };
}

async function myRules(document: Document, user: User, { authorizer }: Judges): Promise<unknown> {
  const namespace = text(specOf(document), 'namespace');
  if (!namespace) throw badRequest('no namespace on request');
  return { ...await authorizer.rulesFor(user, namespace), incomplete: false };
}

const specOf = (document: Document): Document => (isObject(document['spec']) ? document['spec'] : {});

const text = (of: Document, field: string): string => (typeof of[field] === 'string' ? of[field] : '');

/** @throws StatusError 400 */
function accessAsked(spec: Document, user: User): Access {
  const { resourceAttributes: resource, nonResourceAttributes: path } = spec;
  if (isObject(resource) === isObject(path)) throw badRequest('exactly one of nonResourceAttributes or resourceAttributes must be specified');
  if (isObject(path)) return { user, verb: text(path, 'verb'), path: text(path, 'path'), resource: undefined };
  const of = resource as Document;
  return {
    user, verb: text(of, 'verb'), path: '',
    resource: { group: text(of, 'group'), resource: text(of, 'resource'), subresource: text(of, 'subresource'), namespace: text(of, 'namespace'), name: text(of, 'name') },
  };
}
