import { createHash, X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { unauthorized } from '../../shared/status.ts';
import type { TokenVerdict } from '../registry/account-tokens.ts';
import type { User } from '../registry/types.ts';
import { anonymous } from './exchange.ts';

/** Knows bearer tokens. */
export interface TokenAuthenticator {
  /** The token's user, or undefined for a token that is unknown, expired or revoked. */
  authenticate(token: string): User | undefined | Promise<User | undefined>;
  /** What a token is worth for any of some audiences (none: the API); undefined for one that is unknown. Without it, {@link authenticate} tells. */
  review?(token: string, audiences: readonly string[]): TokenVerdict | undefined | Promise<TokenVerdict | undefined>;
}

/** A group that every authenticated user is in. */
const authenticated = 'system:authenticated';

/** Subprotocol in which browsers, which cannot set headers, send a token with a WebSocket. */
const tokenProtocol = 'base64url.bearer.authorization.k8s.io.';

/** A client certificate that our authority signed, as far as it matters here. Whether it is in time, its user must see. */
export interface ClientCertificate {
  /** Common name. */
  readonly name: string;
  /** Organizations. */
  readonly groups: readonly string[];
  /** SHA-256 over the SPKI of its key, base64url. */
  readonly publicKey: string;
  /** Hex. */
  readonly serial: string;
  /** Its time, in ms since 1970. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** Knows which nodes' certificates are good: a node's may be revoked, or be good for some paths after its time. */
export interface NodeAuthenticator {
  /** @throws StatusError 401 with the reason; rejects with it, if it had to write first */
  admit(certificate: ClientCertificate, path: string): void | Promise<void>;
}

export interface AuthenticatorOptions {
  readonly tokens: TokenAuthenticator | undefined;
  /** Without it, nodes' certificates are as good as others'. */
  readonly nodes: NodeAuthenticator | undefined;
  /** PEM of the authority; undefined: no certificate counts. */
  readonly ca: string | undefined;
  /** Ms since 1970. */
  readonly now: () => number;
}

/** Finds out who makes a request: by client certificate, then by bearer token, else `system:anonymous`. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** A connection's certificate does not change, and reading it is slow. */
  readonly #byConnection = new WeakMap<Socket, Certified | false>();

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** @throws StatusError 401 for a token that nobody knows, or a certificate of ours that is not good (any more) */
  authenticate(req: IncomingMessage): User | Promise<User> {
    const certified = this.#certified(req.socket);
    const token = bearerToken(req);
    if (!certified) return token === undefined ? anonymous : this.#byToken(token);
    try {
      const admitted = this.#admit(certified, req.url ?? '');
      return admitted instanceof Promise ? admitted.then(() => certified.user) : certified.user;
    } catch (error) {
      if (token === undefined) throw error;
      return this.#byToken(token);
    }
  }

  #admit({ certificate, user }: Certified, url: string): void | Promise<void> {
    const { nodes, now } = this.#options;
    if (nodes && user.groups.includes('system:nodes')) return nodes.admit(certificate, url.split('?', 1)[0]!);
    const time = now();
    if (time < certificate.fromMs || time > certificate.toMs) throw unauthorized();
  }

  async #byToken(token: string): Promise<User> {
    const user = await this.#options.tokens?.authenticate(token);
    if (!user) throw unauthorized();
    return withGroup(user);
  }

  #certified(socket: Socket): Certified | false {
    let found = this.#byConnection.get(socket);
    if (found === undefined) this.#byConnection.set(socket, found = readCertificate(socket as TLSSocket, this.#options.ca));
    return found;
  }
}

interface Certified { readonly certificate: ClientCertificate; readonly user: User }

/** The certificate of a connection's other end if it chains to our CA, in time or not. CN is the user, each O a group. */
function readCertificate(socket: TLSSocket, ca: string | undefined): Certified | false {
  if (!socket.encrypted || !ca) return false;
  const peer = socket.getPeerCertificate();
  const name: unknown = peer.subject?.CN;
  // A resumed connection without a certificate counts as authorized too.
  if (typeof name !== 'string' || name === '') return false;
  if (!socket.authorized && !isOurs(socket.getPeerX509Certificate()!, socket.authorizationError, ca)) return false;
  const organizations: unknown = peer.subject.O ?? [];
  const groups = (Array.isArray(organizations) ? organizations : [organizations]) as string[];
  const publicKey = createHash('sha256').update(spkiOf(socket, peer)).digest('base64url');
  const certificate = { name, groups, publicKey, serial: peer.serialNumber, fromMs: Date.parse(peer.valid_from), toMs: Date.parse(peer.valid_to) };
  return { certificate, user: withGroup({ name, groups }) };
}

/** What stands before the point in the SubjectPublicKeyInfo of every P-256 key. */
const p256Prefix = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');

/** The key of a connection's other end in DER. Whole fleets come at once, and reading it the general way takes a third of a millisecond. */
function spkiOf(socket: TLSSocket, { asn1Curve, pubkey }: PeerCertificate): Buffer {
  if (asn1Curve === 'prime256v1' && pubkey?.length === 65) return Buffer.concat([p256Prefix, pubkey]);
  return socket.getPeerX509Certificate()!.publicKey.export({ type: 'spki', format: 'der' });
}

const clientAuth = '1.3.6.1.5.5.7.3.2';

/**
 * Whether a certificate that OpenSSL found to be out of its time is ours otherwise. Its verdict does not say so: it goes
 * on after an error, and names the last one only, so that a forged signature hides behind the date.
 */
function isOurs(peer: X509Certificate, error: Error | string | undefined, ca: string): boolean {
  if (!/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/.test(String((error as NodeJS.ErrnoException | undefined)?.code ?? error))) return false;
  const authority = new X509Certificate(ca);
  return !peer.ca && (peer.keyUsage ?? []).includes(clientAuth) && peer.checkIssued(authority) && peer.verify(authority.publicKey);
}

function withGroup(user: User): User {
  return user.groups.includes(authenticated) ? user : { ...user, groups: [...user.groups, authenticated] };
}

function bearerToken(req: IncomingMessage): string | undefined {
  const { authorization } = req.headers;
  if (authorization !== undefined) {
    const found = /^bearer +(\S+) *$/i.exec(authorization);
    return found?.[1];
  }
  const offered = req.headers['sec-websocket-protocol']?.split(',').map((word) => word.trim()).find((word) => word.startsWith(tokenProtocol));
  return offered && Buffer.from(offered.slice(tokenProtocol.length), 'base64url').toString();
}
