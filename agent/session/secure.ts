import { X509Certificate } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { agentProtocol } from '../../shared/enrolment.ts';

export interface SecureOptions {
  readonly url: URL;
  /** PEM of the authority that the server's certificate must come from. */
  readonly ca: string;
  /** Name that it must have, whatever the address. */
  readonly name: string;
  /** Client certificate and its key, PEM. */
  readonly identity?: { readonly key: string; readonly certificate: string };
  /** Where a session is found to resume, and kept; without it every handshake is a full one. */
  readonly sessions?: TlsSessions;
  /** How names become addresses; the system's way by default. */
  readonly lookup?: LookupFunction;
  /** Time for TCP. The server's answer to TLS may take {@link answerFactor} times as long. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * A master to which all of its agents come at once has them wait at its door, where they cost it nothing; whoever gives
 * up and comes again only adds to the crowd.
 */
const answerFactor = 3;

/**
 * The TLS session of the last connection, for the next: a resumed handshake takes less than half of the time at both
 * ends and a fifth of the bytes. One of another certificate is of no use: the master would see the old one.
 */
export class TlsSessions {
  #last: { readonly certificate: string; readonly session: Buffer } | undefined;
  #context: { readonly of: string; readonly made: SecureContext } | undefined;

  /** Authority and identity as TLS needs them: reading them takes longer than a resumed handshake, so it is done once. */
  context(ca: string, identity: SecureOptions['identity']): SecureContext {
    const of = `${ca}${identity?.certificate ?? ''}${identity?.key ?? ''}`;
    if (this.#context?.of !== of) this.#context = { of, made: createSecureContext(contextOptions(ca, identity)) };
    return this.#context.made;
  }

  find(certificate: string): Buffer | undefined {
    return this.#last?.certificate === certificate ? this.#last.session : undefined;
  }

  forget(): void {
    this.#last = undefined;
  }

  keep(certificate: string, session: Buffer): void {
    this.#last = { certificate, session };
  }
}

const contextOptions = (ca: string, identity: SecureOptions['identity']): { ca: string; key?: string; cert?: string } =>
  ({ ca, ...(identity ? { key: identity.key, cert: identity.certificate } : {}) });

/** A connection to a server that has proved who it is. */
export interface Secured {
  readonly socket: TLSSocket;
  /** The server's certificate or its authority's is not valid at this host's time. */
  readonly outOfTime: boolean;
}

/**
 * Opens a TLS connection, and hands it out only once the server has shown a certificate of that name from that very
 * authority. Its dates do not count: a host without a clock that survives a power cut boots in 1970, and a certificate
 * is as hard to forge after its end as before. What keeps old ones from being used is that they never leave the master.
 * @throws Error with the reason
 */
export function connectSecurely({ url, ca, name, identity, sessions, lookup, timeoutMs, signal }: SecureOptions): Promise<Secured> {
  return new Promise((resolve, reject) => {
    const session = sessions?.find(identity?.certificate ?? '');
    const socket = connect({
      host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443), servername: name, rejectUnauthorized: false, ALPNProtocols: [agentProtocol, 'http/1.1'],
      secureContext: sessions?.context(ca, identity) ?? createSecureContext(contextOptions(ca, identity)), ...(lookup ? { lookup } : {}), ...(session ? { session } : {}),
    });
    // Kept only of a server with nothing wrong: when it is resumed, names are not checked again, and there is no certificate to look at.
    let trusted = false;
    socket.on('session', (made: Buffer) => { if (trusted && socket.authorized) sessions?.keep(identity?.certificate ?? '', made); });
    const fail = (error: Error): void => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const stop = (): void => fail(new Error('stopped'));
    let timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs / 1000} s`)), timeoutMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      const answerMs = timeoutMs * answerFactor;
      timer = setTimeout(() => fail(new Error(`no answer within ${answerMs / 1000} s`)), answerMs);
    });
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      socket.off('error', fail);
    };
    signal.addEventListener('abort', stop, { once: true });
    socket.on('error', fail);
    socket.once('secureConnect', () => {
      const verdict = judge(socket, ca, name);
      if (typeof verdict === 'string') sessions?.forget();
      if (typeof verdict === 'string') return fail(new Error(`its certificate is not to be trusted: ${verdict}`));
      trusted = true;
      settle();
      resolve({ socket, ...verdict });
    });
    if (signal.aborted) stop();
  });
}

const serverAuth = '1.3.6.1.5.5.7.3.1';

function judge(socket: TLSSocket, ca: string, name: string): { readonly outOfTime: boolean } | string {
  if (socket.authorized) return { outOfTime: false };
  const error = socket.authorizationError as (Error & { code?: string }) | string | undefined;
  const code = String((error as { code?: string } | undefined)?.code ?? error);
  const peer = socket.getPeerX509Certificate();
  if (!peer || !/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/.test(code)) return code;
  // OpenSSL names the last problem only, and does not look at the name after one: all but the dates is checked here.
  const authority = new X509Certificate(ca);
  if (!peer.checkIssued(authority) || !peer.verify(authority.publicKey)) return 'it is of another authority';
  if (peer.ca || !(peer.keyUsage ?? []).includes(serverAuth)) return 'it is no server\'s';
  return peer.checkHost(name) === undefined ? `it is not for ${name}` : { outOfTime: true };
}
