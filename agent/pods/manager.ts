import { setMaxListeners } from 'node:events';
import { stat } from 'node:fs/promises';
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
import { forcedGraceSeconds, type Failure } from './ending.ts';
import type { EventSink } from './events.ts';
import type { Tenant } from './evictor.ts';
import type { NodeFacts } from './fields.ts';
import { collectImages } from './gc.ts';
import { makeRoom } from './make-room.ts';
import { Images } from './images.ts';
import type { OutageView, PodContext } from './pod-state.ts';
import { logTarget } from './log-target.ts';
import { Lookup } from './lookup.ts';
import type { ClusterDns, HostResolver } from './resolv-conf.ts';
import { Stats, type Running } from './stats.ts';
import type { Signal } from './thresholds.ts';
import { currentOf, sandboxOf } from './view.ts';
import { watchVolumeLimits } from './volume-limits.ts';
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
  /** Told when the engine stops answering, and when it does again. */
  readonly engine?: (up: boolean) => void;
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
  /** Where seccomp profiles of the node are. Default: where the kubelet has them, /var/lib/kubelet/seccomp. */
  readonly seccompRoot?: string;
  /** How often everything is compared with the engine though no event said so. Default 60 s. */
  readonly resyncMs?: number;
}

/** A pod that somebody asks for. */
export interface PodRequest { readonly namespace: string; readonly pod: string; readonly uid: string }

/** What of a status is worth a write to flash: the rest is read from the containers again after a restart. */
const milestone = (status: PodStatus | undefined): string =>
  JSON.stringify([status?.phase, status?.reason, status?.conditions?.map((condition) => [condition.type, condition.status])]);

const noResolver = { servers: [], searches: [], options: [] };
const namingOf = ({ cluster, hostResolver }: PodManagerOptions): PodContext['naming'] => ({
  cluster: () => cluster() ?? { servers: [], domain: 'cluster.local' },
  host: hostResolver ?? (() => Promise.resolve({ own: noResolver, forPods: noResolver })),
});

const noteOf = (uid: string): string => `pod-status/${uid}`;

/**
 * All pods of this node: one {@link PodWorker} for each `pod` item of the state, woken by changes of the state and by
 * events of the engine. Containers whose pod nobody knows are ended and removed.
 */
export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #context: PodContext;
  readonly #lookup: Lookup;
  /** By uid. */
  readonly #workers = new Map<string, PodWorker>();
  readonly #orphans = new Set<string>();
  /** Containers of pods that are not known, by pod uid, as they were last seen. */
  #unclaimed: ReadonlyMap<string, readonly ContainerSummary[]> = new Map();
  #scope: Scope | undefined;
  #stats: Stats | undefined;
  #oomFloor = 0;
  #appArmor = false;
  #pauseLoad: Promise<void> | undefined;
  /** Nothing is started before the containers that are there have been looked at. */
  #listed = false;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    const { runtime, clock, log, events } = options;
    this.#lookup = new Lookup({ state: options.state, node: options.node, podIPs: (uid) => (this.#workers.get(uid)?.status?.podIPs ?? []).map(({ ip }) => ip ?? '') });
    this.#context = {
      runtime, clock, log, events, owner: options.owner ?? 'wherry', pauseImage: options.pause.image, node: options.node, oomFloor: () => this.#oomFloor,
      volumes: new Volumes({ root: options.root, sources: this.#lookup, memoryBytes: () => options.node().memoryBytes, ...(options.tokens ? { tokens: options.tokens } : {}) }), images: new Images({ runtime, clock, log }),
      loadPause: () => this.#loadPause(), naming: namingOf(options), references: (namespace) => this.#lookup.references(namespace),
      services: () => this.#lookup.services(), bridge: options.bridge ?? (() => Promise.resolve('bridge')), outage: options.outage ?? { ms: undefined, keep: () => {} },
      admit: (pod) => this.#admit(pod), seccompRoot: options.seccompRoot ?? '/var/lib/kubelet/seccomp',
    };
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

  /** Whether the engine keeps images and containers on another file system than the one that volumes are on. */
  async #engineApart(): Promise<boolean> {
    const [{ device }, { dev }] = await Promise.all([this.#options.runtime.disk(), stat(this.#options.root)]);
    return device !== undefined && device !== dev;
  }

  /**
   * Bytes that pods take of the disk that a signal is of, by uid: what containers have written, by name, and under `''` what is
   * in emptyDirs. Where the engine has a disk of its own, the former are on that one alone.
   */
  async diskUse(pods: readonly Pod[], signal: Signal): Promise<Map<string, Map<string, number>>> {
    const apart = await this.#engineApart();
    const [ofNode, ofEngine] = [!apart || signal.startsWith('nodefs.'), !apart || signal.startsWith('imagefs.')];
    const written = ofEngine ? await this.#options.runtime.writtenBytes(label.owner, this.#context.owner) : new Map<string, number>();
    return new Map(await Promise.all(pods.map(async (pod): Promise<[string, Map<string, number>]> => {
      const uid = pod.metadata.uid ?? '';
      const volumes = ofNode ? await this.#context.volumes.usage(pod, 'disk').catch(() => new Map<string, number>()) : new Map<string, number>();
      const used = new Map([['', [...volumes.values()].reduce((sum, bytes) => sum + bytes, 0)]]);
      for (const { id, name } of this.#workers.get(uid)?.views ?? []) if (name !== sandboxName) used.set(name, (used.get(name) ?? 0) + (written.get(id) ?? 0));
      return [uid, used];
    })));
  }

  /** Removes what the node can do without, for want of disk: all of that is the engine's. */
  async makeRoom(signal: Signal): Promise<void> {
    if (signal.startsWith('nodefs.') && await this.#engineApart()) return;
    const { runtime, log } = this.#options;
    await makeRoom({ runtime, log, pods: this.#workers.values(), keep: this.#context.pauseImage });
  }

  /** A pod's present addresses and readiness; `gone` when it is not (or no longer) here, undefined while nobody has looked. */
  local(namespace: string, name: string): { readonly ips: readonly string[]; readonly ready: boolean } | 'gone' | undefined {
    if (!this.#listed) return undefined;
    const item = this.#options.state.items.get(`pod/${namespace}/${name}`);
    const worker = item?.type === 'pod' ? this.#workers.get(item.object.metadata.uid ?? '') : undefined;
    if (!worker) return 'gone';
    return worker.looked ? this.#localOf(worker) : undefined;
  }

  #localOf({ pod, views, status }: PodWorker): { readonly ips: readonly string[]; readonly ready: boolean } {
    const sandbox = sandboxOf(views);
    const ips = sandbox?.state !== 'running' ? [] : pod.spec.hostNetwork ? this.#options.node().ips : sandbox.ips;
    return { ips, ready: status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false };
  }

  // By uid, as last told.
  readonly #told = new Map<string, string>();
  #tellLocal(uid: string, pod: PodWorker | undefined): void {
    const now = pod && JSON.stringify(this.#localOf(pod));
    if (this.#told.get(uid) === now) return;
    if (now === undefined) this.#told.delete(uid);
    else this.#told.set(uid, now);
    this.#options.onLocal?.();
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
    this.#removeUnclaimed();
  }

  #removeUnclaimed(): void {
    if (this.#mayRemove) for (const [uid, summaries] of this.#unclaimed) if (!this.#workers.has(uid)) this.#removeOrphans(summaries);
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
    scope.start((s) => this.#watchEngine(s));
    scope.start((s) => this.#collect(s));
    scope.start((s) => watchVolumeLimits({ clock: this.#options.clock, log: this.#options.log, volumes: this.#context.volumes, workers: () => this.#workers.values() }, s));
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
      if (!worker) this.#begin(item.object, this.#unclaimed.get(item.object.metadata.uid ?? '') ?? []);
      else if (worker.pod !== item.object) worker.update(item.object);
    }
  }

  #begin(pod: Pod, found: readonly ContainerSummary[]): void {
    const uid = pod.metadata.uid ?? '';
    const worker = new PodWorker({
      context: this.#context, pod, status: this.#lastStatus(uid), found: found.length > 0, report: (p, status, gone) => this.#report(p, status, gone),
    });
    this.#workers.set(uid, worker);
    worker.resync(found, true);
    this.#scope?.start(async (signal) => {
      await this.#runWorker(worker, signal);
      if (signal.aborted) return;
      this.#workers.delete(uid);
      this.#tellLocal(uid, undefined);
      void this.#options.state.note(noteOf(uid), undefined);
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

  #lastStatus(uid: string): PodStatus | undefined {
    return this.#options.state.notes.get(noteOf(uid)) as PodStatus | undefined;
  }

  #report(pod: Pod, status: PodStatus, gone: boolean): void {
    const uid = pod.metadata.uid ?? '';
    if (milestone(status) !== milestone(this.#lastStatus(uid))) {
      this.#options.state.note(noteOf(uid), status).catch((error: unknown) => this.#options.log.debug('cannot keep a pod\'s status', { pod: pod.metadata.name, error }));
    }
    this.#tellLocal(uid, this.#workers.get(uid));
    this.#options.report({ namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '', uid, status: status as Record<string, unknown>, gone });
  }

  /** Follows the engine's events, and starts over when it went away: subscribe first, then list, so that nothing falls between. */
  async #watchEngine(signal: AbortSignal): Promise<void> {
    const { runtime, clock, log, engine } = this.#options;
    let waitMs = 100;
    while (!signal.aborted) {
      try {
        const events = await runtime.events(label.owner, signal);
        await this.#resync(true);
        engine?.(true);
        waitMs = 100;
        await this.#follow(events, signal);
        if (!signal.aborted) log.warn('the engine ended its event stream');
      } catch (error) {
        if (!signal.aborted) log.warn('the engine does not answer', { error });
      }
      if (signal.aborted) return;
      engine?.(false);
      await sleep(clock, waitMs, signal);
      waitMs = Math.min(1000, waitMs * 2);
    }
  }

  async #follow(events: AsyncIterable<RuntimeEvent>, signal: AbortSignal): Promise<void> {
    const { clock, resyncMs = 60_000 } = this.#options;
    const over = new AbortController();
    const ticking = (async () => {
      const both = AbortSignal.any([signal, over.signal]);
      while (!both.aborted) {
        await sleep(clock, resyncMs, both);
        if (!both.aborted) await this.#resync(false).catch((error: unknown) => this.#options.log.warn('cannot list containers', { error }));
      }
    })();
    try {
      for await (const event of events) this.#onEvent(event);
    } finally {
      over.abort();
      await ticking;
    }
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
      this.#scope?.start(() => this.#releaseUnknown());
    } else {
      for (const [uid, worker] of this.#workers) {
        worker.resync(byPod.get(uid) ?? [], all);
        if (all) worker.referencesChanged();
      }
    }
    this.#unclaimed = new Map([...byPod].filter(([uid]) => !this.#workers.has(uid)));
    this.#removeUnclaimed();
  }

  #removeOrphans(summaries: readonly ContainerSummary[]): void {
    const { runtime, log } = this.#options;
    for (const { id, name, state } of summaries) {
      if (this.#orphans.has(id)) continue;
      this.#orphans.add(id);
      log.info('removing a container that belongs to no pod of this node', { name, id });
      this.#scope?.start(async () => {
        try {
          if (state === 'running') await runtime.stop(id, forcedGraceSeconds);
          if (state !== 'running') await runtime.endStrays(id);
          await runtime.remove(id);
        } catch (error) {
          log.warn('cannot remove container', { name, error });
        } finally {
          this.#orphans.delete(id);
        }
      });
    }
  }

  /** Volumes of pods that went while the agent was away, and what was noted of them. */
  async #releaseUnknown(): Promise<void> {
    const { state, log } = this.#options;
    if (!this.#mayRemove) return;
    for (const key of state.notes.keys()) {
      if (key.startsWith('pod-status/') && !this.#workers.has(key.slice('pod-status/'.length))) void state.note(key, undefined);
    }
    for (const uid of await this.#context.volumes.known()) {
      if (!this.#workers.has(uid)) await this.#context.volumes.release(uid).catch((error: unknown) => log.warn('cannot release volumes', { uid, error }));
    }
  }

  async #collect(signal: AbortSignal): Promise<void> {
    const { runtime, clock, log } = this.#options;
    while (!signal.aborted) {
      await sleep(clock, 300_000, signal);
      if (signal.aborted) return;
      await collectImages({ runtime, clock, log, keep: this.#context.pauseImage, lastUsedMs: (id) => this.#context.images.lastUsedMs(id) })
        .catch((error: unknown) => log.warn('cannot collect images', { error }));
    }
  }
}
