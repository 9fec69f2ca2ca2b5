import { Agent, request } from 'node:https';

/** PEM. */
export interface AdminTarget { readonly port: number; readonly ca: string; readonly cert: string; readonly key: string }

/** Another address of this machine than the agents use, so that the system's figures tell them apart. */
export const adminHost = '127.0.0.99';
export const masterName = 'kubernetes.default.svc';

/** An administrator's keep-alive connections to a master. */
export class Api {
  readonly #agent: Agent;
  readonly #port: number;

  constructor({ port, ...tls }: AdminTarget) {
    this.#port = port;
    this.#agent = new Agent({ ...tls, keepAlive: true, servername: masterName });
  }

  /** One request. A `PATCH` is a merge patch. Resolves with status 0 when there is no answer. */
  request(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: string }> {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return new Promise((resolve) => {
      const req = request({ host: adminHost, port: this.#port, method, path, agent: this.#agent, headers: { 'content-type': type } }, (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
        res.on('error', (error) => resolve({ status: 0, body: error.message }));
      });
      req.on('error', (error) => resolve({ status: 0, body: error.message }));
      req.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** A request that must succeed. @throws Error with what the server said */
  async send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.request(method, path, body);
    if (answer.status < 200 || answer.status > 299) throw new Error(`${method} ${path}: HTTP ${answer.status} ${answer.body.slice(0, 300)}`);
    return JSON.parse(answer.body) as T;
  }

  close(): void {
    this.#agent.destroy();
  }
}
