import type { Clock } from '../../shared/clock.ts';
import type { Container, Probe } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { check, type Outcome } from './check.ts';
import { involvedPod, type EventSink } from './events.ts';
import type { ProbeView } from './plan.ts';
import { currentOf, slots, type ContainerView } from './view.ts';

type Kind = 'startup' | 'readiness' | 'liveness';

export interface ProbesOptions {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly events: EventSink;
  /** A result changed. */
  readonly changed: () => void;
}

interface Watched {
  readonly id: string;
  readonly container: Container;
  readonly startedMs: number;
  /** Whether the probe kind currently counts as passed. */
  readonly passed: Record<Kind, boolean>;
  unhealthy: Kind | undefined;
  readonly stop: AbortController;
  readonly begun: Set<Kind>;
}

/**
 * Probes of one pod. `watch` is told what runs; results come from `views`.
 *
 * ```
 * started ──▶ startup probe passes ──▶ readiness and liveness probes run
 *                 │ fails                    │ liveness fails
 *                 └──────▶ unhealthy ◀───────┘
 * ```
 */
export class Probes {
  readonly #options: ProbesOptions;
  readonly #watched = new Map<string, Watched>();
  #pod: Pod | undefined;
  #ips: readonly string[] = [];
  #ending = false;

  constructor(options: ProbesOptions) {
    this.#options = options;
  }

  /** Results by container id. */
  get views(): ReadonlyMap<string, ProbeView> {
    const result = new Map<string, ProbeView>();
    for (const [id, w] of this.#watched) {
      const failing = w.unhealthy && probeOf(w.container, w.unhealthy);
      result.set(id, { started: w.passed.startup, ready: w.passed.readiness, unhealthy: w.unhealthy, graceSeconds: failing?.terminationGracePeriodSeconds });
    }
    return result;
  }

  /**
   * Starts and stops probing so that it fits what runs. `ready` says whether a container counted as ready before the agent
   * started. Of a pod that is `ending` only readiness is still of interest.
   */
  watch(pod: Pod, views: readonly ContainerView[], ips: readonly string[], ready: (id: string) => boolean, ending = false): void {
    this.#pod = pod;
    this.#ips = ips;
    this.#ending = ending;
    const running = new Map<string, Container>();
    for (const { container, role } of slots(pod)) {
      const view = currentOf(views, container.name);
      if (view?.state !== 'running' || role === 'init' || role === 'ephemeral' || !hasProbe(container)) continue;
      running.set(view.id, container);
      if (!this.#watched.has(view.id)) this.#begin(view, container, ready(view.id));
    }
    for (const [id, w] of this.#watched) {
      if (running.has(id)) continue;
      w.stop.abort();
      this.#watched.delete(id);
    }
  }

  stop(): void {
    for (const w of this.#watched.values()) w.stop.abort();
    this.#watched.clear();
  }

  #begin(view: ContainerView, container: Container, wasReady: boolean): void {
    const w: Watched = {
      id: view.id, container, startedMs: view.startedMs, begun: new Set(), unhealthy: undefined, stop: new AbortController(),
      passed: { startup: !container.startupProbe || wasReady, readiness: !container.readinessProbe || wasReady, liveness: true },
    };
    this.#watched.set(view.id, w);
    this.#beginKinds(w);
  }

  #beginKinds(w: Watched): void {
    const kinds: Kind[] = w.passed.startup ? ['readiness', 'liveness'] : ['startup'];
    for (const kind of kinds) {
      const probe = probeOf(w.container, kind);
      if (!probe || w.begun.has(kind)) continue;
      w.begun.add(kind);
      const age = Math.max(0, this.#options.clock.now() - w.startedMs);
      this.#later(w, (probe.initialDelaySeconds ?? 0) * 1000 - age, { kind, probe, ok: 0, failed: 0 });
    }
  }

  #later(w: Watched, ms: number, run: Run): void {
    const { signal } = w.stop;
    const due = (): void => { signal.removeEventListener('abort', cancel); void this.#once(w, run); };
    const cancel = this.#options.clock.after(Math.max(0, ms), due);
    signal.addEventListener('abort', cancel, { once: true });
  }

  async #once(w: Watched, run: Run): Promise<void> {
    const { kind, probe } = run;
    if (w.stop.signal.aborted || (this.#ending && kind !== 'readiness')) return;
    const began = this.#options.clock.monotonic();
    const outcome = await check(probe, { runtime: this.#options.runtime, id: w.id, container: w.container, ips: this.#ips, timeoutMs: Math.max(1, probe.timeoutSeconds ?? 1) * 1000 });
    if (w.stop.signal.aborted) return;
    this.#tell(w, kind, outcome);
    // What could not be made out counts neither way.
    if (!outcome.unknown) {
      run.ok = outcome.ok ? run.ok + 1 : 0;
      run.failed = outcome.ok ? 0 : run.failed + 1;
    }
    if (run.ok >= (probe.successThreshold ?? 1)) this.#pass(w, kind);
    else if (run.failed >= (probe.failureThreshold ?? 3)) this.#fail(w, kind);
    if (kind === 'startup' && w.passed.startup) return;
    this.#later(w, Math.max(1, probe.periodSeconds ?? 10) * 1000 - (this.#options.clock.monotonic() - began), run);
  }

  #tell(w: Watched, kind: Kind, { ok, message, warning, unknown }: Outcome): void {
    if (!this.#pod || (ok && !warning)) return;
    const name = `${kind[0]!.toUpperCase()}${kind.slice(1)}`;
    this.#options.events.event(involvedPod(this.#pod, w.container.name), 'Warning', warning ? 'ProbeWarning' : 'Unhealthy',
      `${name} probe ${warning ? 'warning' : unknown ? 'errored and resulted in unknown state' : 'failed'}: ${message}`);
  }

  #pass(w: Watched, kind: Kind): void {
    if (w.passed[kind]) return;
    w.passed[kind] = true;
    if (kind === 'startup') this.#beginKinds(w);
    this.#options.changed();
  }

  #fail(w: Watched, kind: Kind): void {
    const news = kind === 'readiness' ? w.passed.readiness : w.unhealthy === undefined;
    if (kind === 'readiness') w.passed.readiness = false;
    else w.unhealthy ??= kind;
    if (news) this.#options.changed();
  }
}

interface Run { readonly kind: Kind; readonly probe: Probe; ok: number; failed: number }

const probeOf = (container: Container, kind: Kind): Probe | undefined =>
  (kind === 'startup' ? container.startupProbe : kind === 'readiness' ? container.readinessProbe : container.livenessProbe);

const hasProbe = (container: Container): boolean => Boolean(container.startupProbe ?? container.readinessProbe ?? container.livenessProbe);
