import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { ServiceItem } from '../../shared/protocol.ts';
import type { ImageDetails, Runtime } from '../runtime/runtime.ts';
import type { Volumes } from '../volumes/index.ts';
import type { Failure } from './ending.ts';
import type { References } from './env.ts';
import type { EventSink } from './events.ts';
import type { NodeFacts } from './fields.ts';
import type { Images } from './images.ts';
import type { VolumesState } from './plan.ts';
import { Probes } from './probes.ts';
import type { Naming } from './resolv-conf.ts';
import type { ContainerView } from './view.ts';

/** What all pods of a node share; made once, by the manager. */
export interface PodContext {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
  readonly volumes: Volumes;
  readonly images: Images;
  /** Value of the owner label. */
  readonly owner: string;
  /** Name of the sandbox image. */
  readonly pauseImage: string;
  /** Loads the sandbox image; called when the engine says that it has none. */
  readonly loadPause: () => Promise<void>;
  readonly node: () => NodeFacts;
  /** Lowest oom_score_adj that containers can be given. */
  readonly oomFloor: () => number;
  readonly naming: Naming;
  readonly references: (namespace: string) => References;
  readonly services: () => readonly ServiceItem[];
  readonly outage: OutageView;
  /** Name of the engine's network for a new pod. */
  readonly bridge: () => Promise<string>;
  /** Why the node does not take a new pod on, if so. */
  readonly admit: (pod: Pod) => Failure | undefined;
  /** Processes that each container may have; undefined: no limit. */
  readonly podMaxPids?: number | undefined;
  /** Directory of the seccomp profiles that pods may name. */
  readonly seccompRoot: string;
}

/** How long the node has been without a master, for pods that do not go on for ever without one. */
export interface OutageView {
  /** Undefined while the master is there. */
  readonly ms: number | undefined;
  /** A pod has ended because of it: that must not be forgotten. */
  keep(): void;
}

/** A name that is held back after a failure. */
interface Hold { readonly untilMs: number; readonly failures: number }

/**
 * What an agent has in mind of one pod: how its containers look, and what failed lately. All of it can be lost:
 * what matters is in the containers' labels and in the agent's state.
 */
export class PodState {
  readonly context: PodContext;
  readonly uid: string;
  pod: Pod;
  /** By container id. */
  readonly views = new Map<string, ContainerView>();
  volumes: VolumesState = 'unknown';
  /** By container name, until the container is made. */
  readonly images = new Map<string, ImageDetails>();
  readonly waiting = new Map<string, Failure>();
  readonly holds = new Map<string, Hold>();
  /** By container id: when the agent itself kills it; monotonic, as all times here. */
  readonly stopping = new Map<string, number>();
  /** By name: how often in a row the engine failed to start what it had made. */
  readonly failedStarts = new Map<string, number>();
  /** By container id: the engine went away while it was asked to start it. */
  readonly interruptedStarts = new Set<string>();
  /** By container id: told to end because another is to take its place. */
  readonly replacing = new Set<string>();
  /** Messages of events that are told once. */
  readonly told = new Set<string>();
  /** By container id: its postStart hook is under way. */
  readonly hooks = new Set<string>();
  readonly probes: Probes;
  readonly restartCounts = new Map<string, number>();
  failure: Failure | undefined;
  /** Last reported. */
  status: PodStatus | undefined;
  readonly #background = new Set<Promise<void>>();
  readonly #wake: () => void;

  constructor(context: PodContext, pod: Pod, wake: () => void) {
    this.context = context;
    this.pod = pod;
    this.uid = pod.metadata.uid ?? '';
    this.#wake = wake;
    this.probes = new Probes({ runtime: context.runtime, clock: context.clock, events: context.events, changed: wake });
  }

  wake(): void {
    this.#wake();
  }

  /** Runs beside the loop, which is woken when it ends; `work` must not throw but for bugs. */
  start(work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => this.context.log.error('background work of a pod failed', { pod: this.pod.metadata.name, error }))
      .finally(() => { this.#background.delete(running); this.#wake(); });
    this.#background.add(running);
  }

  async settled(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Keeps a name from being made, or a container by id from being ended, for a while: 1 s, doubled with each failure to `maxMs`. */
  hold(name: string, failure: Failure | undefined, maxMs = 30_000): void {
    const failures = (this.holds.get(name)?.failures ?? 0) + 1;
    this.holdUntil(name, this.context.clock.monotonic() + Math.min(maxMs, 1000 * 2 ** (failures - 1)), failures);
    if (failure) this.waiting.set(name, failure);
  }

  holdUntil(name: string, untilMs: number, failures = this.holds.get(name)?.failures ?? 0): void {
    this.holds.set(name, { untilMs, failures });
  }

  /** Something it may have waited for has changed: try again now. */
  retry(): void {
    for (const [name, hold] of this.holds) if (hold.untilMs !== Infinity) this.holds.set(name, { ...hold, untilMs: 0 });
  }

  /** It worked: forget what failed before. */
  succeeded(name: string): void {
    this.holds.delete(name);
    this.waiting.delete(name);
  }

  get heldUntil(): ReadonlyMap<string, number> {
    return new Map([...this.holds].map(([name, hold]) => [name, hold.untilMs]));
  }
}
