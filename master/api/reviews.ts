import { badRequest } from '../../shared/status.ts';
import { isObject } from '../registry/field-set.ts';
import type { User } from '../registry/types.ts';
import { sendJson } from './answer.ts';
import type { Access, Authorizer } from './authorize.ts';
import { readDocument } from './document.ts';
import type { Exchange } from './exchange.ts';
import { noSuchMethod } from './kinds.ts';

type Document = Record<string, unknown>;

interface Review {
  readonly kind: string;
  readonly status: (document: Document, user: User, authorizer: Authorizer) => Promise<unknown>;
}

/** Questions that are posted, answered and never stored, by group, version and resource. */
const reviews: Readonly<Record<string, Review>> = {
  'authentication.k8s.io/v1/selfsubjectreviews': { kind: 'SelfSubjectReview', status: whoAmI },
  'authorization.k8s.io/v1/selfsubjectaccessreviews': { kind: 'SelfSubjectAccessReview', status: mayI },
  'authorization.k8s.io/v1/selfsubjectrulesreviews': { kind: 'SelfSubjectRulesReview', status: myRules },
  'authorization.k8s.io/v1/subjectaccessreviews': { kind: 'SubjectAccessReview', status: mayThey },
};

/** Answers a review; false for other requests. @throws StatusError */
export function answerReview(x: Exchange, authorizer: Authorizer): boolean | Promise<boolean> {
  const request = x.info.resource;
  if (!request || !request.group.startsWith('auth')) return false;
  const path = `${request.group}/${request.version}/${request.resource}`;
  const review = Object.hasOwn(reviews, path) ? reviews[path] : undefined;
  if (!review) return false;
  if (x.info.verb !== 'create') throw noSuchMethod();
  return answer(x, `${request.group}/${request.version}`, review, authorizer);
}

async function answer(x: Exchange, apiVersion: string, review: Review, authorizer: Authorizer): Promise<true> {
  const { document } = await readDocument(x, { kind: review.kind, apiVersion });
  const status = await review.status(document, x.user, authorizer);
  sendJson(x, 201, { ...document, kind: review.kind, apiVersion, metadata: isObject(document['metadata']) ? document['metadata'] : {}, status });
  return true;
}

async function whoAmI(_document: Document, user: User): Promise<unknown> {
  return { userInfo: { username: user.name, ...(user.uid ? { uid: user.uid } : {}), groups: user.groups } };
}

async function mayI(document: Document, user: User, authorizer: Authorizer): Promise<unknown> {
  return verdict(accessAsked(specOf(document), user), authorizer);
}

async function mayThey(document: Document, _user: User, authorizer: Authorizer): Promise<unknown> {
  const spec = specOf(document);
  const groups = Array.isArray(spec['groups']) ? spec['groups'].filter((group) => typeof group === 'string') : [];
  return verdict(accessAsked(spec, { name: text(spec, 'user'), groups }), authorizer);
}

async function verdict(access: Access, authorizer: Authorizer): Promise<unknown> {
  const { allowed, reason } = await authorizer.authorize(access);
  return { allowed, ...(reason ? { reason } : {}) };
}

async function myRules(document: Document, user: User, authorizer: Authorizer): Promise<unknown> {
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
