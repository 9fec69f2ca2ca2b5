import type { Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import type { DiskUsage } from '../runtime/runtime.ts';
import { requestOf } from './admit.ts';
import { evictionMessage, isCritical, rank, type Claimant } from './rank.ts';
import type { Use } from './stats.ts';
import { isMet, pressureOf, starvedOf, type Observations, type PressureType, type Signal, type Starved, type Threshold } from './thresholds.ts';

/** When a node evicts pods, as the kubelet's flags of these names say it. */
export interface EvictionSettings {
  /** Hard and soft ones. */
  readonly thresholds: readonly Threshold[];
  /** How long a condition stays after the node last lacked something. */
  readonly transitionMs: number;
  /** Most time that pods get to end when a soft threshold evicts them. */
  readonly maxGraceSeconds: number;
}

/** A pod of this node. */
export interface Tenant {
  readonly pod: Pod;
  /** It has not ended. */
  readonly active: boolean;
  /** Something of it runs still. */
  readonly running: boolean;
  /** False: it ends already, or has for now, for another reason. */
  evict(message: string, options: { readonly graceSeconds?: number; readonly byNode: true }): boolean;
}

export interface EvictorOptions extends EvictionSettings {
  readonly clock: Clock;
  readonly log: Log;
  readonly tenants: () => Iterable<Tenant>;
  readonly observe: (images: DiskUsage) => Promise<Observations>;
  readonly use: () => Promise<Use>;
  /** Bytes that each container of some pods takes of the disk that a signal is of, and the pods' volumes (`''`), by uid. */
  readonly diskUse: (pods: readonly Pod[], signal: Signal) => Promise<ReadonlyMap<string, ReadonlyMap<string, number>>>;
  /** Makes room on the disk that a signal is of, without ending anything. */
  readonly reclaim: (signal: Signal) => Promise<void>;
  readonly disk: () => Promise<DiskUsage>;
  /** Told once each time that something begins to run short. */
  readonly onShort: (starved: Starved) => void;
}

interface Found extends Claimant { readonly tenant: Tenant; readonly byContainer: ReadonlyMap<string, number> }

/** Who takes less of a full disk stays: what fills it is something else, and would go on to. */
const leastDiskBytes = 2 ** 20;

/** Time that an evicted pod has to be gone before another is looked for. */
const cleanUpMs = 30_000;

/**
 * Sees to it that a node that runs short of something has enough again before the kernel or a full disk decide what ends.
 * {@link look} is called every ten seconds; what is lacking beyond its grace is given back in steps, one at a time and each
 * one measured: on disks images and containers that nobody uses, and then the pod that ranks first. Needs no master.
 */
export class Evictor {
  readonly #options: EvictorOptions;
  /** When each threshold that is met now began to be. Monotonic, as all times here. */
  readonly #since = new Map<Threshold, number>();
  readonly #told = new Set<Threshold>();
  readonly #stuck = new Set<Threshold>();
  readonly #lastShort = new Map<PressureType, number>();
  #relieving: Promise<void> | undefined;
  #ending: { readonly tenant: Tenant; readonly untilMs: number } | undefined;

  constructor(options: EvictorOptions) {
    this.#options = options;
  }

  /** Conditions that the node has: something is short, or was until lately. */
  pressures(): PressureType[] {
    const { clock, transitionMs } = this.#options;
    return [...this.#lastShort].filter(([, atMs]) => clock.monotonic() - atMs < transitionMs || atMs === this.#nowMs).map(([type]) => type);
  }

  #nowMs = -Infinity;
  /** Looks at what there is, and begins to make room if that is not enough. `images`: the engine's disk. */
  async look(images: DiskUsage): Promise<PressureType[]> {
    const { clock, log, thresholds, observe, onShort } = this.#options;
    const seen = await observe(images);
    const now = this.#nowMs = clock.monotonic();
    for (const threshold of thresholds) {
      if (!isMet(threshold, seen)) { this.#since.delete(threshold); this.#told.delete(threshold); this.#stuck.delete(threshold); }
      else if (!this.#since.has(threshold)) this.#since.set(threshold, now);
    }
    for (const { signal } of this.#since.keys()) this.#lastShort.set(pressureOf(signal), now);
    const due = thresholds.find((threshold) => now - (this.#since.get(threshold) ?? Infinity) >= threshold.graceMs);
    if (due && !this.#relieving) {
      if (!this.#told.has(due)) onShort(starvedOf(due.signal));
      this.#told.add(due);
      this.#relieving = this.#relieve(due, seen)
        .catch((error: unknown) => log.warn('cannot make room', { signal: due.signal, error }))
        .finally(() => { this.#relieving = undefined; });
    }
    return this.pressures();
  }

  /** Resolves when nothing is being done about a shortage. */
  async settled(): Promise<void> {
    await this.#relieving;
  }

  async #relieve(threshold: Threshold, seen: Observations): Promise<void> {
    const { clock, log, observe, disk, reclaim, maxGraceSeconds } = this.#options;
    const { signal } = threshold;
    if (this.#ending?.tenant.running && clock.monotonic() < this.#ending.untilMs) return;
    const awaited = this.#ending?.tenant;
    this.#ending = undefined;
    if (pressureOf(signal) === 'DiskPressure') {
      await reclaim(signal);
      if (!isMet(threshold, await observe(await disk()))) return;
    }
    for (const { tenant, used, byContainer } of rank(await this.#claimants(signal))) {
      if (isCritical(tenant.pod) || (pressureOf(signal) === 'DiskPressure' && (used ?? 0) < leastDiskBytes)) continue;
      const message = evictionMessage(threshold, seen, tenant.pod, byContainer);
      const graceSeconds = Math.min(maxGraceSeconds, tenant.pod.spec.terminationGracePeriodSeconds ?? 30);
      const evicted = tenant.evict(message, { byNode: true, ...(threshold.graceMs > 0 ? { graceSeconds } : {}) });
      // Who is on the way out anyway is waited for as well, but once.
      if (!evicted && (!tenant.running || tenant === awaited)) continue;
      this.#ending = { tenant, untilMs: clock.monotonic() + cleanUpMs + graceSeconds * 1000 };
      if (evicted) log.warn('evicted a pod', { pod: tenant.pod.metadata.name, namespace: tenant.pod.metadata.namespace, signal });
      return;
    }
    if (!this.#stuck.has(threshold)) log.warn('the node lacks something, and there is no pod whose end would help', { signal });
    this.#stuck.add(threshold);
  }

  async #claimants(signal: Signal): Promise<Found[]> {
    const starved = starvedOf(signal);
    const tenants = [...this.#options.tenants()].filter(({ active }) => active);
    const used = await this.#used(signal, tenants.map(({ pod }) => pod));
    return tenants.map((tenant) => {
      const byContainer = used.get(tenant.pod.metadata.uid ?? '') ?? new Map<string, number>();
      return {
        tenant, pod: tenant.pod, byContainer, requested: requestOf(tenant.pod, starved),
        used: byContainer.size > 0 ? [...byContainer.values()].reduce((sum, amount) => sum + amount, 0) : undefined,
      };
    });
  }

  /** By pod's uid and container's name. Inodes are not counted by pod: who has most on the disk has most of them. */
  async #used(signal: Signal, pods: readonly Pod[]): Promise<ReadonlyMap<string, ReadonlyMap<string, number>>> {
    if (pressureOf(signal) === 'DiskPressure') return this.#options.diskUse(pods, signal);
    const use = await this.#options.use();
    return new Map(use.pods.map(({ pod, containers }) =>
      [pod.metadata.uid ?? '', new Map(containers.map(({ name, memoryBytes, pids }) => [name, signal === 'memory.available' ? memoryBytes : pids]))]));
  }
}
