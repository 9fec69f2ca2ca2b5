import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { networkTest, patchPeers, peersDigest, type Peer } from '../../shared/peers.ts';
import type { Payload } from '../../shared/protocol.ts';
import { Firewall } from './firewall.ts';
import { ownNetworks } from './own-networks.ts';
import { neighbours, parseRoutes, planPeerRoutes, routeProtocol, type RouteInput } from './peer-routes.ts';
import { runCommand, type RunCommand } from './run-command.ts';

/** What is needed of the engine. */
export interface EngineNetworks {
  /** Subnets of the bridge that containers are on unless told otherwise. */
  defaultSubnets(): Promise<readonly string[]>;
  /** Makes a bridge network of that subnet unless there is one of that name and subnet. @throws RuntimeError when it cannot */
  ensureNetwork(network: { readonly name: string; readonly bridge: string; readonly subnet: string; readonly owner: string }): Promise<void>;
}

/** Where pods are: on a bridge of the agent's, with the cluster's addresses, or on the engine's own. */
export type PodNetworkMode = 'auto' | 'own' | 'bridge';

export interface PodNetworkOptions {
  readonly mode: PodNetworkMode;
  readonly nodeName: string;
  readonly nodeIP: string;
  /** Tells this agent's network from that of another on the same engine. */
  readonly owner: string;
  readonly engine: EngineNetworks;
  readonly clock: Clock;
  readonly log: Log;
  /** What was kept last, and how to keep it. */
  readonly kept: unknown;
  readonly keep: (value: Kept) => Promise<void>;
  /** The network is as wanted (undefined), or why it is not; called on changes. */
  readonly onProblem: (why: string | undefined) => void;
  /** Routes have changed. */
  readonly onRoutes: () => void;
  readonly run?: RunCommand;
  readonly networks?: () => { readonly shared: readonly string[] };
  /** Between two looks at what is there. Default 60 s. */
  readonly checkMs?: number;
}

/** Name of the state's note that holds {@link Kept}. */
export const podNetworkNote = 'pod-network';

export const Kept = v.object({
  podCIDR: v.string(), clusterCIDR: v.string(), own: v.boolean(),
  peers: v.array(v.tuple([v.string(), v.string(), v.string()])),
});
export type Kept = v.InferOutput<typeof Kept>;

/** Name of the engine's network, and where it is the engine's own bridge. */
const engineBridge = 'bridge';
/** How long the first pods of a node may wait to be told of its neighbours. */
const firstWaitMs = 5_000;

/**
 * The node's pod network: its own bridge with `spec.podCIDR` where other nodes are on the same network, routes to those
 * nodes' pods, and what the packet filter must let through. All of it is kept and works without a master.
 */
export class PodNetwork {
  readonly #options: PodNetworkOptions;
  readonly #run: RunCommand;
  readonly #firewall: Firewall;
  #known: Kept | undefined;
  /** Since the start the master has said who the neighbours are, or will not. */
  #told = false;
  #waiting: (() => void)[] = [];
  #made: string | undefined;
  #problem: string | undefined;
  /** No route of the agent's is left, and none is wanted: nothing to look after. */
  #idle = false;
  #work: Promise<void> = Promise.resolve();

  constructor(options: PodNetworkOptions) {
    this.#options = options;
    this.#run = options.run ?? runCommand;
    this.#firewall = new Firewall(this.#run);
    const kept = v.safeParse(Kept, options.kept);
    if (kept.success) this.#known = kept.output;
  }

  /** Name of the engine's network for a new pod. Never rejects: without the wanted one, pods are on the engine's bridge. */
  async network(): Promise<string> {
    if (this.#options.mode === engineBridge) return engineBridge;
    if (!this.#told && !this.#known) await this.#wait();
    await this.#settle();
    return this.#made ?? engineBridge;
  }

  /** The network that pods are on now, for a look from outside. */
  get current(): { readonly network: string; readonly podCIDR: string; readonly neighbours: number; readonly problem: string | undefined } {
    return { network: this.#made ?? engineBridge, podCIDR: this.#made ? this.#known?.podCIDR ?? '' : '', neighbours: this.#near().length, problem: this.#problem };
  }

  welcome({ podCIDR, clusterCIDR = '' }: Pick<Payload<'welcome'>, 'podCIDR' | 'clusterCIDR'>): void {
    if (!clusterCIDR || !podCIDR) return this.#heard();
    const { own = false, peers = [] } = this.#known ?? {};
    if (this.#known?.podCIDR === podCIDR && this.#known.clusterCIDR === clusterCIDR) return;
    this.#expected = { podCIDR, clusterCIDR, own, peers };
    if (this.#known) this.#learn(this.#expected);
  }

  #expected: Kept | undefined;

  /** What to ask the master for. */
  wanted(): Payload<'peersWanted'> {
    return { networks: [...this.#shared()], held: this.#known ? peersDigest(this.#known.peers) : '' };
  }

  changed(change: Payload<'peers'>): void {
    const known = this.#known ?? this.#expected;
    if (known) this.#learn({ ...known, peers: patchPeers(known.peers, change).map(([name, address, pods]) => [name, address, pods]) });
    this.#heard();
  }

  /** Keeps bridge, routes and rules there until the abort; they stay afterwards. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#settle();
      await sleep(this.#options.clock, this.#options.checkMs ?? 60_000, signal);
    }
    await this.#work;
  }

  #heard(): void {
    this.#told = true;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(firstWaitMs, resolve);
      this.#waiting.push(() => { cancel(); resolve(); });
    });
  }

  #learn(known: Kept): void {
    this.#known = known;
    void this.#settle().then(() => this.#options.keep(this.#known!)).catch((error: unknown) => this.#options.log.warn('cannot keep the pod network', { error }));
  }

  #shared(): readonly string[] {
    return (this.#options.networks ?? ownNetworks)().shared;
  }

  #near(): Peer[] {
    return this.#known ? neighbours(this.#input(this.#known)) : [];
  }

  #input({ podCIDR, clusterCIDR, peers }: Kept): Omit<RouteInput, 'routes'> {
    const { nodeName, nodeIP } = this.#options;
    return { nodeName, nodeIP, networks: this.#shared(), podCIDR, clusterCIDR, peers };
  }

  /** One after the other; never rejects. */
  #settle(): Promise<void> {
    return this.#work = this.#work.then(() => this.#settleOnce());
  }

  async #settleOnce(): Promise<void> {
    const known = this.#known;
    if (!known || this.#options.mode === engineBridge) return;
    try {
      if (await this.#isNumberedByHand(known)) return;
      await this.#ensureBridge(known);
      await this.#ensureRoutes(known);
      this.#tell(undefined);
    } catch (error) {
      this.#tell((error as Error).message);
    }
  }

  /** Somebody has given the engine's bridge addresses of the cluster: that is this node's pod network then, and its routes are theirs too. */
  async #isNumberedByHand({ clusterCIDR, own }: Kept): Promise<boolean> {
    const { mode, engine } = this.#options;
    if (mode !== 'auto' || own || this.#near().length === 0) return false;
    const isPods = networkTest([clusterCIDR]);
    return (await engine.defaultSubnets()).some((subnet) => isPods(subnet.split('/')[0] ?? ''));
  }

  async #ensureBridge(known: Kept): Promise<void> {
    const { mode, engine, owner } = this.#options;
    const own = known.own || mode === 'own' || this.#near().length > 0;
    if (!own) return;
    const { name, bridge } = networkNames(owner);
    try {
      await this.#checkFree(known.podCIDR);
      await engine.ensureNetwork({ name, bridge, subnet: known.podCIDR, owner });
      this.#made = name;
    } catch (error) {
      this.#made = undefined;
      throw new Error(`pods are on the engine's own bridge, where other nodes reach them through services only: ${(error as Error).message}`, { cause: error });
    }
    if (!known.own && this.#known) this.#known = { ...this.#known, own };
  }

  /** @throws when the addresses are in use elsewhere: a bridge with them would cut this host off from there */
  async #checkFree(podCIDR: string): Promise<void> {
    const isPod = networkTest([podCIDR]);
    const base = podCIDR.split('/')[0] ?? '';
    const taken = this.#shared().find((network) => isPod(network.split('/')[0] ?? '') || networkTest([network])(base));
    if (taken) throw new Error(`the node's podCIDR ${podCIDR} overlaps with ${taken}, a network of this host; start the master with another --cluster-cidr`);
    const routed = parseRoutes(await this.#run('ip', ['-4', 'route', 'show'])).find(({ to, via }) => via !== '' && to === podCIDR);
    if (routed) throw new Error(`this host has a route to the node's podCIDR ${podCIDR} via ${routed.via}`);
  }

  async #ensureRoutes(known: Kept): Promise<void> {
    const needed = this.#made !== undefined || this.#near().length > 0;
    if (this.#idle && !needed) return;
    const routes = parseRoutes(await this.#run('ip', ['-4', 'route', 'show']));
    const { set, remove } = planPeerRoutes({ ...this.#input(known), routes });
    for (const { to, via } of set) await this.#run('ip', ['-4', 'route', 'replace', to, 'via', via, 'proto', routeProtocol]);
    for (const { to, via } of remove) await this.#run('ip', ['-4', 'route', 'del', to, 'via', via, 'proto', routeProtocol]);
    if (set.length + remove.length > 0) {
      this.#options.log.info('routes to other nodes\' pods changed', { set: set.map(({ to, via }) => `${to} via ${via}`), removed: remove.map(({ to }) => to) });
      this.#options.onRoutes();
    }
    this.#idle = !needed;
    if (needed) await this.#firewall.ensure(known.clusterCIDR, this.#made ? known.podCIDR : undefined);
  }

  #tell(problem: string | undefined): void {
    if (this.#problem === problem) return;
    this.#problem = problem;
    if (problem !== undefined) this.#options.log.warn('the pod network is not as it should be', { problem });
    this.#options.onProblem(problem);
  }
}

const defaultOwner = '/var/lib/wherry/agent';

/** `wherry` on a host with one agent in the usual place; a bridge's name has 15 characters at most. */
export function networkNames(owner: string): { readonly name: string; readonly bridge: string } {
  if (owner === defaultOwner) return { name: 'wherry', bridge: 'wherry0' };
  const mark = createHash('sha256').update(owner).digest('hex').slice(0, 8);
  return { name: `wherry-${mark}`, bridge: `wh-${mark}` };
}
