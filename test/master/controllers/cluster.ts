import type { Clock } from '../../../shared/clock.ts';
import type { Kind } from '../../../shared/kind.ts';
import { events, type Event } from '../../../shared/kinds/event.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { pods, type Pod } from '../../../shared/kinds/pod.ts';
import { silentLog, type Log } from '../../../shared/log.ts';
import type { KubeObject } from '../../../shared/meta.ts';
import { Scope } from '../../../shared/scope.ts';
import { runControllers, type Controller } from '../../../master/controllers/controller.ts';
import type { Settings } from '../../../master/controllers/settings.ts';
import { EventRecorder } from '../../../master/registry/events.ts';
import { ServiceAllocator } from '../../../master/registry/ipam.ts';
import { Registry } from '../../../master/registry/registry.ts';
import type { Admission } from '../../../master/registry/types.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import type { Store } from '../../../master/store/store.ts';

/** Time that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = Date.parse('2026-01-01T00:00:00Z');
  readonly #timers = new Set<{ at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - Date.parse('2026-01-01T00:00:00Z') + 1000;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves time on, firing timers in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
  }
}

/** Real time whose timers keep the process alive, so that retries happen in tests too. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export const settings: Settings = {
  apiServerAddress: '192.168.7.1', apiServerPort: 6443, kubernetesServiceIP: '10.96.0.1', caCertificate: 'PEM',
};

export interface ClusterOptions {
  readonly clock?: Clock;
  readonly store?: Store;
  readonly random?: () => number;
  readonly settings?: Partial<Settings>;
  readonly log?: Log;
  readonly admissions?: (registry: Registry) => readonly Admission[];
}

/** A registry on a memory store with some controllers at work, in one process. */
export class Cluster {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly recorder: EventRecorder;
  readonly #options: ClusterOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    this.clock = options.clock ?? realClock;
    const store = options.store ?? openMemoryStore();
    const random = options.random ?? Math.random;
    const { clock } = this;
    this.registry = new Registry({ store, clock, random, kinds, allocators: [new ServiceAllocator({ store, clock, random, serviceCIDR: '10.96.0.0/16' })] });
    this.registry.useAdmissions(options.admissions?.(this.registry) ?? []);
    this.recorder = new EventRecorder({ registry: this.registry, clock, log: silentLog });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Starts controllers, and whatever else must run; resolves once they work. */
  async start(definitions: readonly Controller[], ...others: ((signal: AbortSignal) => Promise<void>)[]): Promise<void> {
    const { registry, recorder, clock } = this;
    const scope = new Scope(this.#abort.signal);
    scope.start((signal) => recorder.run(signal));
    for (const other of others) scope.start(other);
    await new Promise<void>((onStarted) => {
      scope.start((signal) => runControllers(definitions, {
        registry, recorder, clock, log: this.#options.log ?? silentLog, random: this.#options.random ?? Math.random,
        settings: { ...settings, ...this.#options.settings }, onStarted,
      }, signal));
      this.#running = scope.wait();
      this.#running.catch(() => onStarted());
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** Resolves once `holds` does; asks again after every change of the store. */
  async until<R>(holds: () => R | undefined | false, what = 'the condition', limitMs = 5000): Promise<R> {
    const now = holds();
    if (now) return now;
    const ended = new AbortController();
    return new Promise<R>((resolve, reject) => {
      const limit = setTimeout(() => { ended.abort(); reject(new Error(`${what} did not come about in ${limitMs} ms`)); }, limitMs);
      this.registry.changes(this.registry.store.revision, () => {
        const result = holds();
        if (!result) return;
        clearTimeout(limit);
        ended.abort();
        resolve(result);
      }, ended.signal);
    });
  }

  /** Lets everything that can run without time passing run; for checks that something does not happen. */
  async settle(turns = 50): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  pods(namespace = 'default'): Pod[] {
    return this.registry.all(pods, namespace);
  }

  events(namespace = 'default'): Event[] {
    return this.registry.all(events, namespace);
  }

  async create<T extends KubeObject>(kind: Kind<T>, namespace: string, document: unknown): Promise<T> {
    return (await this.registry.create(kind, namespace, document)).object;
  }

  /** Reports a pod as an agent would. */
  async report(pod: Pod, status: Partial<Pod['status']>): Promise<void> {
    const { namespace = '', name = '' } = pod.metadata;
    await this.registry.modify(pods, namespace, name, (current) => ({ ...current, status: { ...current.status, ...status } }), { subresource: 'status' });
  }
}

export const ready = (podIP: string, at = '2026-01-01T00:00:00Z'): Partial<Pod['status']> => ({
  phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: at }],
});

export const podDocument = (name: string, extra: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): unknown => ({
  metadata: { name, ...metadata }, spec: { containers: [{ name: 'c', image: 'busybox:1' }], ...extra },
});

export const rcDocument = (name: string, replicas: number, extra: Record<string, unknown> = {}): unknown => ({
  metadata: { name },
  spec: {
    replicas, selector: { app: name }, ...extra,
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image: 'busybox:1', ports: [{ name: 'http', containerPort: 8080 }] }] } },
  },
});
