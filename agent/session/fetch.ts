import { request, type IncomingMessage } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { connectSecurely } from './secure.ts';

export interface FetchOptions {
  readonly url: URL;
  /** `nobody`: the answer must be checked by other means. Otherwise the server must have a certificate for `name` from `ca`. */
  readonly trust: 'nobody' | { readonly ca: string; readonly name: string };
  /** Client certificate and its key, PEM. */
  readonly identity?: { readonly key: string; readonly certificate: string };
  /** JSON to POST; without it, a GET. */
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly code: number;
  readonly body: string;
}

const timeoutMs = 20_000;
const maxBody = 256 * 1024;

/** One small HTTPS request. @throws Error that says what could not be reached and why */
export async function fetchFrom(options: FetchOptions): Promise<Answer> {
  let socket: TLSSocket | undefined;
  try {
    socket = await open(options);
    return await exchange(socket, options);
  } catch (error) {
    throw new Error(`cannot reach the master at ${options.url.origin}: ${(error as Error).message}`, { cause: error });
  } finally {
    socket?.destroy();
  }
}

async function open({ url, trust, identity, signal }: FetchOptions): Promise<TLSSocket> {
  // Nothing is sent before the connection is known to be the right one.
  if (trust !== 'nobody') return (await connectSecurely({ url, ...trust, ...(identity ? { identity } : {}), timeoutMs, signal })).socket;
  return connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443), rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
}

function exchange(socket: TLSSocket, { url, body, signal }: FetchOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request({
      createConnection: () => socket, host: url.hostname, port: url.port, path: url.pathname + url.search, method: body === undefined ? 'GET' : 'POST', signal, timeout: timeoutMs,
      headers: { Connection: 'close', ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }) },
    }, (res) => readBody(res).then((text) => resolve({ code: res.statusCode ?? 0, body: text }), reject));
    req.on('timeout', () => req.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    req.on('error', reject);
    req.end(body);
  });
}

/** Text of an answer's body. @throws Error when it is longer than anything that a master says here */
export async function readBody(res: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of res as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBody) throw new Error('its answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The message of a Kubernetes Status; `''` for any other text. */
export function messageOf(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
