import type { Pod } from '../../shared/kinds/pod.ts';
import { containerHash } from '../runtime/docker-spec.ts';
import { sandboxName } from '../runtime/labels.ts';
import { afterEnd } from './restart.ts';
import { counts, currentOf, inLifeOf, policyOf, sandboxOf, slots, type ContainerView, type Slot } from './view.ts';

/**
 * One thing to do. The steps of one plan are independent of each other and run at the same time; what has to come
 * after them is in the next plan, made from what is seen then. So a step may fail, or the agent die, at any point.
 */
export type Step =
  | { readonly type: 'prepareVolumes' }
  | { readonly type: 'releaseVolumes' }
  /** Gives back what an ended pod has stored; its termination messages stay. */
  | { readonly type: 'emptyVolumes' }
  | { readonly type: 'ensureImage'; readonly container: string }
  | { readonly type: 'createSandbox'; readonly attempt: number }
  | { readonly type: 'startSandbox'; readonly id: string }
  | { readonly type: 'createContainer'; readonly container: string; readonly attempt: number; readonly backoffMs: number; readonly sandboxId: string }
  | { readonly type: 'startContainer'; readonly container: string; readonly id: string }
  /** Asks it to end; `why` for the event, `''` for the usual words. `replace`: so that another can take its place, whatever the restart policy. */
  | { readonly type: 'stop'; readonly container: string; readonly id: string; readonly graceSeconds: number; readonly why: string; readonly replace: boolean }
  | { readonly type: 'kill'; readonly id: string }
  | { readonly type: 'remove'; readonly id: string };

/** Why a pod is to end: asked to or no longer wanted on this node, over by a rule of its own, or without a master for too long. */
export interface Ending {
  /** `paused` is for now: it begins again, in a new sandbox, when this is over. */
  readonly kind: 'deleted' | 'terminal' | 'paused';
  readonly graceSeconds: number;
  /** When it began; the containers share one grace. Undefined: now. */
  readonly sinceMs?: number | undefined;
}

/** What a probe set knows of one container. */
export interface ProbeView { readonly started: boolean; readonly ready: boolean; readonly unhealthy: string | undefined; readonly graceSeconds: number | undefined }

/**
 * What of a pod's volumes is on the disk: nobody knows, or they are half made; all of them; none but what is kept for
 * the status of an ended pod; nothing.
 */
export type VolumesState = 'unknown' | 'ready' | 'emptied' | 'absent';

export interface PlanInput {
  readonly pod: Pod;
  readonly views: readonly ContainerView[];
  /** Monotonic, as are all times of a plan. */
  readonly now: number;
  readonly ending: Ending | undefined;
  readonly volumes: VolumesState;
  /** Containers whose image is at hand. */
  readonly images: ReadonlySet<string>;
  /** Names that cannot be worked on before a time, after a failure, and ids that cannot be ended. `POD` holds back sandbox and volumes. */
  readonly heldUntil: ReadonlyMap<string, number>;
  /** Containers told to end, by id, with the time at which the agent kills them itself, should the engine not have done it. */
  readonly stopping: ReadonlyMap<string, number>;
  /** Containers, by id, that were told to end because another is to take their place. */
  readonly replacing: ReadonlySet<string>;
  readonly probes: ReadonlyMap<string, ProbeView>;
  /** Containers, by id, whose postStart hook is under way. */
  readonly hooks?: ReadonlySet<string>;
  /** Restart counts last reported, for containers of which nothing is left. */
  readonly restartCounts: ReadonlyMap<string, number>;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** When to plan again though nothing happened; Infinity for never. */
  readonly wakeAtMs: number;
  /** Nothing is left of a deleted pod. */
  readonly gone: boolean;
}

/** What to do now to bring a pod closer to what it should be. Pure, and empty once it is there. */
export function plan(input: PlanInput): Plan {
  const draft = new Draft(input);
  if (input.ending) draft.end(input.ending);
  else if (finished(input)) draft.end({ kind: 'terminal', graceSeconds: graceOf(input.pod) });
  else draft.run();
  return draft.result();
}

const graceOf = (pod: Pod): number => pod.spec.terminationGracePeriodSeconds ?? 30;

/** All that the pod had to do is done, well or not. Sidecars do not count. */
export function finished({ pod, views, now, replacing }: Pick<PlanInput, 'pod' | 'views' | 'now' | 'replacing'>): boolean {
  const policy = pod.spec.restartPolicy ?? 'Always';
  if (policy === 'Always') return false;
  const all = slots(pod);
  const initFailed = all.some(({ container, role }) => {
    const view = currentOf(views, container.name);
    return role === 'init' && policy === 'Never' && view?.state === 'exited' && view.exitCode !== 0;
  });
  return initFailed || all.every(({ container, role }) => {
    if (role !== 'app') return true;
    const view = currentOf(views, container.name);
    return view?.state === 'exited' && !replacing.has(view.id) && afterEnd(view, policy, now).kind === 'done';
  });
}

class Draft {
  readonly #input: PlanInput;
  readonly #steps: Step[] = [];
  #wakeAtMs = Infinity;
  #gone = false;

  constructor(input: PlanInput) {
    this.#input = input;
  }

  result(): Plan {
    const steps = this.#steps.filter((step) => this.#allowed(step));
    return { steps, wakeAtMs: this.#wakeAtMs, gone: this.#gone };
  }

  /** What failed to end is asked to end again after a while, not at once: the engine may be away. */
  #allowed(step: Step): boolean {
    switch (step.type) {
      case 'stop': case 'kill': case 'remove': return this.#free(step.id);
      case 'releaseVolumes': case 'emptyVolumes': return this.#free(sandboxName);
      default: return true;
    }
  }

  /** Ends a pod: app containers first, then sidecars from the last to the first, then the sandbox. A deleted one leaves nothing, others their logs. */
  end(ending: Ending): void {
    const { pod, views, volumes } = this.#input;
    const sidecars = slots(pod).filter((slot) => slot.role === 'sidecar').map((slot) => slot.container.name);
    const running = views.filter((view) => view.name !== sandboxName && view.state === 'running');
    const first = running.filter((view) => !sidecars.includes(view.name));
    const last = sidecars.findLast((name) => running.some((view) => view.name === name));
    for (const view of first) this.#stop(view, ending.graceSeconds);
    if (first.length === 0) for (const view of running) if (view.name === last) this.#stop(view, this.#graceLeft(ending));
    if (running.length > 0) return;
    for (const view of views) {
      if (ending.kind === 'deleted' || !counts(view) || view.name === sandboxName || view.state === 'created') this.#steps.push({ type: 'remove', id: view.id });
      else if (view !== currentOf(views, view.name)) this.#removeOld(view);
    }
    if (ending.kind === 'terminal' && (volumes === 'ready' || volumes === 'unknown')) this.#steps.push({ type: 'emptyVolumes' });
    // What its engine fails to remove is its own affair.
    if (ending.kind !== 'deleted' || views.some((view) => !view.dead)) return;
    if (volumes !== 'absent') this.#steps.push({ type: 'releaseVolumes' });
    else this.#gone = true;
  }

  /** What others left of the grace, and at least a moment. */
  #graceLeft({ graceSeconds, sinceMs = this.#input.now }: Ending): number {
    return Math.max(Math.min(graceSeconds, 2), Math.ceil(graceSeconds - (this.#input.now - sinceMs) / 1000));
  }

  run(): void {
    this.#clearLeftovers();
    if (this.#input.volumes !== 'ready' && this.#free(sandboxName)) this.#steps.push({ type: 'prepareVolumes' });
    const sandbox = this.#sandbox();
    for (const slot of this.#due(sandbox)) this.#bring(slot, sandbox);
    // Whoever debugs a pod may want to know why its init containers do not get on.
    for (const slot of slots(this.#input.pod)) if (slot.role === 'ephemeral') this.#bring(slot, sandbox);
  }

  /** Containers of no name in the spec, of another sandbox, or more than one of a name; and dead ones beyond the last. */
  #clearLeftovers(): void {
    const { pod, views } = this.#input;
    const names = new Set([sandboxName, ...slots(pod).map((slot) => slot.container.name)]);
    const sandbox = sandboxOf(views);
    for (const view of views) {
      const current = currentOf(views, view.name);
      const foreign = !names.has(view.name) || (view.state === 'created' && view.name !== sandboxName && view.sandboxId !== sandbox?.id);
      if (foreign || !counts(view) || (view !== current && view.state !== 'exited')) this.#steps.push({ type: 'remove', id: view.id });
      else if (view !== current) this.#removeOld(view);
    }
  }

  /** Keeps one dead container per name, for its logs, beside a running one. */
  #removeOld(view: ContainerView): void {
    const { views } = this.#input;
    const current = currentOf(views, view.name);
    const newer = views.some((other) => other !== current && other.name === view.name && other.state === 'exited' && other.attempt > view.attempt);
    if (view.name === sandboxName || newer || current?.state === 'exited') this.#steps.push({ type: 'remove', id: view.id });
  }

  /** The sandbox, if containers can be made in it; else whatever brings it about. */
  #sandbox(): ContainerView | undefined {
    const { views } = this.#input;
    const sandbox = sandboxOf(views);
    if (sandbox?.state === 'running') return sandbox;
    // Their network went with the sandbox, so whatever still runs in it is cut off.
    const stranded = views.filter((view) => view.name !== sandboxName && view.state === 'running');
    for (const view of stranded) this.#stop(view, 2, 'Pod sandbox changed, it will be killed and re-created.');
    if (stranded.length > 0 || !this.#free(sandboxName)) return undefined;
    if (!sandbox) this.#steps.push({ type: 'createSandbox', attempt: this.#unused(sandboxName, 0) });
    else this.#steps.push({ type: 'startSandbox', id: sandbox.id });
    return sandbox?.state === 'created' ? sandbox : undefined;
  }

  /** The containers whose turn it is: the first init container that has not done its part, or all that come after. */
  #due(sandbox: ContainerView | undefined): Slot[] {
    const due: Slot[] = [];
    let hooked = false;
    for (const slot of slots(this.#input.pod)) {
      if (slot.role === 'ephemeral') continue;
      if (slot.role === 'init') {
        if (this.#initDone(slot, sandbox)) continue;
        return [...due, slot];
      }
      const running = currentOf(this.#input.views, slot.container.name)?.state === 'running';
      if (!hooked || running) due.push(slot);
      if (slot.role === 'sidecar' && !this.#sidecarUp(slot)) return due;
      hooked ||= this.#hookAhead(slot);
    }
    return due;
  }

  /** Containers start in order, each after the postStart hook of the one before; what cannot start holds up nobody. */
  #hookAhead({ container }: Slot): boolean {
    const { views, hooks, heldUntil, now } = this.#input;
    if (!container.lifecycle?.postStart) return false;
    const view = currentOf(views, container.name);
    const until = heldUntil.get(container.name) ?? 0;
    if (view?.state === 'running') return hooks?.has(view.id) ?? false;
    return view?.state !== 'exited' && (until <= now || until === Infinity);
  }

  /** An init container has to run again in a sandbox that was started anew, as after a reboot. */
  #initDone({ container }: Slot, sandbox: ContainerView | undefined): boolean {
    const { views, pod } = this.#input;
    const view = currentOf(views, container.name);
    if (view?.state === 'exited' && view.exitCode === 0 && inLifeOf(sandbox, view)) return true;
    // Once the pod's own containers have run, a missing init container was cleaned away, not skipped.
    return view?.state !== 'running' && pod.spec.containers.some((c) => inLifeOf(sandbox, currentOf(views, c.name)));
  }

  #sidecarUp({ container }: Slot): boolean {
    const { views, probes } = this.#input;
    const view = currentOf(views, container.name);
    return view?.state === 'running' && !this.#input.hooks?.has(view.id) && (probes.get(view.id)?.started ?? !container.startupProbe);
  }

  #bring(slot: Slot, sandbox: ContainerView | undefined): void {
    const view = currentOf(this.#input.views, slot.container.name);
    if (!view && slot.role === 'ephemeral' && this.#input.restartCounts.has(slot.container.name)) return undefined;
    if (!view) return this.#create(slot, sandbox, this.#firstAttempt(slot.container.name), 0);
    switch (view.state) {
      case 'created': return this.#startCreated(slot, view, sandbox);
      case 'running': return this.#keep(slot, view);
      case 'exited': return this.#restart(slot, view, sandbox);
    }
  }

  /** 0, or one more than the last of a name whose containers somebody removed. */
  #firstAttempt(name: string): number {
    const reported = this.#input.restartCounts.get(name);
    return reported === undefined ? 0 : reported + 1;
  }

  /** `attempt`, or the next one of which no dead container has the name. */
  #unused(name: string, attempt: number): number {
    return Math.max(attempt, ...this.#input.views.filter((view) => view.name === name && !counts(view)).map((view) => view.attempt + 1));
  }

  #startCreated({ container }: Slot, view: ContainerView, sandbox: ContainerView | undefined): void {
    if (view.hash !== containerHash(container)) this.#steps.push({ type: 'remove', id: view.id });
    else if (sandbox?.state === 'running' && view.sandboxId === sandbox.id && this.#input.volumes === 'ready' && this.#free(container.name)) {
      this.#steps.push({ type: 'startContainer', container: container.name, id: view.id });
    }
  }

  #keep({ container, role }: Slot, view: ContainerView): void {
    const probe = this.#input.probes.get(view.id);
    const grace = probe?.graceSeconds ?? graceOf(this.#input.pod);
    if (view.hash !== containerHash(container) && role !== 'init') this.#stop(view, grace, `Container ${container.name} definition changed, will be restarted`, true);
    else if (probe?.unhealthy) this.#stop(view, grace, `Container ${container.name} failed ${probe.unhealthy} probe, will be restarted`);
    else this.#stop(view, undefined);
  }

  #restart(slot: Slot, view: ContainerView, sandbox: ContainerView | undefined): void {
    const { pod, now, replacing } = this.#input;
    const byPolicy = afterEnd(view, policyOf(pod, slot.role), now);
    const changed = byPolicy.kind !== 'done' && view.hash !== containerHash(slot.container);
    // An init container that is due though it succeeded has to run again in a new sandbox.
    const again = slot.role === 'init' && view.exitCode === 0;
    const next = changed || again || replacing.has(view.id) ? { kind: 'start', backoffMs: 0 } as const : byPolicy;
    switch (next.kind) {
      case 'done': return;
      // It ended with its sandbox, as in a reboot: no fault of its own, so it need not wait.
      case 'wait': return sandbox?.state === 'running' && !inLifeOf(sandbox, view)
        ? this.#create(slot, sandbox, view.attempt + 1, next.backoffMs) : this.#wake(next.untilMs);
      case 'start': return this.#create(slot, sandbox, view.attempt + 1, next.backoffMs);
    }
  }

  /** Gets the image while the sandbox is being made, and makes the container while it starts. */
  #create({ container }: Slot, sandbox: ContainerView | undefined, attempt: number, backoffMs: number): void {
    const { images, volumes } = this.#input;
    if (!this.#free(container.name)) return;
    if (!images.has(container.name)) this.#steps.push({ type: 'ensureImage', container: container.name });
    else if (sandbox && volumes === 'ready' && (sandbox.state === 'running' || !needsAddress(this.#input.pod, container.name))) {
      this.#steps.push({ type: 'createContainer', container: container.name, attempt: this.#unused(container.name, attempt), backoffMs, sandboxId: sandbox.id });
    }
  }

  /** Asks a container to end, once, and kills it past its time. Undefined grace: only the latter. */
  #stop(view: ContainerView, graceSeconds: number | undefined, why = '', replace = false): void {
    const { stopping, now } = this.#input;
    const killAtMs = stopping.get(view.id);
    if (killAtMs === undefined) {
      if (graceSeconds !== undefined) this.#steps.push({ type: 'stop', container: view.name, id: view.id, graceSeconds, why, replace });
    } else if (now >= killAtMs) this.#steps.push({ type: 'kill', id: view.id });
    else this.#wake(killAtMs);
  }

  /** False while the name is held back after a failure, and sees to it that its time is not missed. */
  #free(name: string): boolean {
    const until = this.#input.heldUntil.get(name) ?? 0;
    if (until <= this.#input.now) return true;
    this.#wake(until);
    return false;
  }

  #wake(atMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, atMs);
  }
}

function needsAddress(pod: Pod, name: string): boolean {
  const container = slots(pod).find((slot) => slot.container.name === name)?.container;
  return container?.env?.some((entry) => entry.valueFrom?.fieldRef?.fieldPath?.startsWith('status.podIP')) ?? false;
}
