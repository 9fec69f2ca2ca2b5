import { request, type RequestOptions } from 'node:https';

export interface FetchOptions {
  readonly url: URL;
  /** `nobody`: the answer must be checked by other means. Otherwise the server must have a certificate for `name` from `ca`. */
  readonly trust: 'nobody' | { readonly ca: string; readonly name: string };
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
export function fetchFrom({ url, trust, body, signal }: FetchOptions): Promise<Answer> {
  const tls: RequestOptions = trust === 'nobody' ? { rejectUnauthorized: false } : { ca: trust.ca, servername: trust.name };
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(new Error(`cannot reach the master at ${url.origin}: ${error.message}`, { cause: error }));
    const req = request(url, {
      ...tls, agent: false, method: body === undefined ? 'GET' : 'POST', signal, timeout: timeoutMs,
      headers: body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
    }, (res) => {
      const chunks: Buffer[] = [];
      let size = 0;
      res.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBody) req.destroy(new Error('its answer is too long'));
        else chunks.push(chunk);
      });
      res.on('end', () => resolve({ code: res.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
      res.on('error', failed);
    });
    req.on('timeout', () => req.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    req.on('error', failed);
    req.end(body);
  });
}
