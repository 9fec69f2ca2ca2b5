import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createAuthority, issue, type KeyPair } from '../../../master/certificates.ts';
import { createApiServer, type ApiServer, type ApiServerOptions } from '../../../master/api/server.ts';
import type { Authorizer } from '../../../master/api/authorize.ts';
import { Registry } from '../../../master/registry/registry.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import type { Store } from '../../../master/store/store.ts';
import { systemClock } from '../../../shared/clock.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { silentLog } from '../../../shared/log.ts';

export const version = { major: '1', minor: '32', gitVersion: 'v1.32.0+wherry', gitCommit: '', gitTreeState: 'clean', buildDate: '', goVersion: '', compiler: 'node', platform: 'linux/amd64' };

/** Lets everybody do everything. */
export const openDoors: Authorizer = {
  authorize: () => ({ allowed: true }),
  rulesFor: () => ({ resourceRules: [], nonResourceRules: [] }),
};

/** An authority, a server certificate for localhost, and whoever asks for one gets a client certificate. */
export interface Certificates {
  readonly authority: KeyPair;
  readonly server: KeyPair;
}

export async function makeCertificates(): Promise<Certificates> {
  const authority = await createAuthority('test-ca', 2);
  return { authority, server: await issue(authority, { subject: { name: 'server' }, use: 'server', hosts: ['localhost', '127.0.0.1'], days: 1 }) };
}

export const clientCertificate = (authority: KeyPair, name: string, groups: readonly string[]): Promise<KeyPair> =>
  issue(authority, { subject: { name, groups }, use: 'client', days: 1 });

/** A running server with an empty store, and the means to talk to it. */
export interface Lab {
  readonly server: ApiServer;
  readonly registry: Registry;
  readonly store: Store;
  readonly port: number;
  readonly client: Client;
  close(): Promise<void>;
}

export interface LabOptions extends Partial<Omit<ApiServerOptions, 'tls'>> {
  readonly certificates?: Certificates;
  /** Client certificate of {@link Lab.client}. */
  readonly identity?: KeyPair;
}

/** Starts a server on a free port, over TLS when there are certificates; namespace `default` exists. */
export async function openLab({ certificates, identity, ...given }: LabOptions = {}): Promise<Lab> {
  const store = openMemoryStore();
  const registry = new Registry({ store, clock: systemClock, random: Math.random, kinds, allocators: [] });
  const server = createApiServer({
    registry, clock: systemClock, random: Math.random, log: silentLog, host: '127.0.0.1', port: 0,
    tls: certificates && { key: certificates.server.key, cert: certificates.server.certificate, ca: certificates.authority.certificate },
    advertise: '127.0.0.1:6443', version, authorizer: openDoors, ...given,
  });
  const abort = new AbortController();
  const port = await server.listen();
  const running = server.run(abort.signal);
  const client = new Client(port, certificates?.authority.certificate, identity);
  await registry.create(kinds.find(({ plural }) => plural === 'namespaces')!, '', { metadata: { name: 'default' } });
  const close = async (): Promise<void> => {
    abort.abort();
    await running;
    await store.close();
  };
  return { server, registry, store, port, client, close };
}

export interface Answer {
  readonly code: number;
  readonly headers: IncomingMessage['headers'];
  readonly bytes: Buffer;
  readonly text: string;
  /** The body as JSON; throws for anything else. */
  readonly json: Json;
}

/** A document that a test looks into: whatever JSON.parse gives. */
export type Json = ReturnType<typeof JSON.parse>;

export class Client {
  readonly #port: number;
  readonly #tls: Record<string, unknown> | undefined;

  constructor(port: number, authority: string | undefined, identity: KeyPair | undefined) {
    this.#port = port;
    this.#tls = authority ? { ca: authority, servername: 'localhost', ...(identity ? { key: identity.key, cert: identity.certificate } : {}) } : undefined;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send('GET', path, undefined, headers);
  }

  post(path: string, body: unknown, headers: Record<string, string | string[]> = {}): Promise<Answer> {
    return this.send('POST', path, body, headers);
  }

  put(path: string, body: unknown): Promise<Answer> {
    return this.send('PUT', path, body);
  }

  patch(path: string, type: string, body: unknown): Promise<Answer> {
    return this.send('PATCH', path, body, { 'content-type': `application/${type}` });
  }

  delete(path: string, body?: unknown): Promise<Answer> {
    return this.send('DELETE', path, body);
  }

  /** Strings and bytes are sent as they are, anything else as JSON. */
  async send(method: string, path: string, body?: unknown, headers: Record<string, string | string[]> = {}): Promise<Answer> {
    const response = await this.open(method, path, body, headers);
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    return { code: response.statusCode ?? 0, headers: response.headers, bytes, text: bytes.toString(), get json() { return JSON.parse(bytes.toString()) as Json; } };
  }

  /** The answer's head; its body is still to be read. */
  async open(method: string, path: string, body?: unknown, headers: Record<string, string | string[]> = {}): Promise<IncomingMessage> {
    const bytes = body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const options: RequestOptions = {
      host: '127.0.0.1', port: this.#port, method, path, agent: false,
      headers: { 'user-agent': 'tester/1.0 (test)', ...(bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(bytes)) }), ...headers },
    };
    const req = this.#tls ? httpsRequest({ ...options, ...this.#tls }) : httpRequest(options);
    req.end(bytes);
    const [response] = await once(req, 'response') as [IncomingMessage];
    return response;
  }

  /** Begins a watch. `query` without the `watch=` itself. */
  async watch(path: string, query = '', headers: Record<string, string> = {}): Promise<WatchReader> {
    return new WatchReader(await this.open('GET', `${path}?watch=1${query ? `&${query}` : ''}`, undefined, headers));
  }
}

export interface WatchEvent { readonly type: string; readonly object: Json }

/** Reads a watch event by event. */
export class WatchReader {
  readonly response: IncomingMessage;
  readonly #events: AsyncIterator<WatchEvent>;

  constructor(response: IncomingMessage) {
    this.response = response;
    this.#events = events(response);
  }

  /** The next event; fails after a while without one. */
  async next(): Promise<WatchEvent> {
    const found = await within(5000, this.#events.next());
    if (found.done) throw new Error('the watch has ended');
    return found.value;
  }

  /** `TYPE name` of the next events. */
  async names(count: number): Promise<string[]> {
    const found: string[] = [];
    while (found.length < count) {
      const { type, object } = await this.next();
      found.push(`${type} ${object['metadata']['name'] ?? ''}`.trim());
    }
    return found;
  }

  /** Resolves once the server has ended the watch. */
  async ended(): Promise<WatchEvent[]> {
    const rest: WatchEvent[] = [];
    for (let found = await within(5000, this.#events.next()); !found.done; found = await within(5000, this.#events.next())) rest.push(found.value);
    return rest;
  }

  close(): void {
    this.response.destroy();
  }
}

async function* events(response: IncomingMessage): AsyncGenerator<WatchEvent> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) {
    text += chunk;
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) yield JSON.parse(line) as WatchEvent;
  }
}

export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`nothing within ${ms} ms`)), ms); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const configMap = (name: string, data: Record<string, string> = {}, labels?: Record<string, string>): Record<string, unknown> =>
  ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...(labels ? { labels } : {}) }, data });

export const pod = (name: string, labels?: Record<string, string>): Record<string, unknown> =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...(labels ? { labels } : {}) }, spec: { containers: [{ name: 'c', image: 'nginx' }] } });

export const configMaps = '/api/v1/namespaces/default/configmaps';
export const pods = '/api/v1/namespaces/default/pods';
