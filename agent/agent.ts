import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Clock } from '../shared/clock.ts';
import type { Log } from '../shared/log.ts';
import type { Payload } from '../shared/protocol.ts';
import { Scope } from '../shared/scope.ts';
import { kubernetesVersion, version } from '../shared/version.ts';
import type { AgentConfig } from './config.ts';
import { enrol, type Identity } from './enrol.ts';
import { createProxy, type Proxy } from './net/proxy.ts';
import { planRoutes, type Listener } from './net/routes.ts';
import { createServiceRange, type ServiceRange } from './net/service-range.ts';
import { chooseTcpEngine } from './net/tcp.ts';
import { machineFacts } from './node-facts.ts';
import { NodeReporter } from './node.ts';
import { EventLog } from './pods/events.ts';
import { PodManager } from './pods/manager.ts';
import { pauseImageName, pauseImageTar, type PauseArch } from './runtime/pause-image.ts';
import { DockerRuntime } from './runtime/docker.ts';
import { connector } from './session/connect.ts';
import { Session } from './session.ts';
import { Journal } from './state/journal.ts';
import type { State } from './state/state.ts';
import { openStream } from './streams/open.ts';

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
}

/** What the node must know of the cluster even when the master is away; the note `cluster` in the state. */
const ClusterSettings = v.object({ serviceCIDR: v.string() });
type ClusterSettings = v.InferOutput<typeof ClusterSettings>;
const clusterNote = 'cluster';

const pauseArchs: Readonly<Record<string, PauseArch>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm' };

/**
 * Runs an agent until `signal` aborts, and leaves all containers as they are. The one place that constructs its parts.
 * Everything but the first enrolment works without a master.
 * @throws Error with a line for the user when the data directory, the token or the identity cannot be used
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { config, clock, random, log } = options;
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const state = await Journal.open({ directory: join(config.dataDir, 'state'), log: log.named('state') });
  try {
    const identity = await enrol({
      directory: join(config.dataDir, 'identity'), server: config.master, token: config.token, nodeName: config.nodeName,
      clock, random, log: log.named('enrol'),
    }, signal);
    if (identity) await new Agent(options, state, identity, (await machineFacts()).bootId).run(signal);
  } finally {
    await state.close();
  }
}

class Agent {
  readonly #options: AgentOptions;
  readonly #state: State;
  readonly #node: NodeReporter;
  readonly #pods: PodManager;
  readonly #session: Session;
  readonly #events: EventLog;
  readonly #runtime: DockerRuntime;
  #proxy: Proxy | undefined;
  #range: { readonly cidr: string; readonly scope: Scope; readonly route: ServiceRange } | undefined;
  #scope: Scope | undefined;

  constructor(options: AgentOptions, state: State, identity: Identity, bootId: string) {
    const { config, clock, random, log } = options;
    this.#options = options;
    this.#state = state;
    this.#runtime = new DockerRuntime({ host: config.dockerHost });
    this.#events = new EventLog({ clock, report: (event) => this.#session.event(event) });
    this.#node = new NodeReporter({
      runtime: this.#runtime, clock, log: log.named('node'), name: config.nodeName, ips: [config.nodeIP],
      kubeletVersion: kubernetesVersion.gitVersion, labels: config.nodeLabels, report: (node) => this.#session.setNode(node),
    });
    this.#pods = new PodManager({
      runtime: this.#runtime, state, clock, log: log.named('pods'), events: this.#events,
      root: join(config.dataDir, 'pods'), owner: config.dataDir,
      pause: { image: pauseImageName, archive: () => pauseImageTar(pauseArchs[process.arch] ?? 'amd64') },
      node: () => this.#node.facts(), cluster: () => undefined,
      report: (report) => this.#session.report(report), engine: (up) => this.#node.engine(up),
    });
    this.#session = new Session({
      node: config.nodeName, agentVersion: version, bootId, state, clock, random, log: log.named('session'),
      connect: connector({ server: config.master ?? identity.server, key: identity.key, certificate: identity.certificate, ca: identity.ca }),
      onWelcome: (settings) => this.#welcome(settings),
      openStream: (request, streamSignal, stream) => openStream(request, stream, {
        runtime: this.#runtime, target: (wanted) => this.#pods.logTarget(wanted),
        running: (wanted) => this.#pods.runningContainer(wanted), address: (wanted) => this.#pods.address(wanted),
      }, streamSignal),
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { config, clock, random, log } = this.#options;
    const scope = this.#scope = new Scope(signal);
    await this.#node.prepare();
    const tcp = await chooseTcpEngine({ clock, log: log.named('proxy') });
    const proxy = this.#proxy = createProxy({ clock, log: log.named('proxy'), random, tcp, onProblem: (listener, error) => this.#listenerProblem(listener, error) });
    const known = v.safeParse(ClusterSettings, this.#state.notes.get(clusterNote));
    if (known.success) await this.#serve(known.output);
    this.#route();
    const unsubscribe = this.#state.subscribe((keys) => { if (keys.some((key) => /^(service|endpoints)\//.test(key))) this.#route(); });
    log.info('started', { version, node: config.nodeName, dataDir: config.dataDir, revision: this.#state.held.revision });
    for (const part of [proxy, this.#node, this.#pods, this.#session]) scope.start((stop) => part.run(stop));
    try {
      await scope.wait();
    } finally {
      unsubscribe();
    }
  }

  #welcome({ serviceCIDR }: Payload<'welcome'>): void {
    const settings: ClusterSettings = { serviceCIDR };
    void this.#serve(settings);
    if (JSON.stringify(this.#state.notes.get(clusterNote)) === JSON.stringify(settings)) return;
    this.#state.note(clusterNote, settings).catch((error: unknown) => this.#options.log.error('cannot keep the cluster settings', { error }));
  }

  /** Makes the service range local, once per range; resolves when it is, or is known not to be possible now. */
  async #serve({ serviceCIDR }: ClusterSettings): Promise<void> {
    if (!serviceCIDR || !this.#scope || this.#range?.cidr === serviceCIDR) return;
    this.#range?.scope.stop();
    const { config, clock, log } = this.#options;
    const scope = new Scope(this.#scope.signal);
    const route = createServiceRange({
      range: serviceCIDR, nodeAddress: config.nodeIP, clock, log,
      onChange: (holds, error) => {
        if (holds) this.#proxy?.retry();
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
    this.#proxy?.apply(planRoutes(this.#state.items.values(), { nodeName, nodeAddresses: [nodeIP] }));
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
