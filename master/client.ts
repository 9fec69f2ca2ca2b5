import { request } from 'node:https';
import { StatusError } from '../shared/status.ts';

/** What a client needs of a kubeconfig. All PEM. */
export interface Credentials { readonly server: string; readonly ca: string; readonly certificate: string; readonly key: string }

/** Reads a kubeconfig that this program wrote: one cluster, one user, everything embedded. @throws Error naming the file */
export function readKubeconfig(text: string, path: string): Credentials {
  const value = (key: string): string => {
    const found = new RegExp(`^\\s*${key}:\\s*(\\S+)\\s*$`, 'm').exec(text)?.[1];
    if (!found) throw Object.assign(new Error(`${path} has no ${key}`), { code: 'EKUBECONFIG' });
    return found;
  };
  const pem = (key: string): string => Buffer.from(value(key), 'base64').toString('utf8');
  return { server: value('server'), ca: pem('certificate-authority-data'), certificate: pem('client-certificate-data'), key: pem('client-key-data') };
}

/** A small client of the master's own API, for the command line. Failures are StatusErrors or one-line network errors. */
export class ApiClient {
  readonly #credentials: Credentials;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  get(path: string): Promise<Record<string, unknown>> { return this.#send('GET', path, undefined); }
  post(path: string, body: unknown): Promise<Record<string, unknown>> { return this.#send('POST', path, body); }
  delete(path: string): Promise<Record<string, unknown>> { return this.#send('DELETE', path, undefined); }

  #send(method: string, path: string, body: unknown): Promise<Record<string, unknown>> {
    const { server, ca, certificate, key } = this.#credentials;
    return new Promise((resolve, reject) => {
      const call = request(new URL(path, server), { method, ca, cert: certificate, key, headers: { 'content-type': 'application/json', accept: 'application/json' } }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('error', reject).on('end', () => {
          const document = readJson(text);
          if ((answer.statusCode ?? 500) < 400) resolve(document);
          else reject(new StatusError(answer.statusCode ?? 500, String(document['reason'] ?? 'Unknown'), String(document['message'] ?? text)));
        });
      });
      call.on('error', (error: NodeJS.ErrnoException) => reject(Object.assign(new Error(`cannot reach the master at ${server}: ${error.message || error.code}`), { code: error.code ?? 'ENET' })));
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

function readJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
