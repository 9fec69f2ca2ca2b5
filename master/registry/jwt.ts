import { createHash, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';

/** What a token is checked with. */
export interface CheckKey {
  /** `kid`: SHA-256 over the public key's SPKI, base64url, as the apiserver names its keys. */
  readonly id: string;
  readonly publicKey: KeyObject;
}

/** A key that signs tokens. RSA, for RS256: the one algorithm that every OpenID Connect client must understand. */
export interface TokenKey extends CheckKey { readonly privateKey: KeyObject }

/** Keys that come and go: one signs, and what others have signed before it is good for a while. */
export interface TokenKeys {
  readonly signing: TokenKey;
  /** Those whose tokens are good now, the one that signs first. */
  accepted(): readonly CheckKey[];
}

export type Claims = Readonly<Record<string, unknown>>;

export const algorithm = 'RS256';
const digest = 'RSA-SHA256';
const signAsync = promisify(sign);

/** A key pair from its private half. */
export function tokenKey(privateKey: KeyObject): TokenKey {
  return { ...checkKey(createPublicKey(privateKey)), privateKey };
}

/** The half of a key pair that others may have. */
export function checkKey(publicKey: KeyObject): CheckKey {
  return { id: createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64url'), publicKey };
}

const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url');

/** A compact JWS of claims. Signing takes a millisecond or more, on another thread. */
export async function signToken(key: TokenKey, claims: Claims): Promise<string> {
  const text = `${encode({ alg: algorithm, kid: key.id })}.${encode(claims)}`;
  return `${text}.${(await signAsync(digest, Buffer.from(text), key.privateKey)).toString('base64url')}`;
}

/** Claims of a token as it says them, whoever signed it; undefined for what is no JWT. */
export function readClaims(token: string): Claims | undefined {
  // Node's decoder skips what is no base64.
  const [, head, body] = /^([\w-]+)\.([\w-]+)\.[\w-]+$/.exec(token) ?? [];
  return head !== undefined && body !== undefined && decodePart(head) ? decodePart(body) : undefined;
}

/** Whether the key signed this token, with the algorithm that it is for. */
export function isSigned(key: CheckKey, token: string): boolean {
  const [head = '', body = '', signature = ''] = token.split('.');
  const header = decodePart(head);
  // The algorithm is ours to say, not the token's: `none` and HMAC with a public key are old tricks.
  if (header?.['alg'] !== algorithm || (header['kid'] !== undefined && header['kid'] !== key.id)) return false;
  return verify(digest, Buffer.from(`${head}.${body}`), key.publicKey, Buffer.from(signature, 'base64url'));
}

function decodePart(text: string): Claims | undefined {
  try {
    const part: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return typeof part === 'object' && part !== null && !Array.isArray(part) ? part as Claims : undefined;
  } catch {
    return undefined;
  }
}
