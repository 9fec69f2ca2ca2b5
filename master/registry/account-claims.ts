import { randomUUID } from 'node:crypto';
import type { KubeObject } from '../../shared/meta.ts';
import type { Claims } from './jwt.ts';
import type { User } from './types.ts';

/** An object as a token names it. */
export interface Named { readonly name: string; readonly uid: string }

/** What a token says of whom it is for: the claim `kubernetes.io`, or the flat claims of a token Secret. */
export interface Bound {
  readonly namespace: string;
  readonly account: Named;
  readonly pod: Named | undefined;
  readonly secret: Named | undefined;
  readonly node: Named | undefined;
}

export const namedOf = ({ metadata }: KubeObject): Named => ({ name: metadata.name ?? '', uid: metadata.uid ?? '' });

/** Issuer of the tokens in Secrets of type kubernetes.io/service-account-token, which have no end. */
export const legacyIssuer = 'kubernetes/serviceaccount';

export const subjectOf = (namespace: string, account: string): string => `system:serviceaccount:${namespace}:${account}`;

export interface ClaimsInput {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly nowMs: number;
  readonly lifeSeconds: number;
  /** After so many seconds its bearer should have had a newer one. */
  readonly warnAfterSeconds: number | undefined;
  readonly bound: Bound;
}

/** Claims of a token as the apiserver makes them; times in seconds. */
export function claimsOf({ issuer, audiences, nowMs, lifeSeconds, warnAfterSeconds, bound }: ClaimsInput): Claims {
  const now = Math.floor(nowMs / 1000);
  const { namespace, account, pod, secret, node } = bound;
  return {
    aud: audiences, exp: now + lifeSeconds, iat: now, iss: issuer, jti: randomUUID(),
    'kubernetes.io': {
      namespace, ...(node ? { node } : {}), ...(pod ? { pod } : {}), ...(secret ? { secret } : {}), serviceaccount: account,
      ...(warnAfterSeconds === undefined ? {} : { warnafter: now + warnAfterSeconds }),
    },
    nbf: now, sub: subjectOf(namespace, account.name),
  };
}

const legacy = 'kubernetes.io/serviceaccount/';

export const legacyClaims = (namespace: string, account: Named, secret: string): Claims => ({
  iss: legacyIssuer, [`${legacy}namespace`]: namespace, [`${legacy}secret.name`]: secret,
  [`${legacy}service-account.name`]: account.name, [`${legacy}service-account.uid`]: account.uid, sub: subjectOf(namespace, account.name),
});

/** Whom claims of either form are for; undefined when they do not say. */
export function boundOf(claims: Claims): Bound | undefined {
  if (claims['iss'] === legacyIssuer) return legacyBound(claims);
  const own = claims['kubernetes.io'];
  if (typeof own !== 'object' || own === null) return undefined;
  const { namespace, serviceaccount, pod, secret, node } = own as Record<string, unknown>;
  const account = named(serviceaccount);
  if (typeof namespace !== 'string' || !account || claims['sub'] !== subjectOf(namespace, account.name)) return undefined;
  return { namespace, account, pod: named(pod), secret: named(secret), node: named(node) };
}

function legacyBound(claims: Claims): Bound | undefined {
  const text = (key: string): string => (typeof claims[legacy + key] === 'string' ? claims[legacy + key] as string : '');
  const [namespace, name, uid, secret] = [text('namespace'), text('service-account.name'), text('service-account.uid'), text('secret.name')];
  if (!namespace || !name || !uid || !secret || claims['sub'] !== subjectOf(namespace, name)) return undefined;
  return { namespace, account: { name, uid }, pod: undefined, secret: { name: secret, uid: '' }, node: undefined };
}

function named(value: unknown): Named | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, uid = '' } = value as Record<string, unknown>;
  return typeof name === 'string' && typeof uid === 'string' ? { name, uid } : undefined;
}

/** The user that a token stands for. */
export function accountUser({ namespace, account, pod, node }: Bound, id: unknown): User {
  const extra: Record<string, readonly string[]> = {};
  const note = (key: string, value: string | undefined): void => { if (value) extra[`authentication.kubernetes.io/${key}`] = [value]; };
  note('credential-id', typeof id === 'string' && id ? `JTI=${id}` : undefined);
  note('node-name', node?.name);
  note('node-uid', node?.uid);
  note('pod-name', pod?.name);
  note('pod-uid', pod?.uid);
  return {
    name: subjectOf(namespace, account.name), uid: account.uid, groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  };
}
