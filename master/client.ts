import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { Readable } from 'node:stream';
import { StatusError } from '../shared/status.ts';

/** What a client needs of a kubeconfig. All PEM. */
export interface Credentials { readonly server: string; readonly ca: string; readonly certificate: string; readonly key: string }

/** Reads a kubeconfig that this program wrote: one cluster, one user, everything embedded. @throws Error naming the file */
export function readKubeconfig(text: string, path: string): Credentials {
  const value = (key: string): string => {
    const found = new RegExp(`^\\s*${key}:\\s*(\\S+)\\s*$`, 'm').exec(text)?.[1];
    if (!found) throw unreadable(path, `it has no ${key}`);
    return found;
  };
  const pem = (key: string): string => {
    const text = Buffer.from(value(key), 'base64').toString('utf8');
    if (!text.includes('-----BEGIN ')) throw unreadable(path, `its ${key} is no PEM in base64`);
    return text;
  };
  const server = value('server');
  if (!server.startsWith('https:') || !URL.canParse(server)) throw unreadable(path, `its server ${JSON.stringify(server)} is no https address`);
  return { server, ca: pem('certificate-authority-data'), certificate: pem('client-certificate-data'), key: pem('client-key-data') };
}

const unreadable = (path: string, why: string): Error =>
  Object.assign(new Error(`${path} is no kubeconfig of "wherry kubeconfig": ${why}`), { code: 'EKUBECONFIG' });

/** A small client of the master's own API, for the command line. Failures are StatusErrors or one-line network errors. */
export class ApiClient {
  readonly #credentials: Credentials;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  get(path: string): Promise<Record<string, unknown>> { return this.#send('GET', path, undefined); }
  post(path: string, body: unknown): Promise<Record<string, unknown>> { return this.#send('POST', path, body); }
  delete(path: string): Promise<Record<string, unknown>> { return this.#send('DELETE', path, undefined); }

  /** Sends a file of `bytes`. */
  upload(path: string, source: Readable, bytes: number): Promise<Record<string, unknown>> {
    return this.#call('PUT', path, source, { 'content-type': 'application/octet-stream', 'content-length': String(bytes) });
  }

  /** Posts, and hands over each line of JSON of the answer as it comes; resolves with its end, however it came about. */
  async lines(path: string, body: unknown, onLine: (line: Record<string, unknown>) => void): Promise<void> {
    const { server, ca, certificate, key } = this.#credentials;
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request(new URL(path, server), { method: 'POST', ca, cert: certificate, key, headers: { 'content-type': 'application/json' } }, resolve);
      call.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(server, error)));
      call.end(JSON.stringify(body));
    });
    if ((answer.statusCode ?? 500) >= 400) throw failureOf(answer.statusCode ?? 500, await textOf(answer));
    let text = '';
    try {
      for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) {
        const lines = (text + chunk).split('\n');
        text = lines.pop()!;
        for (const line of lines) onLine(readJson(line));
      }
    } catch { /* The connection broke: what it had to say is incomplete, which the caller sees. */ }
  }

  #send(method: string, path: string, body: unknown): Promise<Record<string, unknown>> {
    return this.#call(method, path, body === undefined ? undefined : JSON.stringify(body), { 'content-type': 'application/json' });
  }

  #call(method: string, path: string, body: string | Readable | undefined, headers: Record<string, string>): Promise<Record<string, unknown>> {
    const { server, ca, certificate, key } = this.#credentials;
    return new Promise((resolve, reject) => {
      const call = request(new URL(path, server), { method, ca, cert: certificate, key, headers: { accept: 'application/json', ...headers } }, (answer) => {
        textOf(answer).then((text) => {
          if ((answer.statusCode ?? 500) < 400) resolve(readJson(text));
          else reject(failureOf(answer.statusCode ?? 500, text));
        }, reject);
      });
      call.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(server, error)));
      if (typeof body === 'object') body.on('error', (error) => call.destroy(error)).pipe(call);
      else call.end(body);
    });
  }
}

const unreachableBecause: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there; does the master run?',
  ENOTFOUND: 'there is no host of that name',
  EAI_AGAIN: 'no name server answers',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ETIMEDOUT: 'it does not answer',
};

const unreachable = (server: string, error: NodeJS.ErrnoException): Error =>
  Object.assign(new Error(`cannot reach the master at ${server}: ${unreachableBecause[error.code ?? ''] ?? (error.message || error.code)}`), { code: error.code ?? 'ENET' });

function failureOf(code: number, text: string): StatusError {
  const document = readJson(text);
  return new StatusError(code, String(document['reason'] ?? 'Unknown'), String(document['message'] ?? text));
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
  return text;
}

function readJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
