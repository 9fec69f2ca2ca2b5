import { createHash } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { secrets } from '../../shared/kinds/secret.ts';
import { serviceAccounts, type ServiceAccount } from '../../shared/kinds/serviceaccount.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { fromTime } from '../../shared/time.ts';
import { accountUser, boundOf, claimsOf, legacyClaims, legacyIssuer, namedOf, type Bound, type Named } from './account-claims.ts';
import { isSigned, readClaims, signToken, type Claims, type TokenKeys } from './jwt.ts';
import { quotedList } from './policy-rules.ts';
import type { Registry } from './registry.ts';
import type { User } from './types.ts';

export interface AccountTokensOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly keys: TokenKeys;
  /** `iss` of the tokens, and the audience that the API itself is. */
  readonly issuer: string;
}

/** What somebody presents a token for: the user and the audiences that it is good for, or why it is not. */
export type TokenVerdict = { readonly user: User; readonly audiences: readonly string[] } | { readonly error: string };

export interface Issue {
  readonly account: ServiceAccount;
  /** Empty: the API. */
  readonly audiences: readonly string[];
  readonly seconds: number;
  readonly bound: Partial<Pick<Bound, 'pod' | 'secret' | 'node'>>;
}

/** What the ServiceAccount admission asks for: such a token of a pod is refreshed hourly and good for a year, in case that somebody reads it once only. */
export const warnOnlySeconds = 3607;
const extendedSeconds = 365 * 24 * 3600;

/** Clocks differ; and an object that is going is taken for there for so long. */
const leewayMs = 60_000;
/** Tokens whose signature was found to be good. */
const maxKnown = 4096;

/**
 * Service accounts' tokens: signs them, and knows which are good. The signature and the end are the token's; that its
 * account, and what it is bound to, are still there under the same uid is looked up every time, so a deleted pod's
 * token ends with it.
 */
export class AccountTokens {
  readonly #options: AccountTokensOptions;
  /** SHA-256 of tokens that are signed well → id of the key. In order of arrival; the oldest goes first. */
  readonly #known = new Map<string, string>();

  constructor(options: AccountTokensOptions) {
    this.#options = options;
  }

  get issuer(): string {
    return this.#options.issuer;
  }

  /** A token of an account. Resolves with it once it is signed. */
  async issue({ account, audiences, seconds, bound }: Issue): Promise<string> {
    const { issuer, clock, keys } = this.#options;
    const forApi = audiences.every((audience) => audience === issuer);
    const extended = seconds === warnOnlySeconds && forApi && bound.pod !== undefined;
    return signToken(keys.signing, claimsOf({
      issuer, audiences: audiences.length === 0 ? [issuer] : audiences, nowMs: clock.now(),
      lifeSeconds: extended ? extendedSeconds : seconds, warnAfterSeconds: extended ? seconds : undefined,
      bound: { namespace: account.metadata.namespace ?? '', account: namedOf(account), pod: bound.pod, secret: bound.secret, node: bound.node },
    }));
  }

  /** The token of a Secret of type kubernetes.io/service-account-token. */
  issueLegacy(account: ServiceAccount, secret: string): Promise<string> {
    return signToken(this.#options.keys.signing, legacyClaims(account.metadata.namespace ?? '', namedOf(account), secret));
  }

  /** Whether a Secret's token is one that is ours and of this account. */
  isLegacy(token: string, account: ServiceAccount, secret: string): boolean {
    const bound = boundOf(readClaims(token) ?? {});
    return bound?.secret?.name === secret && bound.account.uid === account.metadata.uid && this.#signed(token);
  }

  /** Who presents a token to the API; undefined for one that is not good. */
  authenticate(token: string): User | undefined {
    const verdict = this.review(token, []);
    return verdict && 'user' in verdict ? verdict.user : undefined;
  }

  /** What a token is worth for any of some audiences (none: the API); undefined for what is no token of this issuer. */
  review(token: string, wanted: readonly string[]): TokenVerdict | undefined {
    const claims = readClaims(token);
    if (!claims || (claims['iss'] !== this.#options.issuer && claims['iss'] !== legacyIssuer)) return undefined;
    if (!this.#signed(token)) return { error: 'failed to verify token signature' };
    const targets = wanted.length > 0 ? wanted : [this.#options.issuer];
    const bound = boundOf(claims);
    if (!bound) return { error: 'token claims are not those of a service account' };
    const audiences = audiencesOf(claims, this.#options.issuer).filter((audience) => targets.includes(audience));
    if (audiences.length === 0) return { error: `token audiences ${quotedList(audiencesOf(claims, this.#options.issuer))} is invalid for the target audiences ${quotedList(targets)}` };
    const error = this.#timeError(claims) ?? this.#boundError(bound, claims['iss'] === legacyIssuer ? token : undefined);
    return error === undefined ? { user: accountUser(bound, claims['jti']), audiences } : { error };
  }

  #signed(token: string): boolean {
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.#known.get(hash);
    const accepted = this.#options.keys.accepted();
    if (known !== undefined) return accepted.some(({ id }) => id === known);
    const by = accepted.find((key) => isSigned(key, token));
    if (!by) return false;
    this.#known.set(hash, by.id);
    if (this.#known.size > maxKnown) for (const oldest of this.#known.keys()) { this.#known.delete(oldest); break; }
    return true;
  }

  #timeError({ iss, exp, nbf }: Claims): string | undefined {
    if (iss === legacyIssuer) return undefined;
    const now = this.#options.clock.now();
    if (typeof exp !== 'number' || now > exp * 1000 + leewayMs) return 'service account token has expired';
    if (typeof nbf === 'number' && now < nbf * 1000 - leewayMs) return 'service account token is not valid yet';
    return undefined;
  }

  #boundError({ namespace, account, pod, secret, node }: Bound, legacyToken: string | undefined): string | undefined {
    const { registry } = this.#options;
    const found = registry.find(serviceAccounts, namespace, account.name);
    const held = secret && registry.find(secrets, namespace, secret.name);
    return this.#objectError('service account', found, account)
      ?? (secret && this.#objectError('secret', held, secret))
      ?? (legacyToken !== undefined && Buffer.from(held?.data?.['token'] ?? '', 'base64').toString() !== legacyToken ? invalidated : undefined)
      ?? (pod && this.#objectError('pod', registry.find(pods, namespace, pod.name), pod))
      // A pod's token names the node for information; only one that is for a node alone ends with it.
      ?? (node && !pod ? this.#objectError('node', registry.find(nodes, '', node.name), node) : undefined);
  }

  #objectError(what: string, object: KubeObject | undefined, { uid }: Named): string | undefined {
    const going = object?.metadata.deletionTimestamp;
    if (!object || (going !== undefined && fromTime(going) < this.#options.clock.now() - leewayMs)) return invalidated;
    if (uid === '' || object.metadata.uid === uid) return undefined;
    return what === 'service account' ? `service account UID (${object.metadata.uid}) does not match claim (${uid})`
      : `${what} UID (${object.metadata.uid}) does not match service account ${what} ref claim (${uid})`;
  }
}

const invalidated = 'service account token has been invalidated';

/** Tokens of Secrets name none, and are for the API. */
function audiencesOf({ aud }: Claims, issuer: string): string[] {
  if (typeof aud === 'string') return [aud];
  return Array.isArray(aud) ? aud.filter((audience) => typeof audience === 'string') : [issuer];
}
