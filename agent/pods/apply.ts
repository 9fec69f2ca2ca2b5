import type { Container } from '../../shared/kinds/container.ts';
import { containerOptions, effectiveSecurity, sandboxOptions } from '../runtime/docker-spec.ts';
import { containerName, sandboxName } from '../runtime/labels.ts';
import { RuntimeError, type ContainerDetails, type CreateOptions, type ImageDetails } from '../runtime/runtime.ts';
import { VolumeError } from '../volumes/index.ts';
import { ensureImage } from './apply-image.ts';
import { stop } from './apply-stop.ts';
import { EnvError, environment, expand } from './env.ts';
import { involvedPod } from './events.ts';
import { forget, observe } from './observe.ts';
import type { Step } from './plan.ts';
import type { PodState } from './pod-state.ts';
import { check } from './probes.ts';
import { podName } from './status.ts';
import { sandboxOf, slots, viewOf } from './view.ts';

type Handlers = { readonly [T in Step['type']]: (state: PodState, step: Extract<Step, { type: T }>, signal: AbortSignal) => Promise<void> };

/** What each step does. A handler that throws leaves the name of its step held back; nothing of it needs undoing. */
const handlers: Handlers = {
  prepareVolumes, releaseVolumes, ensureImage, createSandbox, startSandbox, createContainer, startContainer, stop,
  kill: (state, step) => state.context.runtime.kill(step.id, 'SIGKILL'),
  remove: (state, step) => remove(state, step.id),
};

/** Runs the steps of one plan, all at once; failures end up in the state, for the next plan. */
export async function apply(state: PodState, steps: readonly Step[], signal: AbortSignal): Promise<void> {
  await Promise.all(steps.map((step) => applyOne(state, step, signal)));
}

async function applyOne<T extends Step['type']>(state: PodState, step: Extract<Step, { type: T }>, signal: AbortSignal): Promise<void> {
  const handler = handlers[step.type as T] as (state: PodState, step: Step, signal: AbortSignal) => Promise<void>;
  try {
    await handler(state, step, signal);
  } catch (error) {
    failed(state, step, error as Error);
  }
}

const nameOf = (step: Step): string => ('container' in step ? step.container : sandboxName);

/** Holds the step's name back; a failure that the pod's owner can do something about becomes a reason and an event. */
function failed(state: PodState, step: Step, error: Error): void {
  const { context, pod } = state;
  const name = nameOf(step);
  context.log.warn('step failed', { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, step: step.type, container: name, error });
  if (error instanceof RuntimeError && error.fault === 'unreachable') return state.hold(name, undefined, 1000);
  const event = (reason: string, message: string, container?: string): void => context.events.event(involvedPod(pod, container), 'Warning', reason, message);
  switch (step.type) {
    case 'prepareVolumes': event('FailedMount', error.message); break;
    case 'createSandbox': case 'startSandbox':
      event('FailedCreatePodSandBox', `Failed to create pod sandbox: rpc error: code = Unknown desc = ${error.message}`); break;
    case 'createContainer': {
      const reason = error instanceof EnvError || error instanceof VolumeError ? 'CreateContainerConfigError' : 'CreateContainerError';
      event('Failed', `Error: ${error.message}`, name);
      return state.hold(name, { reason, message: error.message });
    }
    case 'startContainer':
      event('Failed', `Error: ${error.message}`, name);
      return state.hold(name, { reason: 'RunContainerError', message: error.message });
    case 'ensureImage': case 'stop': case 'kill': case 'remove': case 'releaseVolumes': break;
  }
  state.hold(name, undefined);
}

async function prepareVolumes(state: PodState): Promise<void> {
  await state.context.volumes.prepare(state.pod);
  state.volumes = 'ready';
  state.succeeded(sandboxName);
}

async function releaseVolumes(state: PodState): Promise<void> {
  await state.context.volumes.release(state.uid);
  state.volumes = 'absent';
}

const identity = ({ pod, uid }: PodState): { name: string; namespace: string; uid: string } =>
  ({ name: pod.metadata.name ?? '', namespace: pod.metadata.namespace ?? '', uid });

async function createSandbox(state: PodState, step: { readonly attempt: number }): Promise<void> {
  const { context, pod } = state;
  const options = sandboxOptions({ pod, owner: context.owner, image: context.pauseImage, attempt: step.attempt, dns: context.dns(pod), oomFloor: context.oomFloor() });
  const create = (): Promise<string> => create1(state, sandboxName, step.attempt, options);
  try {
    await create();
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.fault !== 'notFound') throw error;
    await context.loadPause();
    await create();
  }
}

const created: ContainerDetails = {
  id: '', name: '', labels: {}, state: 'created', image: '', imageId: '', createdMs: 0, startedMs: 0, finishedMs: 0, exitCode: 0, oomKilled: false, error: '', ips: [], tty: false,
};

/** Makes a container and takes note of it. One of this name may be there from an agent that died: it is found and looked at. */
async function create1(state: PodState, container: string, attempt: number, options: CreateOptions): Promise<string> {
  const name = containerName(container, identity(state), attempt);
  try {
    const id = await state.context.runtime.create(name, options);
    // What an inspection would tell is known: it would cost the engine more than the agent, many pods at once.
    state.views.set(id, viewOf({ ...created, id, name, labels: options.Labels, image: options.Image, createdMs: state.context.clock.now() }));
    return id;
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.fault !== 'conflict') throw error;
    const there = await state.context.runtime.inspect(name);
    if (!there) throw error;
    await observe(state, there.id);
    return there.id;
  }
}

async function remove(state: PodState, id: string): Promise<void> {
  const { runtime } = state.context;
  await (state.views.get(id)?.state === 'created' ? runtime.discard(id) : runtime.remove(id));
  forget(state, id);
}

/** How often a start may fail before what cannot be started is thrown away, for another in its place. */
const maxFailedStarts = 2;

/**
 * Starts a container. One that was being started when its engine died is a wreck: the engine holds that it never ran and
 * that it runs already, and will never start it. So what stays unstarted twice is removed, and made anew by the next plan.
 */
async function startOrDiscard(state: PodState, id: string): Promise<void> {
  try {
    await state.context.runtime.start(id);
    state.failedStarts.delete(id);
  } catch (error) {
    if (error instanceof RuntimeError && error.fault === 'unreachable') throw error;
    const failures = (state.failedStarts.get(id) ?? 0) + 1;
    state.failedStarts.set(id, failures);
    // Docker keeps the reason with the container, from where it becomes its end.
    await observe(state, id);
    if (failures >= maxFailedStarts && state.views.get(id)?.state !== 'running') await discard(state, id, error as Error);
    throw error;
  }
}

async function discard(state: PodState, id: string, error: Error): Promise<void> {
  const view = state.views.get(id);
  // One that the engine could not start for a reason of its own has ended, and is restarted by its policy.
  if (!view || (view.state === 'exited' && view.name !== sandboxName)) return;
  state.context.log.warn('removing a container that its engine cannot start', { pod: podName(state.pod), container: view.name, id, error });
  await state.context.runtime.discard(id);
  forget(state, id);
}

async function startSandbox(state: PodState, step: { readonly id: string }): Promise<void> {
  await startOrDiscard(state, step.id);
  await observe(state, step.id);
  state.succeeded(sandboxName);
}

async function createContainer(state: PodState, step: Extract<Step, { type: 'createContainer' }>): Promise<void> {
  const { context, pod } = state;
  const container = containerOf(state, step.container);
  const image = state.images.get(step.container);
  if (!container || !image) return;
  checkUser(state, container, image);
  const node = context.node();
  const podIPs = pod.spec.hostNetwork ? node.ips : sandboxOf([...state.views.values()])?.ips ?? [];
  const env = environment({ pod, container, podIPs, node, references: context.references(pod.metadata.namespace ?? ''), services: context.services() });
  const lookup = (name: string): string | undefined => env.get(name);
  const messageFile = await context.volumes.messageFile(pod, container.name, step.attempt);
  await create1(state, container.name, step.attempt, containerOptions({
    pod, container, owner: context.owner, attempt: step.attempt, backoffMs: step.backoffMs, sandboxId: step.sandboxId,
    sandboxStartMs: startOf(state, step.sandboxId),
    image: image.id, imageUser: image.user, nodeMemoryBytes: node.memoryBytes, messageFile, oomFloor: context.oomFloor(),
    env: [...env].map(([name, value]) => `${name}=${value}`),
    command: container.command?.map((text) => expand(text, lookup)), args: container.args?.map((text) => expand(text, lookup)),
    mounts: await context.volumes.mounts(pod, container.volumeMounts ?? [], (text) => expand(text, lookup)),
  }));
  // The next container of this name asks for its image again, as its policy may be Always.
  state.images.delete(container.name);
  context.events.event(involvedPod(pod, container.name), 'Normal', 'Created', `Created container: ${container.name}`);
}

/** 0 for a sandbox that does not run yet. */
function startOf({ views }: PodState, id: string): number {
  const sandbox = views.get(id);
  return sandbox?.state === 'running' ? sandbox.startedMs : 0;
}

const containerOf = (state: PodState, name: string): Container | undefined => slots(state.pod).find((slot) => slot.container.name === name)?.container;

/** @throws EnvError where runAsNonRoot would be broken, or cannot be known to hold */
function checkUser({ pod }: PodState, container: Container, image: ImageDetails): void {
  const security = effectiveSecurity(pod.spec.securityContext, container.securityContext);
  if (!security.runAsNonRoot) return;
  const where = `(pod: "${podName(pod)}", container: ${container.name})`;
  if (security.runAsUser === 0) throw new EnvError(`container's runAsUser breaks non-root policy ${where}`);
  if (security.runAsUser !== undefined) return;
  const user = image.user.split(':')[0] ?? '';
  if (user === '' || user === '0') throw new EnvError(`container has runAsNonRoot and image will run as root ${where}`);
  if (!/^\d+$/.test(user)) throw new EnvError(`container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root ${where}`);
}

async function startContainer(state: PodState, step: Extract<Step, { type: 'startContainer' }>): Promise<void> {
  const { context, pod } = state;
  try {
    await startOrDiscard(state, step.id);
  } catch (error) {
    if (await sandboxDied(state)) return context.runtime.remove(step.id).then(() => forget(state, step.id));
    throw error;
  }
  await observe(state, step.id);
  state.succeeded(step.container);
  context.events.event(involvedPod(pod, step.container), 'Normal', 'Started', `Started container ${step.container}`);
  const hook = containerOf(state, step.container)?.lifecycle?.postStart;
  if (hook) state.start(() => postStart(state, step));
}

/** Whether a container could not start because its sandbox ended a moment ago: not its fault, and no news for its status. */
async function sandboxDied(state: PodState): Promise<boolean> {
  const sandbox = sandboxOf([...state.views.values()]);
  if (sandbox) await observe(state, sandbox.id);
  return sandboxOf([...state.views.values()])?.state !== 'running';
}

/** A hook that fails ends the container, which is then restarted by its policy. */
async function postStart(state: PodState, { container: name, id }: Extract<Step, { type: 'startContainer' }>): Promise<void> {
  const { context, pod } = state;
  const container = containerOf(state, name);
  const hook = container?.lifecycle?.postStart;
  if (!container || !hook) return;
  if (hook.sleep) return;
  const ips = sandboxOf([...state.views.values()])?.ips ?? [];
  const outcome = await check(hook, { runtime: context.runtime, id, container, ips, timeoutMs: 120_000 });
  if (outcome.ok) return;
  context.events.event(involvedPod(pod, name), 'Warning', 'FailedPostStartHook', `PostStartHook failed: ${outcome.message}`);
  await stop(state, { type: 'stop', container: name, id, graceSeconds: pod.spec.terminationGracePeriodSeconds ?? 30, why: 'FailedPostStartHook', replace: false });
}
