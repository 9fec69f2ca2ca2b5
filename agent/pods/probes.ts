import * as http from 'node:http';
import * as https from 'node:https';
import * as net from 'node:net';
import type { Clock } from '../../shared/clock.ts';
import type { Container, LifecycleHandler, Probe } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { involvedPod, type EventSink } from './events.ts';
import type { ProbeView } from './plan.ts';
import { currentOf, slots, type ContainerView } from './view.ts';

type Kind = 'startup' | 'readiness' | 'liveness';

/** Outcome of one check; `message` for the event when it failed. */
export interface Outcome { readonly ok: boolean; readonly message: string }

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

  /** Starts and stops probing so that it fits what runs. `ready` says whether a container counted as ready before the agent started. */
  watch(pod: Pod, views: readonly ContainerView[], ips: readonly string[], ready: (id: string) => boolean): void {
    this.#pod = pod;
    this.#ips = ips;
    const running = new Map<string, Container>();
    for (const { container, role } of slots(pod)) {
      const view = currentOf(views, container.name);
      if (view?.state !== 'running' || role === 'init' || !hasProbe(container)) continue;
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
    if (w.stop.signal.aborted) return;
    const { kind, probe } = run;
    const began = this.#options.clock.monotonic();
    const outcome = await check(probe, { runtime: this.#options.runtime, id: w.id, container: w.container, ips: this.#ips, timeoutMs: Math.max(1, probe.timeoutSeconds ?? 1) * 1000 });
    if (w.stop.signal.aborted) return;
    run.ok = outcome.ok ? run.ok + 1 : 0;
    run.failed = outcome.ok ? 0 : run.failed + 1;
    if (!outcome.ok) this.#tell(w, kind, outcome.message);
    if (run.ok >= (probe.successThreshold ?? 1)) this.#pass(w, kind);
    else if (run.failed >= (probe.failureThreshold ?? 3)) this.#fail(w, kind);
    if (kind === 'startup' && w.passed.startup) return;
    this.#later(w, Math.max(1, probe.periodSeconds ?? 10) * 1000 - (this.#options.clock.monotonic() - began), run);
  }

  #tell(w: Watched, kind: Kind, message: string): void {
    if (!this.#pod) return;
    const name = `${kind[0]!.toUpperCase()}${kind.slice(1)}`;
    this.#options.events.event(involvedPod(this.#pod, w.container.name), 'Warning', 'Unhealthy', `${name} probe failed: ${message}`);
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

export interface CheckInput {
  readonly runtime: Runtime;
  readonly id: string;
  readonly container: Container;
  readonly ips: readonly string[];
  readonly timeoutMs: number;
}

/** Runs the action of a probe or a lifecycle hook once. Never throws. */
export async function check(action: Pick<Probe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'> & LifecycleHandler, input: CheckInput): Promise<Outcome> {
  try {
    if (action.exec) return await checkExec(action.exec.command ?? [], input);
    if (action.httpGet) return await checkHttp(action.httpGet, input);
    if (action.tcpSocket) return await checkTcp(action.tcpSocket, input);
    return { ok: false, message: 'no action that this agent serves (exec, httpGet, tcpSocket)' };
  } catch (error) {
    return { ok: false, message: (error as Error).message };
  }
}

async function checkExec(command: readonly string[], { runtime, id, timeoutMs }: CheckInput): Promise<Outcome> {
  const result = await runtime.exec(id, command, timeoutMs);
  if (result.timedOut) return { ok: false, message: `command timed out: ${JSON.stringify(command.join(' '))} timed out after ${timeoutMs / 1000}s` };
  return { ok: result.exitCode === 0, message: result.output };
}

function portOf(port: number | string, container: Container): number {
  const found = typeof port === 'number' ? port : container.ports?.find((p) => p.name === port)?.containerPort ?? Number(port);
  if (!Number.isInteger(found) || found < 1 || found > 65_535) throw new Error(`couldn't find port: ${JSON.stringify(port)} in container ${container.name}`);
  return found;
}

function checkHttp(action: NonNullable<Probe['httpGet']>, { container, ips, timeoutMs }: CheckInput): Promise<Outcome> {
  const secure = action.scheme === 'HTTPS';
  const host = action.host || ips[0];
  const port = portOf(action.port, container);
  const headers: Record<string, string> = { 'User-Agent': 'kube-probe/1.32', Accept: '*/*', Connection: 'close' };
  for (const { name, value } of action.httpHeaders ?? []) headers[name] = value ?? '';
  const path = action.path?.startsWith('/') ? action.path : `/${action.path ?? ''}`;
  const url = `${secure ? 'https' : 'http'}://${host?.includes(':') ? `[${host}]` : host}:${port}${path}`;
  if (!host) throw new Error('the pod has no address yet');
  return new Promise((resolve) => {
    const request = (secure ? https : http).request(url, { headers, timeout: timeoutMs, agent: false, ...(secure ? { rejectUnauthorized: false } : {}) }, (response) => {
      response.destroy();
      const code = response.statusCode ?? 0;
      // Redirects count as success: the kubelet follows those to the same host only, and warns of the others.
      resolve({ ok: code >= 200 && code < 400, message: `HTTP probe failed with statuscode: ${code}` });
    });
    const late = setTimeout(() => request.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)')), timeoutMs);
    request.on('error', (error: NodeJS.ErrnoException) => resolve({ ok: false, message: `Get "${url}": ${dialError(error, host, port)}` }));
    request.on('close', () => clearTimeout(late));
    request.end();
  });
}

function checkTcp(action: NonNullable<Probe['tcpSocket']>, { container, ips, timeoutMs }: CheckInput): Promise<Outcome> {
  const host = action.host || ips[0];
  const port = portOf(action.port, container);
  if (!host) throw new Error('the pod has no address yet');
  return new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: timeoutMs });
    const end = (outcome: Outcome): void => { socket.destroy(); resolve(outcome); };
    socket.on('connect', () => end({ ok: true, message: '' }));
    socket.on('timeout', () => end({ ok: false, message: `dial tcp ${host}:${port}: i/o timeout` }));
    socket.on('error', (error: NodeJS.ErrnoException) => end({ ok: false, message: dialError(error, host, port) }));
  });
}

const dialError = (error: NodeJS.ErrnoException, host: string, port: number): string =>
  (error.code === 'ECONNREFUSED' ? `dial tcp ${host}:${port}: connect: connection refused` : error.message);
