import type { Container, ContainerState, ContainerStateTerminated, ContainerStatus } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodCondition, PodPhase, PodStatus } from '../../shared/kinds/pod-status.ts';
import { toTime } from '../../shared/time.ts';
import { qosClass } from '../runtime/qos.ts';
import { conditionsOf } from './conditions.ts';
import type { Failure } from './ending.ts';
import type { ProbeView } from './plan.ts';
import { afterEnd, firstBackoffMs } from './restart.ts';
import { currentOf, policyOf, previousOf, sandboxOf, slots, type ContainerView, type Role, type Slot } from './view.ts';

export interface StatusInput {
  readonly pod: Pod;
  readonly views: readonly ContainerView[];
  /** Ms since 1970, for stamps. */
  readonly now: number;
  /** For durations. */
  readonly monotonicMs: number;
  readonly hostIPs: readonly string[];
  /** Why a container is not being made, by name: image and configuration errors. */
  readonly waiting: ReadonlyMap<string, Failure>;
  readonly probes: ReadonlyMap<string, ProbeView>;
  /** Containers, by id, whose place another is to take. */
  readonly replacing: ReadonlySet<string>;
  /** Containers, by id, whose postStart hook is under way: they do not count as running yet. */
  readonly hooks?: ReadonlySet<string>;
  readonly failure: Failure | undefined;
  /** The pod is ending for good: it keeps its phase until all has ended, and is not started again. */
  readonly ending: boolean;
  /** Last reported; transition times, restart counts and start time live on from it. */
  readonly previous: PodStatus | undefined;
}

/** A pod's status as the kubelet would report it (kubelet_pods.go, status/generate.go). Pure. */
export function podStatus(given: StatusInput): PodStatus {
  const views = given.views.map((view): ContainerView => (view.state === 'running' && given.hooks?.has(view.id) ? { ...view, state: 'created' } : view));
  const input = { ...given, views };
  const { pod, previous, now, failure } = input;
  const all = slots(pod).map((slot) => ({ slot, status: containerStatus(slot, input) }));
  const of = (...roles: Role[]): ContainerStatus[] => all.filter(({ slot }) => roles.includes(slot.role)).map(({ status }) => status);
  const [initStatuses, reported, ephemeralStatuses] = [of('init', 'sidecar'), of('app'), of('ephemeral')];
  const phase = phaseOf(input, all);
  const appStatuses = phase === 'Failed' || phase === 'Succeeded' ? settled(reported, initStatuses) : reported;
  if (wasRejected(input, phase)) return rejectedStatus(input);
  const ips = podIPs(input);
  return {
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    phase,
    conditions: conditionsOf({ pod, phase, sandboxUp: sandboxOf(input.views)?.state === 'running', initStatuses, appStatuses, previous: previous?.conditions ?? pod.status?.conditions ?? [], now, disruption: failure?.disrupted ? failure.message : undefined }) as PodCondition[],
    ...(phase === 'Failed' && (failure || previous?.reason) ? { reason: failure?.reason ?? previous?.reason ?? '', message: failure?.message ?? previous?.message ?? '' } : {}),
    ...(input.hostIPs[0] ? { hostIP: input.hostIPs[0], hostIPs: input.hostIPs.map((ip) => ({ ip })) } : {}),
    ...(ips[0] ? { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) } : {}),
    startTime: previous?.startTime ?? pod.status?.startTime ?? toTime(now),
    ...(initStatuses.length > 0 ? { initContainerStatuses: initStatuses } : {}),
    containerStatuses: appStatuses,
    ...(ephemeralStatuses.length > 0 ? { ephemeralContainerStatuses: ephemeralStatuses } : {}),
    qosClass: pod.status?.qosClass ?? qosClass(pod.spec),
  };
}

/** Of a pod that is over, no container is still to come: one that never ran has failed, if it was its turn (status_manager.go, TerminatePod). */
function settled(apps: ContainerStatus[], inits: readonly ContainerStatus[]): ContainerStatus[] {
  const last = inits.at(-1);
  const initialized = !last || apps.some(({ state, lastState }) => state?.running ?? state?.terminated ?? lastState?.terminated)
    || (last.state?.terminated ?? last.lastState?.terminated)?.exitCode === 0;
  if (!initialized) return apps;
  const terminated = { exitCode: 137, reason: 'ContainerStatusUnknown', message: 'The container could not be located when the pod was terminated' };
  return apps.map((status) => (status.state?.waiting ? { ...status, state: { terminated } } : status));
}

/** A pod that the node never took on has no containers to tell of. */
const wasRejected = ({ failure, previous }: StatusInput, phase: PodPhase): boolean =>
  phase === 'Failed' && (failure?.rejected ?? (previous?.phase === 'Failed' && previous.reason !== undefined && previous.containerStatuses === undefined));

function rejectedStatus({ pod, previous, failure, now }: StatusInput): PodStatus {
  return {
    phase: 'Failed', reason: failure?.reason ?? previous?.reason ?? '', message: failure?.message ?? previous?.message ?? '',
    startTime: previous?.startTime ?? toTime(now), qosClass: pod.status?.qosClass ?? qosClass(pod.spec),
  };
}

function podIPs({ pod, views, hostIPs, previous }: StatusInput): readonly string[] {
  const sandbox = sandboxOf(views);
  if (pod.spec.hostNetwork) return sandbox ? hostIPs : [];
  if (sandbox?.state === 'running') return sandbox.ips;
  // A pod that is over keeps the address it had.
  return (previous?.podIPs ?? []).map(({ ip }) => ip);
}

function containerStatus(slot: Slot, input: StatusInput): ContainerStatus {
  const { container } = slot;
  const { views, probes } = input;
  const before = lastReported(input, slot);
  const view = currentOf(views, container.name);
  const probe = view && probes.get(view.id);
  const { state, lastState } = statesOf(slot, view, before, input);
  const shown = view?.state === 'created' ? previousOf(views, container.name) ?? view : view;
  const running = state.running !== undefined;
  const started = running && (probe?.started ?? !container.startupProbe);
  const succeeded = state.terminated?.exitCode === 0;
  return {
    name: container.name, state, lastState,
    ready: slot.role === 'ephemeral' ? false : slot.role === 'init' ? succeeded : started && (probe?.ready ?? !container.readinessProbe),
    restartCount: shown?.attempt ?? before?.restartCount ?? 0,
    image: container.image ?? '',
    imageID: shown && shown.startedMs > 0 ? imageIdOf(shown) : before?.imageID ?? '',
    ...(shown && shown.state !== 'created' ? { containerID: `docker://${shown.id}` } : before?.containerID && !shown ? { containerID: before.containerID } : {}),
    ...(slot.role === 'ephemeral' ? {} : { started }),
    ...(view ? resourcesOf(container) : {}), ...mountsOf(container),
  };
}

/** What was set aside for a container, and is in force: nothing is resized in place. */
function resourcesOf({ resources: { requests, limits } = {} }: Container): Pick<ContainerStatus, 'allocatedResources' | 'resources'> {
  if (!requests && !limits) return {};
  return { ...(requests ? { allocatedResources: requests } : {}), resources: { ...(limits ? { limits } : {}), ...(requests ? { requests } : {}) } };
}

function mountsOf({ volumeMounts = [] }: Container): Pick<ContainerStatus, 'volumeMounts'> {
  if (volumeMounts.length === 0) return {};
  return { volumeMounts: volumeMounts.map(({ name, mountPath, readOnly }) => ({ name, mountPath, ...(readOnly ? { readOnly, recursiveReadOnly: 'Disabled' } : {}) })) };
}

/** As Docker's own kubelet driver named images: by what they can be pulled by, if there is such. */
const imageIdOf = ({ imageDigest, imageId }: ContainerView): string => (imageDigest ? `docker-pullable://${imageDigest}` : `docker://${imageId}`);

function lastReported({ previous, pod }: StatusInput, { container, role }: Slot): ContainerStatus | undefined {
  const from = previous ?? pod.status;
  const list = role === 'app' ? from?.containerStatuses : role === 'ephemeral' ? from?.ephemeralContainerStatuses : from?.initContainerStatuses;
  return list?.find((status) => status.name === container.name);
}

interface States { readonly state: ContainerState; readonly lastState: ContainerState }

function statesOf(slot: Slot, view: ContainerView | undefined, before: ContainerStatus | undefined, input: StatusInput): States {
  const { views } = input;
  const old = previousOf(views, slot.container.name);
  const lastState: ContainerState = old ? { terminated: terminated(old) } : before && !view ? before.lastState ?? {} : {};
  if (!view) {
    if (input.ending && before?.state?.terminated) return { state: before.state, lastState };
    return { state: waitingState(slot, input, false), lastState };
  }
  switch (view.state) {
    case 'running': return { state: { running: { startedAt: toTime(view.startedMs) } }, lastState };
    case 'created': return { state: waitingState(slot, input, false), lastState };
    case 'exited': return endedState(slot, view, input, lastState);
  }
}

/** Terminated while nothing follows; waiting, with the end as lastState, while the next one is held up. */
function endedState(slot: Slot, view: ContainerView, input: StatusInput, lastState: ContainerState): States {
  const end: ContainerState = { terminated: terminated(view) };
  const next = afterEnd(view, policyOf(input.pod, slot.role), input.monotonicMs);
  const over = input.ending || next.kind === 'done';
  if (input.replacing.has(view.id) && !input.ending) return { state: waitingState(slot, input, true), lastState: end };
  if (over) return { state: end, lastState };
  if (input.waiting.has(slot.container.name)) return { state: waitingState(slot, input, true), lastState: end };
  if (next.kind === 'wait') {
    const message = `back-off ${backoffText(next.backoffMs)} restarting failed container=${slot.container.name} pod=${podName(input.pod)}`;
    return { state: { waiting: { reason: 'CrashLoopBackOff', message } }, lastState: end };
  }
  return { state: end, lastState };
}

/** A duration as Go prints it. */
export function backoffText(ms: number): string {
  const seconds = Math.round(Math.max(firstBackoffMs, ms) / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

/** `web_default(0b2c…)`, as the kubelet's logs and messages name a pod. */
export const podName = (pod: Pod): string => `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;

/** What never ran yet waits for the pod's initialization by its reason, even when that is over: so the kubelet has it. */
function waitingState({ container }: Slot, { waiting, pod }: StatusInput, ended: boolean): ContainerState {
  const failure = waiting.get(container.name);
  if (failure) return { waiting: { reason: failure.reason, ...(failure.message ? { message: failure.message } : {}) } };
  const hasInit = (pod.spec.initContainers?.length ?? 0) > 0;
  return { waiting: { reason: hasInit && !ended ? 'PodInitializing' : 'ContainerCreating' } };
}

export function terminated(view: ContainerView): ContainerStateTerminated {
  const reason = view.cannotRun ? 'ContainerCannotRun' : view.oomKilled ? 'OOMKilled' : view.exitCode === 0 ? 'Completed' : 'Error';
  return {
    exitCode: view.exitCode, reason, ...(view.message ? { message: view.message } : {}),
    startedAt: toTime(view.startedMs), finishedAt: toTime(view.finishedMs), containerID: `docker://${view.id}`,
  };
}

/** As getPhase in kubelet_pods.go: from what the containers are, and the restart policy. */
function phaseOf(input: StatusInput, all: readonly { slot: Slot; status: ContainerStatus }[]): PodPhase {
  const { pod, previous, failure, ending, views, hooks } = input;
  if (previous?.phase === 'Failed' || previous?.phase === 'Succeeded') return previous.phase;
  const runningStill = views.some((view) => (view.state === 'running' || hooks?.has(view.id)) && slots(pod).some((slot) => slot.container.name === view.name));
  if (failure) return runningStill ? previous?.phase ?? 'Pending' : 'Failed';
  const policy = pod.spec.restartPolicy ?? 'Always';
  const apps = all.filter(({ slot }) => slot.role === 'app').map(({ status }) => status);
  if (initPending(all, policy)) return 'Pending';
  if (all.some(({ slot, status }) => slot.role === 'init' && policy === 'Never' && (status.state?.terminated?.exitCode ?? 0) !== 0)) return runningStill ? 'Pending' : 'Failed';
  if (apps.some((status) => status.state?.waiting && !status.lastState?.terminated)) return 'Pending';
  if (apps.some((status) => status.state?.running)) return 'Running';
  if (!apps.every((status) => status.state?.terminated)) return 'Running';
  const succeeded = apps.every((status) => status.state?.terminated?.exitCode === 0);
  // A pod that is being deleted has ended for good, whatever its policy.
  if (policy === 'Always' && !ending) return 'Running';
  if (succeeded) return 'Succeeded';
  return policy === 'Never' || ending ? 'Failed' : 'Running';
}

function initPending(all: readonly { slot: Slot; status: ContainerStatus }[], policy: string): boolean {
  const appsBegun = all.some(({ slot, status }) => slot.role === 'app' && (status.state?.running || status.state?.terminated || status.lastState?.terminated));
  if (appsBegun) return false;
  return all.some(({ slot, status }) => {
    if (slot.role === 'sidecar') return !status.started;
    if (slot.role !== 'init') return false;
    const exit = status.state?.terminated?.exitCode;
    return exit === undefined || (exit !== 0 && policy !== 'Never');
  });
}
