import { isDeepStrictEqual } from 'node:util';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { ContainerSummary } from '../runtime/runtime.ts';
import { apply } from './apply.ts';
import { deadlineExceeded, deadlineMs, endingOf, pauseAfterMs, unreachable, type Failure } from './ending.ts';
import { involvedPod } from './events.ts';
import { observe } from './observe.ts';
import { finished, plan, type Ending, type Plan } from './plan.ts';
import { PodState, type PodContext } from './pod-state.ts';
import { refusal } from './refuse.ts';
import { afterEnd } from './restart.ts';
import { backoffText, podName, podStatus } from './status.ts';
import { currentOf, policyOf, sandboxOf, slots, type ContainerView } from './view.ts';

/** What the kubelet gives a pod that it evicts at once. */
const evictionGraceSeconds = 1;

export interface WorkerOptions {
  readonly context: PodContext;
  readonly pod: Pod;
  /** What this agent, or the one before it, last reported of the pod. */
  readonly status: PodStatus | undefined;
  /** Containers of it are there already. */
  readonly found?: boolean;
  /** Called with each new status, and with the last one of a deleted pod once nothing is left of it. */
  readonly report: (pod: Pod, status: PodStatus, gone: boolean) => void;
}

/**
 * The one loop of one pod: look, plan, apply, tell; again until there is nothing to do, then wait to be woken.
 *
 * ```
 * wake (engine event, change of the pod, timer) ─▶ observe ─▶ plan ─▶ apply ─┐
 *                                                     ▲        │ no steps    │
 *                                                     └────────┼─────────────┘
 *                                                            rest
 * ```
 */
export class PodWorker {
  readonly #options: WorkerOptions;
  readonly #state: PodState;
  readonly #dirty = new Set<string>();
  #removed = false;
  #reported: PodStatus | undefined;
  #goneReported = false;
  #refreshFiles = false;
  #woken = true;
  #resolve: (() => void) | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#state = new PodState(options.context, options.pod, () => this.wake());
    this.#state.status = options.status;
    for (const status of [...(options.status?.initContainerStatuses ?? []), ...(options.status?.containerStatuses ?? []), ...(options.status?.ephemeralContainerStatuses ?? [])]) {
      if (status.containerID) this.#state.restartCounts.set(status.name ?? '', status.restartCount ?? 0);
    }
    const isNew = !options.status && !options.found;
    const refused = refusal(options.pod);
    this.#state.failure = refused ? { ...refused, ...(isNew ? { rejected: true } : {}) } : isNew ? this.#rejection() : undefined;
    const known = options.status?.phase === 'Failed' && options.status.reason;
    if (refused && !known) options.context.events.event(involvedPod(options.pod), 'Warning', refused.reason, refused.message);
  }

  /** Why a pod that is new to the node cannot stay. One that was taken on once is not asked again. */
  #rejection(): Failure | undefined {
    const { context, pod } = this.#options;
    const why = pod.metadata.deletionTimestamp ? undefined : context.admit(pod);
    if (!why) return undefined;
    context.events.event(involvedPod(pod), 'Warning', why.reason, why.message);
    return { reason: why.reason, message: `Pod was rejected: ${why.message}`, rejected: true };
  }

  get pod(): Pod {
    return this.#state.pod;
  }

  /** The node has it, and it has not ended: it counts among what is used up. */
  get active(): boolean {
    const phase = this.#state.status?.phase;
    return !this.#removed && !this.#state.failure && phase !== 'Failed' && phase !== 'Succeeded';
  }

  /** Something of it runs. */
  get running(): boolean {
    return this.views.some(({ state }) => state === 'running');
  }

  get views(): readonly ContainerView[] {
    return [...this.#state.views.values()];
  }

  /** Status last reported. */
  get status(): PodStatus | undefined {
    return this.#state.status;
  }

  /** The pod's containers have been looked at: what `views` and `status` say is so now, not what an agent before this one left. */
  get looked(): boolean {
    return this.#reported !== undefined;
  }

  /** The pod object has changed. */
  update(pod: Pod): void {
    const before = this.#state.pod;
    this.#state.pod = pod;
    const images = (p: Pod): string => slots(p).map((slot) => slot.container.image).join('\n');
    if (images(before) !== images(pod)) {
      this.#state.images.clear();
      this.#state.waiting.clear();
      this.#state.retry();
    }
    const grace = endingOf({ pod, removed: this.#removed, failure: undefined, status: undefined, outageMs: undefined })?.graceSeconds;
    if (grace !== undefined) this.#hasten(grace);
    this.#refreshFiles = true;
    this.wake();
  }

  /** The pod is no longer assigned to this node: its containers end, and then `run`. */
  remove(): void {
    this.#removed = true;
    this.#hasten(this.#ending()?.graceSeconds ?? 0);
    this.wake();
  }

  /** Ends the pod for good, because it takes more than it may or (`byNode`) the node lacks something. False: it ends already, or is paused. */
  evict(message: string, { graceSeconds = evictionGraceSeconds, byNode = false }: { readonly graceSeconds?: number; readonly byNode?: boolean } = {}): boolean {
    if (!this.active || this.#ending()) return false;
    this.#state.failure = { reason: 'Evicted', message, graceSeconds, ...(byNode ? { disrupted: true } : {}) };
    this.#options.context.events.event(involvedPod(this.pod), 'Warning', 'Evicted', message);
    this.wake();
    return true;
  }

  /** A configMap, secret or service that the pod may refer to has changed. */
  referencesChanged(): void {
    this.#refreshFiles = true;
    this.#state.retry();
    this.wake();
  }

  /** Something happened to a container of this pod. */
  changed(id: string): void {
    this.#dirty.add(id);
    this.wake();
  }

  /** What a whole list of containers shows of this pod: anything that looks otherwise than known is looked at again, or `all` of it. */
  resync(found: readonly ContainerSummary[], all: boolean): void {
    const listed = new Map(found.map(({ id, state }) => [id, state]));
    // One that is not listed may have been made since.
    for (const { id } of this.views) if (!listed.has(id)) this.#dirty.add(id);
    for (const [id, state] of listed) {
      const view = this.#state.views.get(id);
      if (all || !view || (view.state !== state && !view.cannotRun)) this.#dirty.add(id);
    }
    this.wake();
  }

  /** Tells the last status once more. */
  reportAgain(): void {
    if (this.#reported) this.#options.report(this.pod, this.#reported, this.#goneReported);
  }

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /** Works until `signal` aborts, leaving everything running, or until a removed pod is no more. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted && !(await this.#turn(signal)));
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#state.probes.stop();
    }
    if (!signal.aborted) await this.#state.settled();
  }

  /** One round. True when a removed pod is no more. */
  async #turn(signal: AbortSignal): Promise<boolean> {
    this.#woken = false;
    await this.#observe();
    const made = this.#plan();
    this.#tell(made.gone);
    if (made.gone && this.#removed) return true;
    if (made.steps.length > 0) await apply(this.#state, made.steps, signal);
    // What could not be looked at is tried again.
    else await this.#rest(this.#dirty.size > 0 ? Math.min(made.wakeAtMs, this.#options.context.clock.monotonic() + 1000) : made.wakeAtMs);
    return false;
  }

  async #observe(): Promise<void> {
    const { context } = this.#options;
    const ids = [...this.#dirty];
    this.#dirty.clear();
    await Promise.all(ids.map((id) => observe(this.#state, id).catch((error: unknown) => {
      context.log.warn('cannot inspect container', { id, error });
      this.#dirty.add(id);
    })));
    if (this.#refreshFiles && this.#state.volumes === 'ready' && !this.#ending()) {
      this.#refreshFiles = false;
      await context.volumes.refresh(this.pod).catch((error: Error) => context.events.event(involvedPod(this.pod), 'Warning', 'FailedMount', error.message));
    }
    this.#watchProbes();
  }

  #watchProbes(): void {
    const ips = this.pod.spec.hostNetwork ? this.#options.context.node().ips : sandboxOf(this.views)?.ips ?? [];
    // Kept across an agent's restart: a pod that was ready does not leave its services for a probe period.
    const ready = (id: string): boolean => (this.#state.status?.containerStatuses ?? []).some((s) => s.containerID === `docker://${id}` && s.ready);
    const started = this.views.filter(({ id }) => !this.#state.hooks.has(id));
    this.#state.probes.watch(this.pod, started, ips, ready, this.#ending() !== undefined);
  }

  // When the pod began to end, monotonic: its containers share one grace, whoever's turn it is.
  #endingSinceMs: number | undefined;
  #ending(): Ending | undefined {
    const ending = this.#endingNow();
    if (!ending) this.#endingSinceMs = undefined;
    else this.#endingSinceMs ??= this.#options.context.clock.monotonic();
    return ending && { ...ending, sinceMs: this.#endingSinceMs };
  }

  #endingNow(): Ending | undefined {
    return endingOf({ pod: this.pod, removed: this.#removed, failure: this.#state.failure, status: this.#state.status, outageMs: this.#options.context.outage.ms });
  }

  // The stamp that it was made from, and the monotonic time.
  #deadlineOf = { stampMs: Infinity, atMs: Infinity };
  /** When activeDeadlineSeconds are over. Looked up in the machine's clock once, lest a clock that is set end the pod. */
  #deadline(): number {
    const { clock } = this.#options.context;
    const stampMs = deadlineMs(this.pod, this.#state.status);
    if (stampMs !== this.#deadlineOf.stampMs) this.#deadlineOf = { stampMs, atMs: clock.monotonic() + (stampMs - clock.now()) };
    return this.#deadlineOf.atMs;
  }

  #finished(now: number): boolean {
    return finished({ pod: this.pod, views: this.views, now, replacing: this.#state.replacing });
  }

  #plan(): Plan {
    const { clock } = this.#options.context;
    const state = this.#state;
    const now = clock.monotonic();
    const deadline = this.#deadline();
    if (now >= deadline && !this.#ending() && !this.#finished(now)) {
      state.failure = deadlineExceeded;
      this.#options.context.events.event(involvedPod(this.pod), 'Normal', deadlineExceeded.reason, deadlineExceeded.message);
    }
    const ending = this.#ending();
    const made = plan({
      pod: this.pod, views: this.views, now, ending, volumes: state.volumes, images: new Set(state.images.keys()),
      heldUntil: state.heldUntil, stopping: state.stopping, replacing: state.replacing, probes: state.probes.views, restartCounts: state.restartCounts, hooks: state.hooks,
    });
    if (ending?.kind === 'paused') this.#tellPause(made);
    if (ending) return made;
    return { ...made, wakeAtMs: Math.min(made.wakeAtMs, deadline, now - (this.#options.context.outage.ms ?? -Infinity) + pauseAfterMs(this.pod)) };
  }

  /** Says so when it begins, and sees to it that an agent after this one does not start the pod again. */
  #tellPause({ steps }: Plan): void {
    const { events, outage } = this.#options.context;
    if (!steps.some(({ type }) => type === 'stop')) return;
    events.event(involvedPod(this.pod), 'Warning', unreachable(this.pod).reason, `Pod is ${unreachable(this.pod).message}`);
    outage.keep();
  }

  /** Reports the status if it is news. Nobody waits for the status of a pod that was removed. */
  #tell(gone: boolean): void {
    if (this.#removed) return;
    const state = this.#state;
    const { clock, node } = this.#options.context;
    const now = clock.monotonic();
    const paused = this.#ending()?.kind === 'paused';
    const ending = (this.#ending() !== undefined && !paused) || this.#finished(now);
    const waiting = paused ? new Map(slots(this.pod).map(({ container }) => [container.name, unreachable(this.pod)])) : state.waiting;
    const status = podStatus({
      pod: this.pod, views: this.views, now: clock.now(), monotonicMs: now, hostIPs: node().ips, waiting, probes: state.probes.views, replacing: state.replacing, hooks: state.hooks, failure: state.failure, ending, previous: state.status,
    });
    this.#tellBackoff(now);
    if (isDeepStrictEqual(status, this.#reported) && gone === this.#goneReported) return;
    state.status = status;
    this.#reported = status;
    this.#goneReported = gone;
    this.#options.report(this.pod, status, gone);
  }

  // By container id: one event for each time that a container is held back.
  readonly #backoffTold = new Set<string>();
  #tellBackoff(now: number): void {
    if (this.#ending()) return;
    for (const { container, role } of slots(this.pod)) {
      const view = currentOf(this.views, container.name);
      if (view?.state !== 'exited' || this.#backoffTold.has(view.id)) continue;
      const next = afterEnd(view, policyOf(this.pod, role), now);
      if (next.kind !== 'wait') continue;
      this.#backoffTold.add(view.id);
      if (this.#state.waiting.get(container.name)?.reason === 'PostStartHookError') this.#state.waiting.delete(container.name);
      this.#options.context.log.debug('back-off', { container: container.name, for: backoffText(next.backoffMs) });
      this.#options.context.events.event(involvedPod(this.pod, container.name), 'Warning', 'BackOff', `Back-off restarting failed container ${container.name} in pod ${podName(this.pod)}`);
    }
    for (const id of this.#backoffTold) if (!this.#state.views.has(id)) this.#backoffTold.delete(id);
  }

  /** A deletion with less grace than the one under way. */
  #hasten(graceSeconds: number): void {
    const killAtMs = this.#options.context.clock.monotonic() + graceSeconds * 1000;
    for (const [id, at] of this.#state.stopping) this.#state.stopping.set(id, Math.min(at, killAtMs));
  }

  async #rest(untilMs: number): Promise<void> {
    if (this.#woken) return;
    const { clock } = this.#options.context;
    let cancel = (): void => {};
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
      if (untilMs !== Infinity) cancel = clock.after(Math.max(0, untilMs - clock.monotonic()), resolve);
    });
    this.#resolve = undefined;
    cancel();
  }
}
