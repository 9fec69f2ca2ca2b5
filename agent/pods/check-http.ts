import * as http from 'node:http';
import * as https from 'node:https';
import type { HTTPGetAction } from '../../shared/kinds/container.ts';

export interface HttpGetOptions {
  readonly host: string;
  readonly port: number;
  /** User-Agent. */
  readonly agent: string;
  readonly timeoutMs: number;
}

/** What was answered: a status and the beginning of its body; or why nothing was, in the words of Go's client. */
export type HttpAnswer = { readonly code: number; readonly body: string } | { readonly error: string };

/** Go's words for a server that speaks no TLS; {@link HttpAnswer}'s error ends with them. */
export const plainAnswer = 'http: server gave HTTP response to HTTPS client';

const maxRedirects = 10;
const maxBody = 10 * 1024;

/** Makes the request of a probe or hook, following redirects to the same host. Certificates are not checked. Never throws. */
export async function httpGet(action: HTTPGetAction, options: HttpGetOptions): Promise<HttpAnswer> {
  const { host, port, timeoutMs } = options;
  const path = action.path?.startsWith('/') ? action.path : `/${action.path ?? ''}`;
  let url = `${action.scheme === 'HTTPS' ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`;
  const began = performance.now();
  const headers = headersOf(action, options.agent);
  for (let hops = 0; ; hops++) {
    const answer = await once(url, headers, timeoutMs - (performance.now() - began));
    const next = 'location' in answer && answer.location ? target(answer.location, url) : undefined;
    if (!next || new URL(next).hostname !== new URL(url).hostname) return answer;
    if (hops + 1 >= maxRedirects) return { error: `Get ${JSON.stringify(next)}: stopped after ${maxRedirects} redirects` };
    url = next;
  }
}

function headersOf({ httpHeaders = [] }: HTTPGetAction, agent: string): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const { name, value } of httpHeaders) (headers[name.toLowerCase()] ??= []).push(value ?? '');
  return { 'user-agent': [agent], accept: ['*/*'], ...headers, connection: ['close'] };
}

function target(location: string, from: string): string | undefined {
  try {
    const url = new URL(location, from);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : undefined;
  } catch {
    return undefined;
  }
}

type Once = HttpAnswer & { readonly location?: string };

function once(url: string, headers: Record<string, string[]>, timeoutMs: number): Promise<Once> {
  const secure = url.startsWith('https:');
  return new Promise((resolve) => {
    const failed = (why: string): void => { clearTimeout(late); resolve({ error: `Get ${JSON.stringify(url)}: ${why}` }); };
    // What it would take a person to see: a header that no request can carry is an answer too, not an end of the agent.
    let request: http.ClientRequest;
    const late = setTimeout(() => request?.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)')), Math.max(0, timeoutMs));
    try {
      request = (secure ? https : http).request(url, { headers: flat(headers), agent: false, ...(secure ? { rejectUnauthorized: false } : {}) }, (response) => {
        const code = response.statusCode ?? 0;
        const location = code >= 300 && code < 400 ? response.headers.location : undefined;
        void bodyOf(response).then((body) => { clearTimeout(late); resolve({ code, body, ...(location ? { location } : {}) }); });
      });
    } catch (error) {
      return failed((error as Error).message);
    }
    request.on('upgrade', ({ statusCode = 101 }, socket) => { socket.destroy(); clearTimeout(late); resolve({ code: statusCode, body: '' }); });
    request.on('error', (error: NodeJS.ErrnoException) => failed(dialError(error, url)));
    request.end();
  });
}

/** One value as text: the Host header can be nothing else. */
const flat = (headers: Record<string, string[]>): Record<string, string | string[]> =>
  Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values.length === 1 ? values[0]! : values]));

/** The beginning of a body; what is cut off is no failure, as its status has been heard. */
async function bodyOf(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= maxBody) break;
    }
  } catch {
    // Cut off.
  }
  response.destroy();
  return Buffer.concat(chunks).subarray(0, maxBody).toString('utf8');
}

function dialError(error: NodeJS.ErrnoException, url: string): string {
  const { hostname, port, protocol } = new URL(url);
  const at = `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;
  switch (error.code) {
    case 'ECONNREFUSED': return `dial tcp ${at}: connect: connection refused`;
    case 'ECONNRESET': return 'EOF';
    case 'EPROTO': return /wrong version number|packet length too long|http request/.test(error.message) ? plainAnswer : error.message;
    case 'ERR_SSL_WRONG_VERSION_NUMBER': case 'ERR_SSL_PACKET_LENGTH_TOO_LONG': return plainAnswer;
    default: return error.message;
  }
}
