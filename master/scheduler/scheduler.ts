import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import { persistentVolumes } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { storageClasses } from '../../shared/kinds/storageclass.ts';
import type { Log } from '../../shared/log.ts';
import { splitKey } from '../../shared/meta.ts';
import { isConflict, isNotFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import { bind } from '../registry/binding.ts';
import type { EventRecorder } from '../registry/events.ts';
import { follow } from '../registry/follow.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';
import { bindClaims } from './claim-binder.ts';
import { diagnose } from './diagnosis.ts';
import type { Plugin } from './plugins/plugin.ts';
import { SchedulingQueue, type Waiting } from './scheduling-queue.ts';
import { Scores } from './scores.ts';
import { Shapes, type Shape } from './shape.ts';
import { Snapshot } from './snapshot.ts';

export interface SchedulerOptions {
  readonly registry: Registry;
  readonly recorder: Pick<EventRecorder, 'event'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly plugins: readonly Plugin[];
  /** Pods with this `spec.schedulerName` are ours. Default `default-scheduler`. */
  readonly name?: string;
  /** Called once when all nodes and pods are known and placing begins. */
  readonly onStarted?: () => void;
}

/** Pods placed before other work gets its turn; they share a commit. */
const slice = 128;
/** Binds under way at a time. */
const maxBinding = 4096;
/** Shapes whose scores are kept. */
const maxScores = 128;
/** What decides about places of pods with claims beside nodes and pods. */
const storageKinds: ReadonlySet<string> = new Set([persistentVolumes.prefix, persistentVolumeClaims.prefix, storageClasses.prefix]);
/** All parked pods try again this often, should a wake-up have been missed. */
const flushMs = 300_000;

/**
 * Gives pods their nodes. One pod is placed at a time, in memory and without waiting: its bind is written beside the
 * placing of the next, with the pod assumed to be on its node meanwhile.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #name: string;
  readonly #snapshot = new Snapshot();
  readonly #shapes = new Shapes();
  readonly #queue: SchedulingQueue;
  readonly #scores = new Map<Shape, Scores>();
  readonly #diagnoses = new WeakMap<Shape, { position: number; message: string }>();
  readonly #roomier = new Set<number>();
  /** Revisions of our own binds that are on their way, by pod. */
  readonly #binding = new Map<string, number>();
  #writing = 0;
  #running = false;
  /** Something has changed for pods with claims: all of them are tried again. */
  #storageChanged = false;
  #signal: AbortSignal | undefined;
  #scheduled = false;
  #idle: (() => void) | undefined;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#name = options.name ?? 'default-scheduler';
    this.#queue = new SchedulingQueue(options.clock, () => this.#soon());
  }

  /** Places pods until `signal` aborts and the binds under way have ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { registry, clock, onStarted } = this.#options;
    const follower = { onChange: (change: KindChange) => this.#apply(change), onBatch: () => this.#wake() };
    await follow(registry, [nodes as unknown as Kind, pods as unknown as Kind], follower, signal);
    if (signal.aborted) return;
    this.#signal = signal;
    this.#running = true;
    onStarted?.();
    this.#soon();
    let cancel = (): void => {};
    const flush = (): void => {
      this.#queue.wakeAll();
      cancel = clock.after(flushMs, flush);
    };
    cancel = clock.after(flushMs, flush);
    await new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })));
    cancel();
    this.#running = false;
    if (this.#writing > 0) await new Promise<void>((resolve) => { this.#idle = resolve; });
  }

  #apply(change: KindChange): void {
    if (change.kind.prefix === pods.prefix) this.#applyPod(change);
    else if (change.kind.prefix === nodes.prefix) this.#applyNode(change);
    else if (storageKinds.has(change.kind.prefix)) this.#storageChanged = true;
  }

  #applyNode({ name, type, object }: KindChange): void {
    if (type === 'DELETED') return this.#snapshot.removeNode(name);
    if (this.#snapshot.setNode(object as Node)) this.#roomier.add(this.#snapshot.slotOf(name)!);
  }

  #applyPod(change: KindChange): void {
    const { namespace, name, type } = change;
    const key = `${namespace}/${name}`;
    // Our own bind says what was assumed: its document need not even be parsed.
    if (this.#binding.get(key) === change.revision) return this.#queue.remove(key);
    const pod = change.object as Pod;
    const over = type === 'DELETED' || pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed';
    if (!over && pod.spec.nodeName) {
      this.#queue.remove(key);
      this.#snapshot.setPod(key, this.#shapes.of(pod), pod.spec.nodeName);
    } else if (!over && this.#isOurs(pod)) {
      this.#queue.add({ key, uid: pod.metadata.uid ?? '', priority: pod.spec.priority ?? 0, shape: this.#shapes.of(pod), failures: 0 });
    } else {
      this.#queue.remove(key);
      const slot = over ? this.#snapshot.removePod(key) : undefined;
      if (slot !== undefined && pod.spec.volumes?.some((volume) => volume.persistentVolumeClaim)) this.#storageChanged = true;
      if (slot !== undefined) this.#roomier.add(slot);
    }
  }

  #isOurs({ spec, metadata }: Pod): boolean {
    return spec.schedulerName === this.#name && !metadata.deletionTimestamp && !spec.schedulingGates?.length;
  }

  /** Tries the shapes of parked pods against the nodes that have changed or become roomier. */
  #wake(): void {
    if (this.#storageChanged) {
      this.#storageChanged = false;
      for (const shape of [...this.#queue.parkedShapes]) if (shape.claims.length > 0) this.#queue.wake(shape);
    }
    if (this.#roomier.size === 0) return;
    for (const shape of [...this.#queue.parkedShapes]) {
      const scores = this.#scoresOf(shape);
      for (const slot of this.#roomier) {
        if (!scores.fits(slot)) continue;
        this.#queue.wake(shape);
        break;
      }
    }
    this.#roomier.clear();
  }

  #soon(): void {
    if (!this.#running || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => { this.#scheduled = false; this.#placeSome(); });
  }

  #placeSome(): void {
    for (let placed = 0; placed < slice && this.#writing < maxBinding; placed++) {
      if (!this.#running) return;
      const pod = this.#queue.take();
      if (!pod) return;
      this.#place(pod);
    }
    this.#soon();
  }

  #place(pod: Waiting): void {
    const slot = this.#scoresOf(pod.shape).best();
    if (slot === undefined) return this.#refuse(pod);
    const node = this.#snapshot.facts(slot).name;
    this.#snapshot.setPod(pod.key, pod.shape, node);
    this.#writing += 1;
    void this.#bind(pod, node).finally(() => this.#written());
    // Where one pod of the shape fitted another may.
    this.#queue.wake(pod.shape);
  }

  async #bind(pod: Waiting, node: string): Promise<void> {
    const { registry, clock, log, recorder } = this.#options;
    const { namespace, name } = splitKey(pod.key);
    try {
      if (pod.shape.claims.length > 0) await this.#bindClaims(pod, node);
      const revision = await bind(registry, namespace, name, { target: { kind: 'Node', name: node }, metadata: { uid: pod.uid } }, {
        clock, onRevision: (revision) => { this.#binding.set(pod.key, revision); },
      });
      const regarding = { apiVersion: 'v1', kind: 'Pod', namespace, name, uid: pod.uid, resourceVersion: String(revision) };
      recorder.event(regarding, 'Normal', 'Scheduled', `Successfully assigned ${pod.key} to ${node}`, this.#name);
    } catch (error) {
      this.#forget(pod);
      // Somebody deleted or bound it first: its own change says which, and is on its way.
      if (isNotFound(error) || isConflict(error)) log.debug('pod changed before it was bound', { pod: pod.key, error });
      else log.warn('cannot bind', { pod: pod.key, node, error });
      this.#queue.retry(pod);
    } finally {
      this.#binding.delete(pod.key);
    }
  }

  /** Most pods' claims are bound already. */
  async #bindClaims(pod: Waiting, node: string): Promise<void> {
    const { registry, clock, recorder } = this.#options;
    const facts = this.#snapshot.facts(this.#snapshot.slotOf(node) ?? -1);
    const request = { pod: pod.key, uid: pod.uid, claims: pod.shape.claims.map(({ key }) => key), node: facts };
    try {
      await bindClaims({ registry, clock }, request, this.#signal ?? AbortSignal.abort());
    } catch (error) {
      const { namespace, name } = splitKey(pod.key);
      const object = registry.find(pods, namespace, name);
      const why = `running PreBind plugin "VolumeBinding": binding volumes: ${(error as Error).message}`;
      if (object?.metadata.uid === pod.uid && !this.#signal?.aborted) recorder.event(object, 'Warning', 'FailedScheduling', why, this.#name);
      throw error;
    }
  }

  /** Takes an assumption back, unless the pod has got a node in the meantime. */
  #forget(pod: Waiting): void {
    const { namespace, name } = splitKey(pod.key);
    if (this.#options.registry.find(pods, namespace, name)?.spec.nodeName) return;
    const slot = this.#snapshot.removePod(pod.key);
    if (slot === undefined) return;
    this.#roomier.add(slot);
    this.#wake();
  }

  #written(): void {
    this.#writing -= 1;
    if (this.#running && this.#writing === maxBinding - 1) this.#soon();
    if (this.#writing === 0) this.#idle?.();
  }

  #refuse(pod: Waiting): void {
    const { namespace, name } = splitKey(pod.key);
    const message = this.#diagnose(pod.shape);
    this.#queue.park(pod);
    const object = this.#options.registry.find(pods, namespace, name);
    if (!object || object.metadata.uid !== pod.uid) return;
    this.#options.recorder.event(object, 'Warning', 'FailedScheduling', message, this.#name);
    this.#writing += 1;
    void this.#report(object, message).finally(() => this.#written());
  }

  /** The same for all pods of a shape until something changes. */
  #diagnose(shape: Shape): string {
    const known = this.#diagnoses.get(shape);
    if (known?.position === this.#snapshot.position && shape.claims.length === 0) return known.message;
    const message = diagnose(shape, this.#scoresOf(shape), this.#snapshot);
    this.#diagnoses.set(shape, { position: this.#snapshot.position, message });
    return message;
  }

  async #report({ metadata, status }: Pod, message: string): Promise<void> {
    const { registry, clock, log } = this.#options;
    const before = status.conditions?.find(({ type }) => type === 'PodScheduled');
    if (before?.status === 'False' && before.reason === 'Unschedulable' && before.message === message) return;
    try {
      await registry.modify(pods, metadata.namespace ?? '', metadata.name ?? '', (pod) => {
        if (pod.spec.nodeName) return undefined;
        const others = (pod.status.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
        const lastTransitionTime = (before?.status === 'False' && before.lastTransitionTime) || toTime(clock.now());
        const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message, lastTransitionTime };
        return { ...pod, status: { ...pod.status, conditions: [...others, condition] } };
      }, { subresource: 'status', preconditions: { uid: metadata.uid ?? '' } });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) log.warn('cannot report an unschedulable pod', { pod: metadata.name, error });
    }
  }

  #scoresOf(shape: Shape): Scores {
    // What a volume is worth to a node is no matter of the node alone, so these are not kept.
    if (shape.claims.length > 0) return new Scores(shape, this.#snapshot, this.#options.plugins);
    const known = this.#scores.get(shape);
    if (known) {
      this.#scores.delete(shape);
      this.#scores.set(shape, known);
      return known;
    }
    const scores = new Scores(shape, this.#snapshot, this.#options.plugins);
    this.#scores.set(shape, scores);
    if (this.#scores.size > maxScores) this.#scores.delete(this.#scores.keys().next().value!);
    return scores;
  }
}
