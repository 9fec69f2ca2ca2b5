import type { LookupFunction } from 'node:net';
import { WebSocket } from 'ws';
import { maxFrameBytes } from '../../shared/protocol.ts';
import { fromWebSocket, type ByteCount, type FrameSocket } from '../../shared/socket.ts';
import { messageOf, readBody } from './fetch.ts';
import { BusyError, RefusedError } from './refused.ts';
import { connectSecurely, TlsSessions, type Secured } from './secure.ts';

/** The name that every master's certificate has, so that a master can be reached at any address. */
export const masterName = 'kubernetes.default.svc';

export interface ConnectOptions {
  /** `https://host:port` of the master. */
  readonly server: string;
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
  readonly ca: string;
  /** Time for TCP and TLS, and for the upgrade. Default 20 s. */
  readonly timeoutMs?: number;
  /** TLS sessions of earlier connections; of this function's own by default. */
  readonly sessions?: TlsSessions;
  /** How the server's name becomes an address; the system's way by default. */
  readonly lookup?: LookupFunction;
  /** Told of the address at which the master was reached under its name. */
  readonly onReached?: (name: string, address: string) => void;
  /** Counts the bytes of frames. */
  readonly count?: ByteCount;
  /** Told of the connection before it is used. */
  readonly onSecured?: (secured: Secured) => void;
}

/** Makes the function that opens a session's WebSocket, authenticated by the node's certificate. */
export function connector(options: ConnectOptions): (signal: AbortSignal) => Promise<FrameSocket> {
  const { server, ca, key, certificate, lookup, timeoutMs = 20_000, sessions = new TlsSessions() } = options;
  const url = new URL('/agent/v1/session', server);
  const named = (error: unknown): Error => {
    const message = `connecting to ${server}: ${(error as Error).message}`;
    if (error instanceof BusyError) return new BusyError(message, error.afterMs);
    return error instanceof RefusedError ? new RefusedError(message) : new Error(message, { cause: error });
  };
  return async (signal) => {
    try {
      const secured = await connectSecurely({ url, ca, name: masterName, identity: { key, certificate }, sessions, ...(lookup ? { lookup } : {}), timeoutMs, signal });
      const { remoteAddress } = secured.socket;
      options.onSecured?.(secured);
      const socket = await upgrade(url, secured, timeoutMs, signal);
      if (remoteAddress) options.onReached?.(url.hostname, remoteAddress);
      return fromWebSocket(socket, options.count);
    } catch (error) {
      throw named(error);
    }
  };
}

function upgrade(url: URL, { socket: connection }: Secured, timeoutMs: number, signal: AbortSignal): Promise<WebSocket> {
  const address = new URL(url);
  address.protocol = 'wss:';
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address, [], {
      // Masks keep caches of plain HTTP from being fooled; within TLS they would only cost, and zero is a mask too.
      createConnection: () => connection, generateMask: (mask) => { mask.fill(0); }, perMessageDeflate: false, maxPayload: maxFrameBytes.fromMaster, handshakeTimeout: timeoutMs, skipUTF8Validation: true,
    });
    const stop = (): void => socket.terminate();
    const failed = (error: Error): void => {
      signal.removeEventListener('abort', stop);
      connection.destroy();
      reject(error);
    };
    signal.addEventListener('abort', stop, { once: true });
    socket.once('error', failed);
    socket.once('unexpected-response', (_req, res) => {
      const { statusCode: code = 0 } = res;
      const told = (body: string): void => failed(refusal(code, messageOf(body) || body.trim(), Number(res.headers['retry-after'])));
      readBody(res).then(told, () => told(''));
    });
    socket.once('open', () => {
      signal.removeEventListener('abort', stop);
      socket.off('error', failed);
      resolve(socket);
    });
    if (signal.aborted) stop();
  });
}

/** What the master says about when to come again counts, within reason. */
const maxAfterMs = 600_000;

function refusal(code: number, message: string, afterSeconds: number): Error {
  const text = `the master answered HTTP ${code}${message ? `: ${message.slice(0, 1000)}` : ''}`;
  if (afterSeconds > 0) return new BusyError(text, Math.min(afterSeconds * 1000, maxAfterMs));
  return code === 401 || code === 403 ? new RefusedError(text) : new Error(text);
}
