import { setMaxListeners } from 'node:events';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { Log } from '../../shared/log.ts';
import type { PodReport } from '../../shared/protocol.ts';
import { Scope } from '../../shared/scope.ts';
import { label, sandboxName } from '../runtime/labels.ts';
import { appArmorEnabled } from '../runtime/app-armor.ts';
import { oomScoreFloor } from '../runtime/oom.ts';
import type { ContainerSummary, Runtime, RuntimeEvent } from '../runtime/runtime.ts';
import type { State } from '../state/state.ts';
import { Volumes } from '../volumes/index.ts';
import type { PodTokens } from '../volumes/tokens.ts';
import { admit } from './admit.ts';
import type { Failure } from './ending.ts';
import type { EventSink } from './events.ts';
import type { Tenant } from './evictor.ts';
import type { NodeFacts } from './fields.ts';
import { keepCollecting } from './gc.ts';
import { Images } from './images.ts';
import { Leftovers } from './leftovers.ts';
import { LocalPods, type LocalPod } from './local-pods.ts';
import { logTarget } from './log-target.ts';
import { Lookup } from './lookup.ts';
import { PodDisk } from './pod-disk.ts';
import type { OutageView, PodContext } from './pod-state.ts';
import type { ClusterDns, HostResolver } from './resolv-conf.ts';
import { Stats, type Running } from './stats.ts';
import { StatusNotes } from './status-notes.ts';
import type { Signal } from './thresholds.ts';
import { currentOf } from './view.ts';
import { StorageLimits } from './storage-limits.ts';
import { watchVolumeLimits } from './volume-limits.ts';
import { watchEngine } from './watch-engine.ts';
import { PodWorker } from './worker.ts';

export interface PodManagerOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
  /** Tokens for projected volumes. */
  readonly tokens?: PodTokens;
  /** Directory for volumes, on the file system that the engine sees. */
  readonly root: string;
  /** Tells this agent's containers from those of others on the same engine. Default `wherry`. */
  readonly owner?: string;
  /** The sandbox image: its name, and its `docker save` archive for an engine that lacks it. */
  readonly pause: { readonly image: string; readonly archive: () => Promise<Uint8Array> | Uint8Array };
  /** The node as pods are told of it; asked for again each time. */
  readonly node: () => NodeFacts;
  /** Cluster DNS, once known. */
  readonly cluster: () => ClusterDns | undefined;
  /** Resolver settings of the host; none by default. */
  readonly hostResolver?: () => Promise<HostResolver>;
  /** Receives each pod's status when it changes, and all of them at start; of one pod the latest counts. */
  readonly report: (report: PodReport) => void;
  /** Told when the engine stops answering, and why, and when it does again. */
  readonly engine?: (up: boolean, why?: string) => void;
  /** Told when the address or readiness of a pod of this node changed; see {@link PodManager.local}. */
  readonly onLocal?: () => void;
  /** Name of the engine's network for a new pod; its own bridge without it. */
  readonly bridge?: () => Promise<string>;
  /** Without it, the master counts as there. */
  readonly outage?: OutageView;
  /** Whether containers of pods that the state does not know may be removed: not when it may have lost some. Default: always. */
  readonly mayRemove?: () => boolean;
  /** What the node lacks; nothing by default. */
  readonly pressures?: () => readonly string[];
  /** Kernel parameters that pods may set beside the safe ones; an asterisk at the end stands for any. */
  readonly unsafeSysctls?: readonly string[];
  /** Processes that each container may have; no limit by default. */
  readonly podMaxPids?: number;
  /** Where seccomp profiles of the node are. Default: where the kubelet has them, /var/lib/kubelet/seccomp. */
  readonly seccompRoot?: string;
  /** How often everything is compared with the engine though no event said so. Default 60 s. */
  readonly resyncMs?: number;
}

/** A pod that somebody asks for. */
export interface PodRequest { readonly namespace: string; readonly pod: string; readonly uid: string }

const noResolver = { servers: [], searches: [], options: [] };
const namingOf = ({ cluster, hostResolver }: PodManagerOptions): PodContext['naming'] => ({
  cluster: () => cluster() ?? { servers: [], domain: 'cluster.local' },
  host: hostResolver ?? (() => Promise.resolve({ own: noResolver, forPods: noResolver })),
});

/**
 * All pods of this node: one {@link PodWorker} for each `pod` item of the state, woken by changes of the state and by
 * events of the engine. Containers whose pod nobody knows are {@link Leftovers}.
 */
export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #context: PodContext;
  readonly #lookup: Lookup;
  /** By uid. */
  readonly #workers = new Map<string, PodWorker>();
  readonly #notes: StatusNotes;
  readonly #leftovers: Leftovers;
  readonly #disk: PodDisk;
  readonly #local: LocalPods;
  #scope: Scope | undefined;
  #stats: Stats | undefined;
  #oomFloor = 0;
  #appArmor = false;
  #pauseLoad: Promise<void> | undefined;
  /** Nothing is started before the containers that are there have been looked at. */
  #listed = false;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    const { runtime, state, clock, log, events, root, node } = options;
    this.#lookup = new Lookup({ state, node, podIPs: (uid) => (this.#workers.get(uid)?.status?.podIPs ?? []).map(({ ip }) => ip ?? '') });
    this.#context = {
      runtime, clock, log, events, owner: options.owner ?? 'wherry', pauseImage: options.pause.image, node, oomFloor: () => this.#oomFloor,
      volumes: new Volumes({ root, sources: this.#lookup, memoryBytes: () => node().memoryBytes, ...(options.tokens ? { tokens: options.tokens } : {}) }), images: new Images({ runtime, clock, log }),
      loadPause: () => this.#loadPause(), naming: namingOf(options), references: (namespace) => this.#lookup.references(namespace),
      services: () => this.#lookup.services(), bridge: options.bridge ?? (() => Promise.resolve('bridge')), outage: options.outage ?? { ms: undefined, keep: () => {} },
      admit: (pod) => this.#admit(pod), seccompRoot: options.seccompRoot ?? '/var/lib/kubelet/seccomp', podMaxPids: options.podMaxPids,
    };
    const { owner, volumes, pauseImage } = this.#context;
    this.#notes = new StatusNotes({ state, log });
    this.#leftovers = new Leftovers({
      runtime, log, volumes, notes: this.#notes, isKnown: (uid) => this.#workers.has(uid), mayRemove: () => this.#mayRemove, start: (work) => this.#scope?.start(work),
    });
    this.#disk = new PodDisk({ runtime, log, volumes, root, owner, keep: pauseImage, pods: this.#workers });
    this.#local = new LocalPods({ nodeIps: () => node().ips, onChange: () => options.onLocal?.() });
  }

  #admit(pod: Pod): Failure | undefined {
    const others = [...this.#workers.values()].filter((worker) => worker.active && worker.pod.metadata.uid !== pod.metadata.uid).map((worker) => worker.pod);
    return admit({ pod, others, node: this.#options.node(), appArmor: this.#appArmor, unsafeSysctls: this.#options.unsafeSysctls ?? [], pressures: this.#options.pressures?.() ?? [] });
  }

  /** The container whose log is asked for, or why there is none; undefined when the pod is not here. */
  logTarget(request: PodRequest & { readonly container: string; readonly previous: boolean }) {
    const worker = this.#find(request);
    return worker && logTarget(worker.pod, worker.views, worker.status, request.container, request.previous);
  }

  /** Id of a pod's running container of that name, `''` when none runs; undefined when the pod is not here. */
  runningContainer(request: PodRequest & { readonly container: string }): string | undefined {
    const worker = this.#find(request);
    const current = worker && currentOf(worker.views, request.container);
    return worker && (current?.state === 'running' ? current.id : '');
  }

  /** Where a pod's ports are: its address or, on the host's network, this machine's; `''` while it has none; undefined when it is not here. */
  address(request: PodRequest): string | undefined {
    const worker = this.#find(request);
    return worker && (worker.pod.spec.hostNetwork ? '127.0.0.1' : worker.status?.podIP ?? '');
  }

  /** An empty uid fits any. */
  #find(request: PodRequest): PodWorker | undefined {
    for (const [uid, worker] of this.#workers) {
      const { namespace, name } = worker.pod.metadata;
      if (namespace === request.namespace && name === request.pod && (request.uid ? uid === request.uid : this.#item(worker.pod))) return worker;
    }
    return undefined;
  }

  /** Pods of this node with the status last reported. */
  *pods(): Generator<{ readonly pod: Pod; readonly status: PodStatus | undefined }> {
    for (const { pod, status } of this.#workers.values()) yield { pod, status };
  }

  /** Pods of this node that have not ended, with those of their containers that run; the sandbox is none of them. */
  *running(): Generator<{ readonly pod: Pod; readonly containers: readonly Running[] }> {
    for (const { pod, active, views } of this.#workers.values()) {
      const containers = views.filter(({ state, name }) => state === 'running' && name !== sandboxName).map(({ id, name }) => ({ id, name }));
      if (active) yield { pod, containers };
    }
  }

  /** What the node and its containers use, measured now. */
  get stats(): Stats {
    return (this.#stats ??= new Stats({ runtime: this.#options.runtime, clock: this.#options.clock, running: () => this.running() }));
  }

  /** Pods of this node as those see them who may evict one. */
  tenants(): Iterable<Tenant> {
    return this.#workers.values();
  }

  /** See {@link PodDisk.use}. */
  diskUse(pods: readonly Pod[], signal: Signal): Promise<Map<string, Map<string, number>>> {
    return this.#disk.use(pods, signal);
  }

  /** See {@link PodDisk.makeRoom}. */
  makeRoom(signal: Signal): Promise<void> {
    return this.#disk.makeRoom(signal);
  }

  /** A pod's present addresses and readiness; `gone` when it is not (or no longer) here, undefined while nobody has looked. */
  local(namespace: string, name: string): LocalPod | 'gone' | undefined {
    if (!this.#listed) return undefined;
    const item = this.#options.state.items.get(`pod/${namespace}/${name}`);
    const worker = item?.type === 'pod' ? this.#workers.get(item.object.metadata.uid ?? '') : undefined;
    if (!worker) return 'gone';
    return worker.looked ? this.#local.of(worker) : undefined;
  }

  /** Something in a pod's files is to be written anew. */
  filesChanged(uid: string): void {
    this.#workers.get(uid)?.referencesChanged();
  }

  /** Every status once more, as after a reconnect to a master that lost them. */
  reportAll(): void {
    for (const worker of this.#workers.values()) worker.reportAgain();
  }

  /** The link to the master came or went. */
  linkChanged(): void {
    for (const worker of this.#workers.values()) worker.wake();
    this.#leftovers.sweep();
    // The master has said what there is, which a state that lost something could not.
    if (this.#listed) this.#scope?.start(() => this.#leftovers.release());
  }

  /** An agent that has never been told anything cannot know what belongs to nobody. */
  get #mayRemove(): boolean {
    return this.#options.state.held.revision > 0 && (this.#options.mayRemove?.() ?? true);
  }

  /** Works until `signal` aborts, and then leaves all containers as they are. */
  async run(signal: AbortSignal): Promise<void> {
    [this.#oomFloor, this.#appArmor] = await Promise.all([oomScoreFloor(), appArmorEnabled()]);
    const scope = new Scope(signal);
    // Each pod waits for it.
    setMaxListeners(0, scope.signal);
    this.#scope = scope;
    const unsubscribe = this.#options.state.subscribe((keys) => this.#stateChanged(keys));
    const { runtime, clock, log, engine, resyncMs } = this.#options;
    const { volumes, images, pauseImage } = this.#context;
    scope.start((s) => watchEngine({ runtime, clock, log, engine, resyncMs, resync: (all) => this.#resync(all), onEvent: (event) => this.#onEvent(event) }, s));
    scope.start((s) => keepCollecting({ runtime, clock, log, keep: pauseImage, lastUsedMs: (id) => images.lastUsedMs(id) }, s));
    scope.start((s) => watchVolumeLimits({ clock, log, volumes, storage: new StorageLimits({ clock, runtime, volumes }), pods: () => this.#workers.values() }, s));
    try {
      await scope.wait();
    } finally {
      unsubscribe();
    }
  }

  #loadPause(): Promise<void> {
    const { pause, runtime } = this.#options;
    this.#pauseLoad ??= (async () => runtime.load(await pause.archive()))().finally(() => { this.#pauseLoad = undefined; });
    return this.#pauseLoad;
  }

  #item(pod: Pod): Pod | undefined {
    const item = this.#options.state.items.get(`pod/${pod.metadata.namespace ?? ''}/${pod.metadata.name ?? ''}`);
    return item?.type === 'pod' && item.object.metadata.uid === pod.metadata.uid ? item.object : undefined;
  }

  #stateChanged(keys: readonly string[]): void {
    if (!this.#listed) return;
    const pods = keys.filter((key) => key.startsWith('pod/'));
    if (pods.length > 0) this.#matchState();
    const others = keys.filter((key) => key.startsWith('configMap/') || key.startsWith('secret/') || key.startsWith('claim/'));
    if (others.length === 0) return;
    for (const worker of this.#workers.values()) {
      const namespace = worker.pod.metadata.namespace ?? '';
      if (others.some((key) => key.split('/')[1] === namespace && this.#lookup.mentions(worker.pod, key))) worker.referencesChanged();
    }
  }

  /** Workers as the state has pods: new ones, changed ones, and those that are no longer wanted. */
  #matchState(): void {
    for (const worker of this.#workers.values()) if (!this.#item(worker.pod)) worker.remove();
    for (const item of this.#options.state.items.values()) {
      if (item.type !== 'pod') continue;
      const worker = this.#workers.get(item.object.metadata.uid ?? '');
      if (!worker) this.#begin(item.object, this.#leftovers.of(item.object.metadata.uid ?? ''));
      else if (worker.pod !== item.object) worker.update(item.object);
    }
  }

  #begin(pod: Pod, found: readonly ContainerSummary[]): void {
    const uid = pod.metadata.uid ?? '';
    const worker = new PodWorker({
      context: this.#context, pod, status: this.#notes.last(uid), found: found.length > 0, report: (p, status, gone) => this.#report(p, status, gone),
    });
    this.#workers.set(uid, worker);
    worker.resync(found, true);
    this.#scope?.start(async (signal) => {
      await this.#runWorker(worker, signal);
      if (signal.aborted) return;
      this.#workers.delete(uid);
      this.#local.changed(uid, undefined);
      this.#notes.forget(uid);
      // The same pod may have been assigned again in the meantime.
      this.#matchState();
    });
  }

  /** A worker that fails does so alone, and is tried again. */
  async #runWorker(worker: PodWorker, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    for (;;) {
      try {
        return await worker.run(signal);
      } catch (error) {
        log.error('pod worker failed', { pod: worker.pod.metadata.name, error });
        await sleep(clock, 10_000, signal);
        if (signal.aborted) return;
      }
    }
  }

  #report(pod: Pod, status: PodStatus, gone: boolean): void {
    const uid = pod.metadata.uid ?? '';
    this.#notes.keep(pod, status);
    this.#local.changed(uid, this.#workers.get(uid));
    this.#options.report({ namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '', uid, status: status as Record<string, unknown>, gone });
  }

  #onEvent(event: RuntimeEvent): void {
    if (event.labels[label.owner] !== this.#context.owner) return;
    const worker = this.#workers.get(event.labels[label.podUid] ?? '');
    if (!worker) return;
    const view = worker.views.find((v) => v.id === event.id);
    // The worker's own doing, of which it knows already.
    if (event.type === 'start' && (!view || view.state !== 'exited')) return;
    if (event.type === 'destroy' && !view) return;
    worker.changed(event.id);
  }

  /** Compares everything with the engine, `all` of it anew when events were missed. The first time, workers are made with what is there: adoption. */
  async #resync(all: boolean): Promise<void> {
    const { runtime, state } = this.#options;
    const found = await runtime.containers(label.owner, this.#context.owner);
    const byPod = new Map<string, ContainerSummary[]>();
    for (const summary of found) {
      const uid = summary.labels[label.podUid] ?? '';
      byPod.set(uid, [...(byPod.get(uid) ?? []), summary]);
    }
    if (!this.#listed) {
      for (const item of state.items.values()) if (item.type === 'pod') this.#begin(item.object, byPod.get(item.object.metadata.uid ?? '') ?? []);
      this.#listed = true;
      this.#scope?.start(() => this.#leftovers.release());
    } else {
      for (const [uid, worker] of this.#workers) {
        worker.resync(byPod.get(uid) ?? [], all);
        if (all) worker.referencesChanged();
      }
    }
    this.#leftovers.found(byPod);
  }
}
