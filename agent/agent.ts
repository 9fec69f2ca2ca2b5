import { isIP } from 'node:net';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Clock } from '../shared/clock.ts';
import { makeDataDirectory } from '../shared/directory.ts';
import type { Log } from '../shared/log.ts';
import { NodeTaint, type Payload } from '../shared/protocol.ts';
import { Scope } from '../shared/scope.ts';
import { stopSecondsOf } from '../shared/unreachable.ts';
import { architectures } from '../shared/upgrade.ts';
import { kubernetesVersion, version } from '../shared/version.ts';
import type { AgentConfig } from './config.ts';
import { Credentials } from './credentials.ts';
import { enrol, type Identity } from './enrol.ts';
import { HostResolverFiles } from './host-resolver.ts';
import { ClusterDns } from './net/dns.ts';
import { withLocalPods } from './net/local-endpoints.ts';
import { insideTest } from './net/own-networks.ts';
import { PodNetwork, podNetworkNote } from './net/pod-network.ts';
import { createProxy, type Proxy } from './net/proxy.ts';
import { Reach } from './net/reach.ts';
import { listenerKey, planRoutes, type Listener } from './net/routes.ts';
import { createServiceRange, type ServiceRange } from './net/service-range.ts';
import { chooseTcpEngine } from './net/tcp.ts';
import { readJoinToken, removeJoinToken } from './join-token.ts';
import { machineFacts } from './node-facts.ts';
import { NodeReporter } from './node.ts';
import type { NodeParts } from './ops/collect.ts';
import { serveStatus } from './ops/status-socket.ts';
import { EventLog } from './pods/events.ts';
import { Evictor } from './pods/evictor.ts';
import { PodManager } from './pods/manager.ts';
import { readSignals } from './pods/signals.ts';
import { pauseImageName, pauseImageTar, type PauseArch } from './runtime/pause-image.ts';
import { DockerRuntime } from './runtime/docker.ts';
import { masterLookup } from './session/addresses.ts';
import { LinkStatus } from './session/link-status.ts';
import { Outage } from './session/outage.ts';
import { Session } from './session.ts';
import { StateHealth } from './state/health.ts';
import { Journal } from './state/journal.ts';
import type { State } from './state/state.ts';
import { openStream } from './streams/open.ts';
import { PodTokens } from './volumes/tokens.ts';
import { removeVolume } from './volumes/remove-volume.ts';
import type { OnTrial } from './upgrade/on-trial.ts';
import type { Signs } from './upgrade/trial.ts';
import { Upgrader, type UpgraderOptions } from './upgrade/upgrader.ts';

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** For an agent that is one executable file: it can be upgraded from the master. */
  readonly upgrades?: Pick<UpgraderOptions, 'program' | 'result' | 'onCandidate'>;
  /** This program is on trial, and says here how it fares. */
  readonly trial?: OnTrial;
}

/** What the node must know of the cluster even when the master is away; the note `cluster` in the state. */
const ClusterSettings = v.object({ serviceCIDR: v.string(), clusterDomain: v.optional(v.string(), ''), clusterDNS: v.optional(v.string(), ''), clusterCIDR: v.optional(v.string(), ''), nodeLabels: v.exactOptional(v.record(v.string(), v.string())), nodeTaints: v.exactOptional(v.array(NodeTaint)) });
type ClusterSettings = v.InferOutput<typeof ClusterSettings>;
const clusterNote = 'cluster';
/** Where DNS is served everywhere. */
const dnsPort = 53;

const MasterAddress = v.object({ name: v.string(), address: v.string() });
const addressNote = 'master-address';

/** Pods that change within this time are one change to the proxy. */
const routePauseMs = 20;

const pauseArchs: Readonly<Record<string, PauseArch>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm' };

/**
 * Runs an agent until `signal` aborts, and leaves all containers as they are. The one place that constructs its parts.
 * Everything but the first enrolment works without a master.
 * @throws Error with a line for the user when the data directory, the token or the identity cannot be used
 */
export async function runAgent({ config: given, ...options }: AgentOptions, signal: AbortSignal): Promise<void> {
  const { clock, random, log } = options;
  await makeDataDirectory(given.dataDir);
  const config = { ...given, token: given.token ?? await readJoinToken(given.dataDir) };
  let node: Agent | undefined;
  const health = new StateHealth({ clock, onChange: (why) => node?.stateTrouble(why) });
  const state = await Journal.open({ directory: join(config.dataDir, 'state'), log: log.named('state'), onTrouble: health.note });
  const link = new LinkStatus(clock);
  const whole = new Scope(signal);
  const sources = { config, clock, startedMs: clock.now(), state, link: () => link.view, parts: () => node?.parts, trouble: () => health.trouble };
  whole.start((stop) => serveStatus({ dataDir: config.dataDir, log: log.named('status'), answer: async () => (await import('./ops/collect.ts')).collect(sources) }, stop));
  try {
    link.enrolling();
    const identity = await enrol({
      directory: join(config.dataDir, 'identity'), server: config.master, token: config.token, nodeName: config.nodeName,
      clock, random, log: log.named('enrol'), onRetry: (failure) => link.enrolling(failure),
    }, signal);
    if (!identity) return;
    const agent = node = new Agent({ ...options, config }, state, identity, (await machineFacts()).bootId, link);
    if (health.trouble !== undefined) agent.stateTrouble(health.trouble);
    const scope = new Scope(signal);
    scope.start((stop) => health.run(() => state.flush(), stop));
    scope.start((stop) => agent.run(stop));
    const signs = (): Signs => ({ version, state: health.trouble === undefined, engine: agent.engineAnswers, master: link.view.phase === 'connected' });
    if (options.trial) scope.start((stop) => options.trial!.run(signs, stop));
    await scope.wait();
  } finally {
    whole.stop();
    await whole.wait();
    await state.close();
  }
}

/** Whether a pod of this node is to be stopped after some time without a master. */
function stopsSomething(state: State): boolean {
  for (const item of state.items.values()) if (item.type === 'pod' && stopSecondsOf(item.object) !== undefined) return true;
  return false;
}

class Agent {
  readonly #options: AgentOptions;
  readonly #state: State;
  readonly #node: NodeReporter;
  readonly #pods: PodManager;
  readonly #evictor: Evictor;
  readonly #session: Session;
  readonly #events: EventLog;
  readonly #tokens: PodTokens;
  readonly #runtime: DockerRuntime;
  readonly #outage: Outage;
  readonly #upgrader: Upgrader | undefined;
  readonly #network: PodNetwork;
  readonly #reach: Reach;
  readonly #dns: ClusterDns;
  #cluster: ClusterSettings | undefined;
  /** The engine answers, as the pod manager finds. */
  engineAnswers = false;
  /** Why it does not, if it was found not to. */
  #engineTrouble: string | undefined;
  #proxy: Proxy | undefined;
  #range: { readonly cidr: string; readonly scope: Scope; readonly route: ServiceRange } | undefined;
  #scope: Scope | undefined;

  constructor(options: AgentOptions, state: Journal, identity: Identity, bootId: string, link: LinkStatus) {
    const { config, clock, random, log } = options;
    this.#options = options;
    this.#state = state;
    this.#runtime = new DockerRuntime({ host: config.dockerHost });
    this.#events = new EventLog({ clock, report: (event) => this.#session.event(event) });
    this.#node = new NodeReporter({
      runtime: this.#runtime, clock, log: log.named('node'), name: config.nodeName, ips: [config.nodeIP],
      kubeletVersion: kubernetesVersion.gitVersion, labels: config.nodeLabels, maxPods: config.resources.maxPods, allotment: config.resources.allotment, look: (disk) => this.#evictor.look(disk), report: (node) => this.#session.setNode(node),
    });
    this.#reach = new Reach({ clock, nodeName: config.nodeName, isInside: insideTest(() => clock.monotonic()) });
    this.#network = new PodNetwork({
      mode: config.podNetwork, nodeName: config.nodeName, nodeIP: config.nodeIP, owner: config.dataDir, engine: this.#runtime, clock, log: log.named('network'),
      kept: state.notes.get(podNetworkNote), keep: (value) => state.note(podNetworkNote, value), onRoutes: () => this.#reach.forget(),
      onProblem: (why) => {
        this.#node.network(why ?? '');
        if (why !== undefined) this.#nodeEvent('Warning', 'PodNetworkNotReady', `The pod network is not as it should be: ${why}`);
      },
    });
    const hostResolver = new HostResolverFiles({ clock });
    this.#dns = new ClusterDns({
      clock, random, log: log.named('dns'), port: dnsPort, onProblem: (_socket, error) => this.#dnsProblem(error),
      upstreams: async () => (await hostResolver.settings()).own.servers.map((address) => ({ address, port: dnsPort })),
    });
    this.#outage = new Outage({ state, clock, log: log.named('session'), matters: () => stopsSomething(state) });
    this.#tokens = new PodTokens({ clock, random, log: log.named('tokens'), onFresh: (uid) => this.#pods.filesChanged(uid) });
    this.#pods = new PodManager({
      tokens: this.#tokens,
      runtime: this.#runtime, state, clock, log: log.named('pods'), events: this.#events,
      root: join(config.dataDir, 'pods'), owner: config.dataDir,
      pause: { image: pauseImageName, archive: () => pauseImageTar(pauseArchs[process.arch] ?? 'amd64') },
      node: () => this.#node.facts(), cluster: () => this.#clusterDns(), hostResolver: () => hostResolver.settings(),
      report: (report) => this.#session.report(report), engine: (up, why) => { this.engineAnswers = up; this.#engineTrouble = why; this.#node.engine(up); }, outage: this.#outage, bridge: () => this.#network.network(), onLocal: () => this.#routeSoon(),
      pressures: () => this.#evictor.pressures(),
      mayRemove: () => !state.healed || this.#outage.ms === undefined,
      ...(config.podMaxPids ? { podMaxPids: config.podMaxPids } : {}),
      ...(config.allowedUnsafeSysctls ? { unsafeSysctls: config.allowedUnsafeSysctls } : {}),
    });
    this.#evictor = new Evictor({
      ...config.resources.eviction, clock, log: log.named('eviction'), tenants: () => this.#pods.tenants(), use: () => this.#pods.stats.use(),
      observe: (images) => readSignals(images, config.dataDir), disk: () => this.#runtime.disk(),
      diskUse: (pods, signal) => this.#pods.diskUse(pods, signal), reclaim: (signal) => this.#pods.makeRoom(signal),
      onShort: (starved) => this.#nodeEvent('Warning', 'EvictionThresholdMet', `Attempting to reclaim ${starved}`),
    });
    const credentials = new Credentials({
      identity, directory: join(config.dataDir, 'identity'), servers: (config.master ?? identity.server).split(','), token: config.token,
      clock, random, log: log.named('credentials'),
      connecting: { lookup: masterLookup({ last: (name) => this.#lastAddress(name) }), onReached: (name, address) => this.#reached(name, address), count: link.bytes },
    });
    const { upgrades } = options;
    this.#upgrader = upgrades && new Upgrader({
      ...upgrades, arch: architectures[process.arch] ?? process.arch, dataDir: config.dataDir, version, clock, log: log.named('upgrade'),
      reach: () => ({ ...credentials.reach, lookup: masterLookup({ last: (name) => this.#lastAddress(name) }) }),
    });
    this.#session = new Session({
      node: config.nodeName, agentVersion: version, bootId, state, clock, random, log: log.named('session'),
      connect: (signal) => credentials.connect(signal), renewal: credentials, peers: this.#network, tokens: this.#tokens, ...(this.#upgrader ? { upgrade: this.#upgrader } : {}),
      onWelcome: (settings) => { link.welcomed(); this.#welcome(settings); },
      link,
      onLink: (heardMs) => { this.#outage.link(heardMs); this.#pods.linkChanged(); this.#routeSoon(); },
      openStream: (request, streamSignal, stream) => openStream(request, stream, {
        runtime: this.#runtime, target: (wanted) => this.#pods.logTarget(wanted),
        running: (wanted) => this.#pods.runningContainer(wanted), address: (wanted) => this.#pods.address(wanted), removeVolume, usage: () => this.#pods.stats.report(),
        kubelet: { pods: () => this.#pods.pods(), use: () => this.#pods.stats.use(), nodeName: config.nodeName, now: () => clock.now() },
      }, streamSignal),
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { config, clock, random, log } = this.#options;
    const scope = this.#scope = new Scope(signal);
    await this.#node.prepare();
    const tcp = await chooseTcpEngine({ clock, log: log.named('proxy') });
    const proxy = this.#proxy = createProxy({ clock, log: log.named('proxy'), random, tcp, relays: { reach: this.#reach, linked: () => this.#session.relays, open: (wish) => this.#session.relay(wish) }, onProblem: (listener, error) => this.#listenerProblem(listener, error) });
    const known = v.safeParse(ClusterSettings, this.#state.notes.get(clusterNote));
    if (known.success) await this.#serve(known.output);
    this.#route();
    const unsubscribe = this.#state.subscribe((keys) => { if (keys.some((key) => /^(service|endpoints)\//.test(key))) this.#route(); });
    this.#outage.keep();
    log.info('started', { version, node: config.nodeName, dataDir: config.dataDir, revision: this.#state.held.revision });
    for (const part of [proxy, this.#dns, this.#network, this.#node, this.#pods, this.#tokens, this.#session, ...(this.#upgrader ? [this.#upgrader] : [])]) scope.start((stop) => part.run(stop));
    try {
      await scope.wait();
    } finally {
      unsubscribe();
    }
  }

  #dnsLine(): NodeParts['dns'] {
    if (!this.#cluster?.clusterDNS) return undefined;
    const { listening, queries, asked, failed } = this.#dns.stats;
    return { address: this.#cluster.clusterDNS, domain: this.#cluster.clusterDomain, listening: [...listening], queries, forwarded: asked, failed };
  }

  /** What `wherry agent status` tells beyond the link. */
  get parts(): NodeParts {
    const listeners = (this.#proxy?.listeners() ?? []).map(({ listener, state, error }) =>
      ({ socket: listenerKey(listener), service: listener.service, state, backends: listener.backends.length, ...(error ? { lastError: error.message } : {}) }));
    const range = this.#range;
    return { pods: this.#pods.pods(), listeners, serviceRange: range && { cidr: range.cidr, local: range.route.holds }, dns: this.#dnsLine(), unsent: this.#session.stats, engineTrouble: this.#engineTrouble };
  }

  /** Where the master was last reached under a name, in case that DNS goes. */
  #lastAddress(name: string): string | undefined {
    const known = v.safeParse(MasterAddress, this.#state.notes.get(addressNote));
    return known.success && known.output.name === name ? known.output.address : undefined;
  }

  #reached(name: string, address: string): void {
    if (isIP(name) || this.#lastAddress(name) === address) return;
    this.#state.note(addressNote, { name, address }).catch((error: unknown) => this.#options.log.warn('cannot keep the master\'s address', { error }));
  }

  /** The state cannot be written, and why; or (undefined) it can again. */
  stateTrouble(why: string | undefined): void {
    this.#node.trouble(why);
    if (why === undefined) this.#nodeEvent('Normal', 'AgentStateWritable', 'The agent can write its state again');
    else this.#nodeEvent('Warning', 'AgentStateNotWritable', `The agent cannot write its state and takes on nothing new: ${why}`);
  }

  #welcome(welcome: Payload<'welcome'>): void {
    const { serviceCIDR, clusterDomain, clusterDNS, clusterCIDR = '' } = welcome;
    this.#network.welcome(welcome);
    const settings: ClusterSettings = { serviceCIDR, clusterDomain, clusterDNS, clusterCIDR, ...(welcome.nodeLabels ? { nodeLabels: welcome.nodeLabels } : {}), ...(welcome.nodeTaints ? { nodeTaints: welcome.nodeTaints } : {}) };
    // Whatever it was for is done.
    removeJoinToken(this.#options.config.dataDir).catch((error: unknown) => this.#options.log.warn('cannot remove the join token', { error }));
    void this.#serve(settings);
    if (JSON.stringify(this.#state.notes.get(clusterNote)) === JSON.stringify(settings)) return;
    this.#state.note(clusterNote, settings).catch((error: unknown) => this.#options.log.error('cannot keep the cluster settings', { error }));
  }

  /** Makes the service range local, once per range; resolves when it is, or is known not to be possible now. */
  async #serve(settings: ClusterSettings): Promise<void> {
    const { serviceCIDR, clusterDomain, clusterDNS, clusterCIDR } = this.#cluster = settings;
    this.#node.labelled(settings.nodeLabels);
    this.#node.tainted(settings.nodeTaints ?? []);
    if (clusterDNS) this.#dns.serve({ domain: clusterDomain, address: clusterDNS, ranges: [serviceCIDR, clusterCIDR].filter(Boolean) });
    if (!serviceCIDR || !this.#scope || this.#range?.cidr === serviceCIDR) return;
    this.#range?.scope.stop();
    const { config, clock, log } = this.#options;
    const scope = new Scope(this.#scope.signal);
    const route = createServiceRange({
      range: serviceCIDR, nodeAddress: config.nodeIP, clock, log,
      onChange: (holds, error) => {
        if (holds) this.#proxy?.retry();
        if (holds) this.#dns.retry();
        else this.#nodeEvent('Warning', 'ServiceRangeNotLocal', `Services can be reached by node port only: ${error?.message ?? 'the route is gone'}`);
      },
    });
    this.#range = { cidr: serviceCIDR, scope, route };
    // What is wrong, if anything, `onChange` tells and `run` goes on trying.
    await route.ensure().catch(() => undefined);
    scope.start((stop) => route.run(stop));
    this.#scope.start(() => scope.wait());
  }

  #route(): void {
    const { nodeName, nodeIP } = this.#options.config;
    const local = { nodeName, alone: this.#outage.ms !== undefined, pod: (namespace: string, name: string) => this.#pods.local(namespace, name) };
    const items = () => withLocalPods(this.#state.items.values(), local);
    const listeners = planRoutes(items(), { nodeName, nodeAddresses: [nodeIP] });
    // That one the agent serves itself, whatever the service says.
    this.#proxy?.apply(listeners.filter(({ address, port }) => address !== this.#cluster?.clusterDNS || port !== dnsPort));
    this.#dns.update(items);
  }

  #routing = false;
  /** Once for all pods that change within a moment. */
  #routeSoon(): void {
    if (this.#routing) return;
    this.#routing = true;
    this.#options.clock.after(routePauseMs, () => { this.#routing = false; this.#route(); });
  }

  /** What pods are told of cluster DNS; undefined for a cluster without. */
  #clusterDns(): { readonly servers: readonly string[]; readonly domain: string } | undefined {
    if (!this.#cluster?.clusterDomain) return undefined;
    const { clusterDNS, clusterDomain } = this.#cluster;
    return { servers: clusterDNS ? [clusterDNS] : [], domain: clusterDomain };
  }

  #dnsProblem(error: NodeJS.ErrnoException): void {
    // Told as what it is: a range that is not local.
    if (error.code === 'EADDRNOTAVAIL' && !this.#range?.route.holds) return;
    this.#nodeEvent('Warning', 'FailedDNSListener', error.message);
  }

  #listenerProblem({ service, protocol, address, port }: Listener, error: NodeJS.ErrnoException): void {
    // Without the route every cluster address is missing, which is one problem and told as one.
    if (error.code === 'EADDRNOTAVAIL' && !this.#range?.route.holds) return;
    this.#nodeEvent('Warning', 'FailedServiceListener', `Service ${service} cannot be served at ${address}:${port}/${protocol}: ${error.message}`);
  }

  #nodeEvent(type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { nodeName } = this.#options.config;
    this.#events.event({ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName }, type, reason, message);
  }
}
