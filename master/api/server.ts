import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps, type Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Registry } from '../registry/registry.ts';
import type { User } from '../registry/types.ts';
import { sendError, statusOf } from './answer.ts';
import { Authenticator, type NodeAuthenticator, type TokenAuthenticator } from './authenticate.ts';
import { accessOf, refusal, type Authorizer } from './authorize.ts';
import type { ResourceOptions } from './call.ts';
import { answerDocuments, Documents } from './documents.ts';
import { Doorway, type Guests } from './doorway.ts';
import { Exchange } from './exchange.ts';
import { answerHealth, type HealthCheck, type Version } from './health.ts';
import { impersonate, impersonates } from './impersonate.ts';
import { KindIndex, noSuchResource } from './kinds.ts';
import { answerMetrics, metricsKinds, type MetricsOptions, type UsageSource } from './metrics.ts';
import { answerResource } from './resource.ts';
import { answerReview } from './reviews.ts';
import type { PodLogs, SubresourceHandler } from './subresource.ts';
import { refuseUpgrade } from './upgrade.ts';
import { Watches } from './watch.ts';

/** Key material in PEM. Client certificates count when they chain to `ca`. */
export interface Tls {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
  /** 48 bytes that sessions are sealed with; with the same ones a restarted server lets clients resume theirs. */
  readonly ticketKeys?: Buffer;
}

/** A path that somebody else answers, after authentication and authorization. */
export interface Route {
  readonly method: string;
  readonly path: string;
  /** Answers, or throws StatusError. */
  handle(x: Exchange): Promise<void> | void;
}

/** A WebSocket (or other) upgrade that somebody else takes, after authentication and authorization. */
export interface UpgradeRoute {
  /** Exact path, or a prefix when it ends in `/`. */
  readonly path: string;
  /** Who may: without it the authorizer decides (verb `get` on the path). */
  allows?(user: User): boolean;
  handle(req: IncomingMessage, socket: Duplex, head: Buffer, user: User): void;
}

export interface ApiServerOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Plain HTTP without it, for tests. */
  readonly tls: Tls | undefined;
  /** `host:port` under which clients reach the server, for discovery. */
  readonly advertise: string;
  readonly version: Version;
  readonly authorizer: Authorizer;
  readonly tokens?: TokenAuthenticator;
  /** Says which nodes' certificates are good; without it, all that are in time. */
  readonly nodeAuthenticator?: NodeAuthenticator;
  readonly podLogs?: PodLogs;
  readonly subresources?: readonly SubresourceHandler[];
  readonly routes?: readonly Route[];
  readonly upgrades?: readonly UpgradeRoute[];
  readonly healthChecks?: readonly HealthCheck[];
  /** What nodes use, for metrics.k8s.io; without it there are no metrics. */
  readonly usages?: UsageSource;
  /** Clients that come in crowds; their handshakes are paced. */
  readonly guests?: Guests;
}

/** One step on a request's way. True when the request is answered. */
type Step = (x: Exchange) => boolean | Promise<boolean>;

export interface ApiServer {
  /** Opens the port and resolves with it. */
  listen(): Promise<number>;
  /** Serves until `signal` aborts; then finishes what is under way, and closes. Listens first if nobody did. */
  run(signal: AbortSignal): Promise<void>;
  /** New connections get the new certificate. */
  useTls(tls: Tls): void;
  /** Clients watching now. */
  readonly watchers: number;
  /** When more agents came than could be served, on the monotonic clock; -Infinity: never. */
  readonly crowdedMs: number;
}

export function createApiServer(options: ApiServerOptions): ApiServer {
  return new Apiserver(options);
}

/** Connections that the system may accept for us while we are busy, as far as it lets us: else a crowd's first knocks are lost. */
const backlog = 65_535;

/** How long requests under way may take to finish when the server stops. */
const drainMs = 5_000;

/** Sessions can be resumed for as long as TLS 1.3 lets a client keep them. The context ties them to this server. */
const tlsLimits = { minVersion: 'TLSv1.2', sessionTimeout: 7 * 24 * 3600, sessionIdContext: 'wherry' } as const;

/** A function of its own, so that what it is in keeps nothing else alive for as long as the connection. */
const endOnError = (socket: Duplex): void => { socket.on('error', () => socket.destroy()); };

class Apiserver implements ApiServer {
  readonly #options: ApiServerOptions;
  readonly #resources: ResourceOptions;
  readonly #watches: Watches;
  readonly #kinds: KindIndex;
  readonly #authenticator: Authenticator;
  readonly #documents: Documents;
  readonly #server: Server | SecureServer;
  readonly #metrics: MetricsOptions | undefined;
  #doorway: Doorway | undefined;
  /** Connections of exec, attach and port-forward. */
  readonly #upgraded = new Set<Duplex>();
  #listening: Promise<number> | undefined;

  /** The way of every request, in order. */
  readonly #chain: readonly Step[] = [
    (x) => this.#describe(x),
    (x) => this.#authenticate(x),
    (x) => this.#impersonate(x),
    (x) => this.#authorize(x),
    (x) => answerHealth(x, this.#options.healthChecks ?? [], this.#options.version),
    (x) => this.#answerRoute(x),
    (x) => answerDocuments(x, this.#documents),
    (x) => answerReview(x, this.#options),
    (x) => answerMetrics(x, this.#metrics),
    (x) => this.#answerResource(x),
  ];

  constructor(options: ApiServerOptions) {
    this.#options = options;
    const { registry, clock, random } = options;
    this.#watches = new Watches({ registry, clock, random });
    this.#resources = { registry, clock, watches: this.#watches, authorizer: options.authorizer, podLogs: options.podLogs, subresources: options.subresources ?? [] };
    this.#kinds = new KindIndex(registry.kinds);
    this.#authenticator = new Authenticator({ tokens: options.tokens, nodes: options.nodeAuthenticator, ca: options.tls?.ca, now: () => clock.now() });
    this.#metrics = options.usages && { registry, usages: options.usages, now: () => clock.now() };
    this.#documents = new Documents(registry.kinds, options.advertise, options.version, options.usages ? metricsKinds : []);
    this.#server = this.#create();
  }

  get watchers(): number {
    return this.#watches.size;
  }

  get crowdedMs(): number {
    return this.#doorway?.stats.crowdedMs ?? -Infinity;
  }

  useTls(tls: Tls): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext({ ...tls, ...tlsLimits });
  }

  listen(): Promise<number> {
    const { host, port } = this.#options;
    this.#listening ??= new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host, backlog }, () => {
        this.#server.off('error', reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
    return this.#listening;
  }

  async run(signal: AbortSignal): Promise<void> {
    const watching = this.#watches.run(signal);
    await this.listen();
    await watching;
    await this.#close();
  }

  #create(): Server | SecureServer {
    const { tls, guests, clock } = this.#options;
    const limits = { keepAliveTimeout: 120_000, headersTimeout: 30_000, requestTimeout: 300_000, maxHeaderSize: 64 * 1024 };
    const handle = (req: IncomingMessage, res: ServerResponse): void => void this.#handle(new Exchange(req, res));
    const server = tls
      ? createHttps({ ...limits, ...tls, ...tlsLimits, requestCert: true, rejectUnauthorized: false, handshakeTimeout: 20_000 }, handle)
      : createHttp(limits, handle);
    if (guests && 'setSecureContext' in server) {
      this.#doorway = new Doorway({ clock, log: this.#options.log, guests });
      this.#doorway.guard(server);
    }
    server.on('upgrade', (req, socket, head) => void this.#upgrade(req, socket, head));
    server.on('clientError', (_error, socket) => refuseUpgrade(socket, 400, 'Bad Request'));
    return server;
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    for (const socket of this.#upgraded) socket.destroy();
    const cut = setTimeout(() => this.#server.closeAllConnections(), drainMs);
    await closed;
    clearTimeout(cut);
  }

  async #handle(x: Exchange): Promise<void> {
    try {
      for (const step of this.#chain) {
        const answered = step(x);
        if (answered === true || (answered !== false && await answered)) return;
      }
      throw noSuchResource();
    } catch (error) {
      sendError(x, statusOf(error, (bug) => this.#options.log.error('request failed', { method: x.method, path: x.path, error: bug })));
    }
  }

  #describe(x: Exchange): false {
    x.describe();
    return false;
  }

  #authenticate(x: Exchange): boolean | Promise<boolean> {
    const user = this.#authenticator.authenticate(x.req);
    if (!(user instanceof Promise)) {
      x.user = user;
      return false;
    }
    return user.then((known) => {
      x.user = known;
      return false;
    });
  }

  #impersonate(x: Exchange): boolean | Promise<boolean> {
    if (!impersonates(x.req)) return false;
    return impersonate(x.req, x.user, this.#options.authorizer).then((user) => {
      x.user = user;
      return false;
    });
  }

  #authorize(x: Exchange): boolean | Promise<boolean> {
    const access = accessOf(x.user, x.info);
    const decision = this.#options.authorizer.authorize(access);
    const check = ({ allowed, reason }: Awaited<typeof decision>): false => {
      if (!allowed) throw refusal(access, reason);
      return false;
    };
    return decision instanceof Promise ? decision.then(check) : check(decision);
  }

  #answerRoute(x: Exchange): boolean | Promise<boolean> {
    const route = this.#options.routes?.find(({ method, path }) => x.path === path && x.method === method);
    if (!route) return false;
    const answered = route.handle(x);
    return answered ? answered.then(() => true) : true;
  }

  #answerResource(x: Exchange): boolean | Promise<boolean> {
    const request = x.info.resource;
    if (!request) return false;
    const answered = answerResource({ x, request, kind: this.#kinds.of(request), options: this.#resources });
    return answered ? answered.then(() => true) : true;
  }

  async #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    endOnError(socket);
    // Only the request's side of the exchange is used: an upgrade has no ServerResponse.
    const x = new Exchange(req, undefined as unknown as ServerResponse);
    try {
      x.describe();
      x.user = await this.#authenticator.authenticate(req);
      await this.#impersonate(x);
      const route = this.#options.upgrades?.find(({ path }) => (path.endsWith('/') ? x.path.startsWith(path) : x.path === path));
      if (!route?.allows) await this.#authorize(x);
      else if (!route.allows(x.user)) throw refusal(accessOf(x.user, x.info), undefined);
      if (route) return route.handle(req, socket, head, x.user);
      const handler = this.#upgradeHandler(x);
      if (handler) this.#keepTrack(socket);
      if (handler) return await handler.upgrade!({ x, request: x.info.resource!, socket, head });
      this.#upgradeWatch(x, socket, head);
    } catch (error) {
      const status = statusOf(error, (bug) => this.#options.log.error('upgrade failed', { path: x.path, error: bug }));
      refuseUpgrade(socket, status.code, status.reason, JSON.stringify(status.toStatus()));
    }
  }

  /** The server waits for its connections when it stops, but knows nothing of these any more. */
  #keepTrack(socket: Duplex): void {
    this.#upgraded.add(socket);
    socket.once('close', () => this.#upgraded.delete(socket));
  }

  #upgradeHandler({ info: { resource: request } }: Exchange): SubresourceHandler | undefined {
    if (!request?.subresource || !request.name) return undefined;
    this.#kinds.of(request);
    return this.#options.subresources?.find(({ resource, subresource, upgrade }) => upgrade && resource === request.resource && subresource === request.subresource);
  }

  #upgradeWatch(x: Exchange, socket: Duplex, head: Buffer): void {
    const request = x.info.resource;
    if (!request || x.info.verb !== 'watch' || request.subresource) throw noSuchResource();
    const plan = this.#watches.plan(x, this.#kinds.of(request), request.namespace, request.name);
    this.#watches.upgrade(plan, x.req, socket, head);
  }
}
