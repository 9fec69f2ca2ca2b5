import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '../../shared/clock.ts';
import { identityPath } from '../../shared/enrolment.ts';
import { kinds } from '../../shared/kinds/index.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { silentLog } from '../../shared/log.ts';
import { basicAuthorizer } from '../../master/api/authorize.ts';
import type { Exchange } from '../../master/api/exchange.ts';
import { createApiServer, type ApiServer } from '../../master/api/server.ts';
import { createEnroller } from '../../master/enroller.ts';
import { enrolmentPaths, type Enroller } from '../../master/hub/enrolment.ts';
import { Hub, sessionPath } from '../../master/hub/hub.ts';
import { NodeCredentials } from '../../master/node-credentials.ts';
import { identityRoute } from '../../master/node-routes.ts';
import { openPki, type Pki } from '../../master/pki.ts';
import { Registry } from '../../master/registry/registry.ts';
import { createJoinToken } from '../../master/registry/token.ts';
import { openMemoryStore } from '../../master/store/memory.ts';
import type { Store } from '../../master/store/store.ts';
import { tokenText } from '../../master/token-routes.ts';
import { version } from '../master/api/support.ts';

export interface TlsMasterOptions {
  readonly store?: Store;
  /** Key material of an earlier one. */
  readonly pki?: Pki;
  /** Difference of the master's clock from the machine's. */
  readonly skewMs?: number;
  readonly certificateMs?: number;
  readonly windowMs?: number;
  readonly port?: number;
  /** Stands between sessions and the enroller. */
  readonly enroller?: (real: Enroller) => Enroller;
  /** Server certificate instead of the right one. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

const day = 86_400_000;

/** The parts of a master that agents meet, on a loopback port with real TLS, over a store in memory. */
export interface TlsMaster {
  readonly pki: Pki;
  readonly registry: Registry;
  readonly hub: Hub;
  readonly server: ApiServer;
  readonly url: string;
  readonly port: number;
  joinToken(): Promise<string>;
  stop(): Promise<void>;
}

/** A clock that is off by so much. */
export const skewed = (skewMs: number): Clock => ({ ...systemClock, now: () => Date.now() + skewMs });

/** New key material in a directory that is gone again. */
export async function makePki(clock: Clock = systemClock): Promise<Pki> {
  const directory = await mkdtemp(join(tmpdir(), 'pki-'));
  try {
    return await openPki(directory, ['127.0.0.1', 'kubernetes.default.svc'], clock);
  } finally {
    await rm(directory, { recursive: true });
  }
}

export async function startTlsMaster(options: TlsMasterOptions = {}): Promise<TlsMaster> {
  const clock = skewed(options.skewMs ?? 0);
  const pki = options.pki ?? await makePki(clock);
  const registry = new Registry({ store: options.store ?? openMemoryStore(), clock, random: Math.random, kinds, allocators: [] });
  for (const name of ['default', 'kube-system', 'kube-node-lease']) if (!registry.find(namespaces, '', name)) await registry.create(namespaces, '', { metadata: { name } });
  const credentials = new NodeCredentials({ registry, clock, log: silentLog, windowMs: options.windowMs ?? 365 * day, agentPaths: [sessionPath, identityPath] });
  const real = createEnroller({ registry, pki, clock, certificateMs: options.certificateMs ?? 365 * day });
  const hub = new Hub({
    registry, clock, log: silentLog, masterVersion: 'test', admits: (node) => credentials.knows(node), enroller: options.enroller?.(real) ?? real,
    settings: () => ({ serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '' }),
  });
  const open: readonly string[] = [...enrolmentPaths, identityPath];
  const server = createApiServer({
    registry, clock, random: Math.random, log: silentLog, host: '127.0.0.1', port: options.port ?? 0, advertise: '127.0.0.1:6443', version,
    tls: { ...(options.tls ?? { key: pki.server.key, cert: pki.server.certificate }), ca: pki.authority.certificate },
    authorizer: { ...basicAuthorizer, authorize: (access) => (!access.resource && open.includes(access.path) ? { allowed: true } : basicAuthorizer.authorize(access)) },
    nodeAuthenticator: credentials,
    routes: [identityRoute, ...enrolmentPaths.flatMap((path) => ['GET', 'POST'].map((method) => ({ method, path, handle: (x: Exchange) => hub.answer(x.req, x.res) })))],
    upgrades: [{ path: sessionPath, allows: (user) => user.groups.includes('system:nodes'), handle: (req, socket, head, user) => hub.upgrade(req, socket, head, user) }],
  });
  const abort = new AbortController();
  const port = await server.listen();
  const running = Promise.all([server.run(abort.signal), hub.run(abort.signal)]);
  await until('the hub serves', () => hub.stats().revision > 0);
  return {
    pki, registry, hub, server, port, url: `https://127.0.0.1:${port}`,
    joinToken: async () => tokenText(await createJoinToken(registry, clock, { ttlMs: 3600_000, description: '' }), pki.authorityHash),
    stop: async () => { abort.abort(); await running; },
  };
}

/** Waits until something holds; rejects after 20 s. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
}
