import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { unauthorized } from '../../shared/status.ts';
import type { User } from '../registry/types.ts';
import { anonymous } from './exchange.ts';

/** Knows bearer tokens. */
export interface TokenAuthenticator {
  /** The token's user, or undefined for a token that is unknown, expired or revoked. */
  authenticate(token: string): User | undefined | Promise<User | undefined>;
}

/** A group that every authenticated user is in. */
const authenticated = 'system:authenticated';

/** Subprotocol in which browsers, which cannot set headers, send a token with a WebSocket. */
const tokenProtocol = 'base64url.bearer.authorization.k8s.io.';

/** Finds out who makes a request: by client certificate, then by bearer token, else `system:anonymous`. */
export class Authenticator {
  readonly #tokens: TokenAuthenticator | undefined;
  /** A connection's certificate does not change, and reading it is slow. */
  readonly #byConnection = new WeakMap<Socket, User | false>();

  constructor(tokens: TokenAuthenticator | undefined) {
    this.#tokens = tokens;
  }

  /** @throws StatusError 401 for a token that nobody knows */
  authenticate(req: IncomingMessage): User | Promise<User> {
    const certified = this.#certified(req.socket);
    if (certified) return certified;
    const token = bearerToken(req);
    return token === undefined ? anonymous : this.#byToken(token);
  }

  async #byToken(token: string): Promise<User> {
    const user = await this.#tokens?.authenticate(token);
    if (!user) throw unauthorized();
    return withGroup(user);
  }

  #certified(socket: Socket): User | false {
    let user = this.#byConnection.get(socket);
    if (user === undefined) this.#byConnection.set(socket, user = certificateUser(socket as TLSSocket));
    return user;
  }
}

/** The subject of a certificate that chains to our CA: CN is the user, each O a group. */
function certificateUser(socket: TLSSocket): User | false {
  if (!socket.encrypted || !socket.authorized) return false;
  const { subject } = socket.getPeerCertificate();
  // A resumed connection without a certificate counts as authorized too.
  const name: unknown = subject?.CN;
  if (typeof name !== 'string' || name === '') return false;
  const organizations: unknown = subject.O ?? [];
  return withGroup({ name, groups: (Array.isArray(organizations) ? organizations : [organizations]) as string[] });
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
