import type { Container } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { label, sandboxName } from '../runtime/labels.ts';
import type { ContainerDetails, ContainerState } from '../runtime/runtime.ts';

/** A container as planner and status see it: what the engine says, read through the labels. */
export interface ContainerView {
  readonly id: string;
  /** Name in the pod spec; {@link sandboxName} for the sandbox. */
  readonly name: string;
  /** `exited` too when the engine failed to start it (`cannotRun`). */
  readonly state: Exclude<ContainerState, 'dead'>;
  /** The engine has begun to remove it, and may have failed to: it cannot be started any more. */
  readonly dead: boolean;
  /** The engine refused to start it; `message` says why. */
  readonly cannotRun: boolean;
  readonly attempt: number;
  readonly hash: string;
  readonly backoffMs: number;
  readonly sandboxId: string;
  /** Start of the sandbox in whose life it was made; 0 for one made before the sandbox was started. */
  readonly sandboxStartMs: number;
  readonly image: string;
  readonly imageId: string;
  /** `name@sha256:…` that it was pulled by, `''` for one that came from no registry. */
  readonly imageDigest: string;
  /** Ms since 1970, 0 for not yet. */
  readonly createdMs: number;
  readonly startedMs: number;
  readonly finishedMs: number;
  /** When it ended as the agent's own monotonic clock has it: what waits after an end are counted from. 0 for not yet. */
  readonly endedMs: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly ips: readonly string[];
  readonly messageFile: string | undefined;
  /** Termination message, or the engine's error. */
  readonly message: string;
}

/** `endedMs` is for one that has ended. */
export function viewOf(details: ContainerDetails, endedMs = 0): ContainerView {
  const { labels } = details;
  // A container that could not be started stays "created" in Docker, with an exit code and an error.
  const dead = details.state === 'dead';
  const cannotRun = !dead && details.state !== 'running' && details.startedMs === 0 && details.exitCode !== 0;
  return {
    id: details.id, name: labels[label.container] ?? '', state: cannotRun || details.state === 'dead' ? 'exited' : details.state, dead, cannotRun,
    attempt: Number(labels[label.restartCount] ?? 0), hash: labels[label.hash] ?? '', backoffMs: Number(labels[label.backoffMs] ?? 0),
    sandboxId: labels[label.sandboxId] ?? '', sandboxStartMs: Number(labels[label.sandboxStart] ?? 0), image: details.image, imageId: details.imageId, imageDigest: labels[label.imageDigest] ?? '',
    createdMs: details.createdMs, startedMs: details.startedMs || (cannotRun ? details.createdMs : 0),
    finishedMs: details.finishedMs || (cannotRun ? details.createdMs : 0),
    endedMs, exitCode: details.exitCode, oomKilled: details.oomKilled, ips: details.ips,
    messageFile: labels[label.messageFile], message: cannotRun ? details.error : '',
  };
}

export type Role = 'init' | 'sidecar' | 'app' | 'ephemeral';

/**
 * A container of the spec and what it is to the pod. A sidecar is an init container that is always restarted; an
 * ephemeral one came later, to debug the others, perhaps in the process namespace of one of them (`target`).
 */
export interface Slot { readonly container: Container; readonly role: Role; readonly target?: string }

/** In the order of start: init containers and sidecars as listed, then the others; ephemeral ones, which wait for nothing, last. */
export function slots(pod: Pod): Slot[] {
  const first = (pod.spec.initContainers ?? []).map((container): Slot => ({ container, role: container.restartPolicy === 'Always' ? 'sidecar' : 'init' }));
  const last = (pod.spec.ephemeralContainers ?? []).map(({ targetContainerName: target, ...container }): Slot => ({ container, role: 'ephemeral', ...(target ? { target } : {}) }));
  return [...first, ...pod.spec.containers.map((container): Slot => ({ container, role: 'app' })), ...last];
}

/** The restart policy that counts for a container. */
export function policyOf(pod: Pod, role: Role): 'Always' | 'OnFailure' | 'Never' {
  if (role === 'sidecar') return 'Always';
  if (role === 'ephemeral') return 'Never';
  const policy = pod.spec.restartPolicy ?? 'Always';
  return role === 'init' && policy === 'Always' ? 'OnFailure' : policy;
}

/**
 * Of several containers of one name, the one that counts: the running one made last, else the newest of all.
 * The others are left over from restarts, or from an agent that died between two steps.
 */
export function currentOf(views: readonly ContainerView[], name: string): ContainerView | undefined {
  let best: ContainerView | undefined;
  for (const view of views) {
    if (view.name === name && counts(view) && (!best || rank(view, best) > 0)) best = view;
  }
  return best;
}

/** False for what the engine lost before it was anything to the pod: a dead sandbox, and what never ran. */
export const counts = (view: ContainerView): boolean => !view.dead || (view.name !== sandboxName && view.startedMs > 0);

function rank(a: ContainerView, b: ContainerView): number {
  return Number(a.state === 'running') - Number(b.state === 'running') || a.attempt - b.attempt || a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1);
}

/** The container of the same name that ended last, other than the current one: what `lastState` and `--previous` show. */
export function previousOf(views: readonly ContainerView[], name: string): ContainerView | undefined {
  const current = currentOf(views, name);
  let best: ContainerView | undefined;
  for (const view of views) {
    if (view.name === name && view.state === 'exited' && counts(view) && view !== current && (!best || rank(view, best) > 0)) best = view;
  }
  return best;
}

/**
 * Whether a container was started since the sandbox was. Which of the two starts is the later one does not tell: the
 * machine's clock may have been set in between. So a container carries the start of the sandbox that it was made for.
 */
export function inLifeOf(sandbox: ContainerView | undefined, view: ContainerView | undefined): boolean {
  if (!view || view.startedMs === 0 || sandbox?.state !== 'running') return false;
  return view.sandboxStartMs === 0 ? view.startedMs >= sandbox.startedMs : view.sandboxStartMs === sandbox.startedMs;
}

export const sandboxOf = (views: readonly ContainerView[]): ContainerView | undefined => currentOf(views, sandboxName);
