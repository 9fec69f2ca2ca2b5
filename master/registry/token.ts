import { randomInt, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import { secrets, type Secret } from '../../shared/kinds/secret.ts';
import { isNotFound, notFound } from '../../shared/status.ts';
import { fromTime, toTime } from '../../shared/time.ts';
import type { Registry } from './registry.ts';

/**
 * Join tokens, kept as Kubernetes keeps bootstrap tokens: a Secret `bootstrap-token-ID` in kube-system, of type
 * `bootstrap.kubernetes.io/token`. `ID.SECRET` proves the right to enrol a node.
 */
export interface JoinToken {
  /** 6 characters, public. */
  readonly id: string;
  /** 16 characters, secret. */
  readonly secret: string;
  readonly description: string;
  /** Ms since 1970; undefined for a token that never expires. */
  readonly expiresMs: number | undefined;
}

const namespace = 'kube-system';
const type = 'bootstrap.kubernetes.io/token';
const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

const randomText = (length: number): string => Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
const decode = (secret: Secret, key: string): string => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');

/** Creates a token; `ttlMs` 0 for one that never expires. */
export async function createJoinToken(registry: Registry, clock: Clock, options: { readonly ttlMs: number; readonly description: string }): Promise<JoinToken> {
  const token: JoinToken = {
    id: randomText(6), secret: randomText(16), description: options.description,
    expiresMs: options.ttlMs > 0 ? clock.now() + options.ttlMs : undefined,
  };
  await registry.create(secrets, namespace, {
    metadata: { name: `bootstrap-token-${token.id}` }, type,
    stringData: {
      'token-id': token.id, 'token-secret': token.secret, 'usage-bootstrap-authentication': 'true', description: token.description,
      ...(token.expiresMs ? { expiration: toTime(token.expiresMs) } : {}),
    },
  });
  return token;
}

export function listJoinTokens(registry: Registry): JoinToken[] {
  return registry.all(secrets, namespace).filter((secret) => secret.type === type).map(toToken);
}

/** @throws StatusError 404 */
export async function deleteJoinToken(registry: Registry, id: string): Promise<void> {
  try {
    await registry.delete(secrets, namespace, `bootstrap-token-${id}`);
  } catch (error) {
    throw isNotFound(error) ? notFound({ group: '', plural: 'tokens', kind: 'Token' }, id) : error;
  }
}

/** What is wrong with `ID.SECRET`, or undefined when it entitles its bearer to enrol a node. */
export function checkJoinToken(registry: Registry, clock: Clock, text: string): string | undefined {
  const [id = '', given = ''] = text.split('.');
  if (!/^[a-z0-9]{6}$/.test(id) || !/^[a-z0-9]{16}$/.test(given)) return 'it is not of the form ID.SECRET';
  const secret = registry.find(secrets, namespace, `bootstrap-token-${id}`);
  if (!secret || secret.type !== type) return `no token has the id ${JSON.stringify(id)}`;
  const token = toToken(secret);
  if (!sameText(token.secret, given)) return `the secret of token ${JSON.stringify(id)} is wrong`;
  if (decode(secret, 'usage-bootstrap-authentication') !== 'true') return `token ${JSON.stringify(id)} is not for authentication`;
  if (token.expiresMs !== undefined && token.expiresMs <= clock.now()) return `token ${JSON.stringify(id)} expired at ${toTime(token.expiresMs)}`;
  return undefined;
}

function toToken(secret: Secret): JoinToken {
  const expiration = decode(secret, 'expiration');
  return {
    id: decode(secret, 'token-id'), secret: decode(secret, 'token-secret'), description: decode(secret, 'description'),
    // An expiration that cannot be read counts as passed.
    expiresMs: expiration ? fromTime(expiration) : undefined,
  };
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
