import { join } from 'node:path';
import type { Clock } from '../shared/clock.ts';
import { makeDataDirectory } from '../shared/directory.ts';
import { agentProtocol, identityPath } from '../shared/enrolment.ts';
import { kinds } from '../shared/kinds/index.ts';
import { nodes } from '../shared/kinds/node.ts';
import type { Log } from '../shared/log.ts';
import { Scope } from '../shared/scope.ts';
import { binaryPath } from '../shared/upgrade.ts';
import { kubernetesVersion, version } from '../shared/version.ts';
import { admissions } from './admission/index.ts';
import { AccountKeys } from './account-key.ts';
import { accountKeyRoute } from './account-key-routes.ts';
import { coreAuthorizer, type Authorizer } from './api/authorize.ts';
import type { Exchange } from './api/exchange.ts';
import { anyOf, rbacAuthorizer } from './api/rbac.ts';
import { createApiServer, type Tls } from './api/server.ts';
import { proxies } from './api/proxy.ts';
import { podStreams } from './api/streams.ts';
import { tokenRequests } from './api/token-request.ts';
import { backupMaster } from './backup.ts';
import { backupRoute } from './backup-routes.ts';
import { addressIn, clusterDnsAddress, type MasterConfig } from './config.ts';
import { runControllers } from './controllers/controller.ts';
import { controllers } from './controllers/index.ts';
import { bootstrapPolicy } from './bootstrap-policy.ts';
import { bootstrapStorage } from './bootstrap-storage.ts';
import { createEnroller } from './enroller.ts';
import { enrolmentPaths } from './hub/enrolment.ts';
import { Hub, sessionPath } from './hub/hub.ts';
import { labelsForAgent, taintsForAgent } from './hub/session.ts';
import { NodeUsages } from './hub/usage.ts';
import { PodLogs } from './hub/pod-logs.ts';
import { NodeCredentials } from './node-credentials.ts';
import { identityRoute } from './node-routes.ts';
import { maxAgents } from './limits.ts';
import { listenFailure } from './listen-failure.ts';
import { issuerRoutes } from './issuer-routes.ts';
import { kubeconfig, openPki, renewPki, writeDurably, type Pki } from './pki.ts';
import { AccountTokens } from './registry/account-tokens.ts';
import { EventRecorder } from './registry/events.ts';
import { NodeAllocator, ServiceAllocator } from './registry/ipam.ts';
import { podToken } from './registry/pod-token.ts';
import { Policy } from './registry/policy.ts';
import { Registry } from './registry/registry.ts';
import { plugins } from './scheduler/plugins/index.ts';
import { removeVolume } from './volume-remover.ts';
import { volumeBinding } from './scheduler/plugins/volume-binding.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import { createJoinToken } from './registry/token.ts';
import { silentSince } from './returning.ts';
import { runCompaction } from './store/history.ts';
import { openLmdbStore } from './store/lmdb.ts';
import { StatusStream } from './status/stream.ts';
import { statusRoute, statusUpgrade } from './status-routes.ts';
import { tokenRoutes, tokenText } from './token-routes.ts';
import { openTicketKeys } from './ticket-keys.ts';
import { bearerTokens, StaticTokens } from './tokens.ts';
import { Binaries } from './upgrade-binaries.ts';
import { Upgrades } from './upgrade-roll.ts';
import { upgradeRoutes } from './upgrade-routes.ts';

export interface MasterOptions {
  readonly config: MasterConfig;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Called once the API answers and the controllers work. */
  readonly onReady: (ready: Ready) => void;
}

export interface Ready {
  /** `https://…`, as agents and kubectl reach it. */
  readonly url: string;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** Makes a token that lets an agent join. */
  joinToken(description: string, ttlMs: number): Promise<string>;
}

/** How long changes are kept for watches and agents that were away. */
const historyMs = 3600_000;

/**
 * Runs a master until `signal` aborts. The one place that constructs its parts.
 * @throws Error with a line for the user when the data directory, the port or the key material cannot be used
 */
export async function runMaster(options: MasterOptions, signal: AbortSignal): Promise<void> {
  const { config, clock, random, log } = options;
  const startedMs = clock.monotonic();
  await makeDataDirectory(config.dataDir);
  const kubernetesServiceIP = addressIn(config.serviceCidr, 1);
  const clusterDNS = clusterDnsAddress(config.serviceCidr);
  const pki = await openPki(join(config.dataDir, 'pki'), serverNames(config, kubernetesServiceIP), clock);
  const store = await openLmdbStore({ directory: join(config.dataDir, 'store') });
  const allocators = [
    new ServiceAllocator({ store, clock, random, serviceCIDR: config.serviceCidr.text, nodePorts: [config.nodePorts.first, config.nodePorts.last] }),
    new NodeAllocator({ store, clock, clusterCIDR: config.clusterCidr.text }),
  ];
  const registry = new Registry({ store, clock, random, kinds, allocators });
  const recorder = new EventRecorder({ registry, clock, log: log.named('events') });
  const policy = new Policy(registry, signal);
  registry.useAdmissions(admissions({ registry, clock, policy }));
  await bootstrapPolicy(registry);
  await bootstrapStorage(registry, config.defaultStorageClass);
  const accountKeys = await AccountKeys.open(join(config.dataDir, 'pki'), clock);
  const accountTokens = new AccountTokens({ registry, clock, keys: accountKeys, issuer: `https://kubernetes.default.svc.${config.clusterDomain}` });
  const credentials = new NodeCredentials({ registry, clock, log: log.named('nodes'), windowMs: config.offlineWindowMs, agentPaths: [sessionPath, identityPath, binaryPath] });
  const hub = new Hub({
    registry, clock, log: log.named('hub'), recorder, enroller: createEnroller({ registry, pki, clock, certificateMs: config.nodeCertificateMs }),
    admits: (node) => credentials.knows(node), onUpgradeStatus: (node, status) => upgrades.heard(node, status), podToken: (node, request) => podToken(registry, accountTokens, node, request), masterVersion: version, graceMs: config.nodeMonitorGraceMs,
    settings: (name) => {
      const node = registry.find(nodes, '', name);
      return {
        serviceCIDR: config.serviceCidr.text, clusterDomain: config.clusterDomain, clusterDNS, podCIDR: node?.spec?.podCIDR ?? '', clusterCIDR: config.clusterCidr.text,
        ...(node ? { nodeLabels: labelsForAgent(node.metadata.labels), ...taintsForAgent(node.spec?.taints) } : {}),
      };
    },
  });
  const status = new StatusStream({ registry, clock, log: log.named('status'), masterVersion: version, link: (node) => hub.link(node) });
  const upgrades = new Upgrades({ agents: hub, clock, log: log.named('upgrades') });
  const waitingFor = new Set(['controllers', 'scheduler']);
  let allStarted: () => void;
  const started = new Promise<void>((resolve) => { allStarted = resolve; });
  const partStarted = (part: string): void => { waitingFor.delete(part); if (waitingFor.size === 0) allStarted(); };
  const ticketKeys = await openTicketKeys(join(config.dataDir, 'pki'), clock.now());
  const tls = (): Tls => ({ key: pki.server.key, cert: pki.server.certificate, ca: pki.authority.certificate, ticketKeys });
  const server = createApiServer({
    registry, clock, random, log: log.named('api'), host: config.bindAddress, port: config.port,
    tls: tls(),
    advertise: `${config.advertiseAddress}:${config.port}`,
    version: { ...kubernetesVersion, gitCommit: '', gitTreeState: 'clean', buildDate: '1970-01-01T00:00:00Z', goVersion: '', compiler: `node ${process.version}`, platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}` },
    authorizer: withOpenPaths(anyOf(coreAuthorizer, rbacAuthorizer(policy)), [...enrolmentPaths, identityPath, binaryPath]),
    tokens: bearerTokens(accountTokens, await StaticTokens.open(config.dataDir)),
    nodeAuthenticator: credentials,
    usages: new NodeUsages({ clock, log: log.named('usage'), openStream: (node, request) => hub.openStream(node, request) }),
    podLogs: new PodLogs({ registry, clock, openStream: (node, request) => hub.openStream(node, request) }),
    subresources: [...podStreams({ registry, openStream: (node, request) => hub.openStream(node, request) }), ...proxies({ registry, random, openStream: (node, request) => hub.openStream(node, request) }), tokenRequests(accountTokens)],
    routes: [
      ...tokenRoutes({ registry, clock, authorityHash: pki.authorityHash }),
      identityRoute,
      ...issuerRoutes({ issuer: accountTokens.issuer, keys: accountKeys, url: () => `https://${config.advertiseAddress}:${config.port}` }),
      accountKeyRoute((keepMs) => accountKeys.rotate(keepMs)),
      statusRoute(status),
      ...upgradeRoutes({ registry, binaries: new Binaries(join(config.dataDir, 'upgrades')), upgrades }),
      backupRoute((directory) => backupMaster({ dataDir: config.dataDir, store, version, nowMs: clock.now() }, directory)),
      ...enrolmentPaths.flatMap((path) => ['GET', 'POST'].map((method) => ({ method, path, handle: (x: Exchange) => hub.answer(x.req, x.res) }))),
    ],
    upgrades: [statusUpgrade(status), { path: sessionPath, allows: (user) => user.groups.includes('system:nodes'), handle: (req, socket, head, user) => hub.upgrade(req, socket, head, user) }],
    guests: { protocol: agentProtocol, welcome: () => hub.isReady, max: maxAgents() },
    healthChecks: [...waitingFor].map((name) => ({ name, check: () => (waitingFor.has(name) ? 'not started yet' : undefined) })),
  });
  const port = await server.listen().catch(async (error: NodeJS.ErrnoException) => {
    await store.close();
    throw listenFailure(config, error);
  });
  const url = `https://${config.advertiseAddress}:${port}`;
  const scope = new Scope(signal);
  scope.start((stop) => server.run(stop));
  scope.start((stop) => renewPki({
    pki, clock, log: log.named('pki'),
    onRenewed: async () => {
      server.useTls(tls());
      await writeKubeconfig(config, pki, url);
    },
  }, stop));
  scope.start((stop) => recorder.run(stop));
  scope.start((stop) => runCompaction(store, { keepMs: historyMs, onError: (error) => log.error('compaction', { error }) }, stop));
  scope.start((stop) => runControllers(controllers(), {
    registry, recorder, clock, log: log.named('controllers'), random,
    settings: {
      apiServerAddress: config.advertiseAddress, apiServerPort: port, kubernetesServiceIP, clusterDNS, caCertificate: pki.authority.certificate, accountTokens,
      nodeMonitorGraceMs: config.nodeMonitorGraceMs, eventTtlMs: config.eventTtlMs, lastSeen: (node) => silentSince({ heardMs: (name) => hub.lastSeen(name), crowdedMs: () => server.crowdedMs, startedMs }, node),
      removeVolume: (node, volume, path) => removeVolume((name, request) => hub.openStream(name, request), node, volume, path),
    },
    onStarted: () => partStarted('controllers'),
  }, stop));
  const scheduler = new Scheduler({ registry, recorder, clock, log: log.named('scheduler'), plugins: [...plugins, volumeBinding(registry)], onStarted: () => partStarted('scheduler') });
  scope.start((stop) => scheduler.run(stop));
  scope.start((stop) => hub.run(stop));
  scope.start((stop) => status.run(stop));
  const path = await writeKubeconfig(config, pki, url);
  log.info('started', { version, url, dataDir: config.dataDir, revision: store.revision });
  void started.then(() => options.onReady({
    url, kubeconfig: path,
    joinToken: async (description, ttlMs) => tokenText(await createJoinToken(registry, clock, { ttlMs, description }), pki.authorityHash),
  }));
  try {
    await scope.wait();
  } finally {
    await store.close();
  }
}

async function writeKubeconfig(config: MasterConfig, pki: Pki, url: string): Promise<string> {
  const path = join(config.dataDir, 'admin.kubeconfig');
  await writeDurably(path, kubeconfig(pki, url), 0o600);
  return path;
}

/** Every name under which clients may call the master. */
function serverNames(config: MasterConfig, kubernetesServiceIP: string): string[] {
  const service = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', `kubernetes.default.svc.${config.clusterDomain}`];
  return [...new Set(['localhost', '127.0.0.1', config.advertiseAddress, ...(config.bindAddress === '0.0.0.0' ? [] : [config.bindAddress]), kubernetesServiceIP, ...service, ...config.tlsSan])];
}

/** The same rules, but that anybody may use some paths. */
function withOpenPaths(authorizer: Authorizer, paths: readonly string[]): Authorizer {
  return {
    ...authorizer,
    authorize: (access) => (!access.resource && paths.includes(access.path) ? { allowed: true } : authorizer.authorize(access)),
  };
}
