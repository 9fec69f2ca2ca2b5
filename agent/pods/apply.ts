import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container } from '../../shared/kinds/container.ts';
import { containerOptions, effectiveSecurity, sandboxOptions } from '../runtime/docker-spec.ts';
import { containerName, sandboxName } from '../runtime/labels.ts';
import { RuntimeError, type ContainerDetails, type CreateOptions, type ImageDetails } from '../runtime/runtime.ts';
import { VolumeError } from '../volumes/volume-error.ts';
import { ensureImage } from './apply-image.ts';
import { start } from './apply-start.ts';
import { stop } from './apply-stop.ts';
import { EnvError, environment, expand } from './env.ts';
import { involvedPod } from './events.ts';
import { kernelName } from './hosts-file.ts';
import { networkMounts, writeNetworkFiles } from './network-files.ts';
import { forget, observe } from './observe.ts';
import type { Step } from './plan.ts';
import type { PodState } from './pod-state.ts';
import { runHook } from './check.ts';
import { podName } from './status.ts';
import { currentOf, sandboxOf, slots, viewOf, type ContainerView } from './view.ts';

type Handlers = { readonly [T in Step['type']]: (state: PodState, step: Extract<Step, { type: T }>, signal: AbortSignal) => Promise<void> };

/** What each step does. A handler that throws leaves the name of its step held back; nothing of it needs undoing. */
const handlers: Handlers = {
  prepareVolumes, releaseVolumes, emptyVolumes, ensureImage, createSandbox, startSandbox, createContainer, startContainer, stop,
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

/** What a failure holds back: the making of a name, or the end of one container. */
const heldBy = (step: Step): string => (step.type === 'stop' || step.type === 'kill' || step.type === 'remove' ? step.id : nameOf(step));

/** Holds the step's name back; a failure that the pod's owner can do something about becomes a reason and an event. */
function failed(state: PodState, step: Step, error: Error): void {
  const { context, pod } = state;
  const name = nameOf(step);
  context.log.warn('step failed', { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, step: step.type, container: name, error });
  if (error instanceof RuntimeError && error.fault === 'unreachable') return state.hold(heldBy(step), undefined, 1000);
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
    case 'ensureImage': case 'stop': case 'kill': case 'remove': case 'releaseVolumes': case 'emptyVolumes': break;
  }
  state.hold(heldBy(step), undefined);
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

async function emptyVolumes(state: PodState): Promise<void> {
  await state.context.volumes.empty(state.uid);
  state.volumes = 'emptied';
}

const identity = ({ pod, uid }: PodState): { name: string; namespace: string; uid: string } =>
  ({ name: pod.metadata.name ?? '', namespace: pod.metadata.namespace ?? '', uid });

async function createSandbox(state: PodState, step: { readonly attempt: number }): Promise<void> {
  const { context, pod } = state;
  const network = pod.spec.hostNetwork ? 'host' : await context.bridge();
  const options = sandboxOptions({ pod, network, owner: context.owner, image: context.pauseImage, attempt: step.attempt, hostname: kernelName(pod, context.naming.cluster().domain), oomFloor: context.oomFloor() });
  const create = (): Promise<string> => create1(state, sandboxName, step.attempt, options);
  try {
    await create();
  } catch (error) {
    if (/unknown or invalid runtime name|Unknown runtime specified/.test((error as Error).message)) throw new Error(`failed to get sandbox runtime: no runtime for "${options.HostConfig.Runtime}" is configured`, { cause: error });
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

/** By the engine it does not run, but it may have died over a start of it. A sandbox is started again after its end, so it may be wrong about any. */
const mayHaveStrays = ({ state, name, startedMs, cannotRun, dead }: ContainerView): boolean => state !== 'running' && (name === sandboxName || startedMs === 0 || cannotRun || dead);

async function remove(state: PodState, id: string): Promise<void> {
  const { runtime } = state.context;
  const view = state.views.get(id);
  if (view && mayHaveStrays(view)) await runtime.endStrays(id);
  await runtime.remove(id).catch(async (error: unknown) => {
    // It may be dead now.
    await observe(state, id);
    throw error;
  });
  forget(state, id);
}

async function startSandbox(state: PodState, step: { readonly id: string }): Promise<void> {
  await start(state, sandboxName, step.id);
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
  const skipped = (message: string): void => context.events.event(involvedPod(pod), 'Warning', 'InvalidEnvironmentVariableNames', message);
  const env = environment({ pod, container, podIPs, node, references: context.references(pod.metadata.namespace ?? ''), services: context.services(), skipped });
  const targetId = targetOf(state, step.container);
  const lookup = (name: string): string | undefined => env.get(name);
  const seccomp = await seccompProfile(state, container);
  const messageFile = await context.volumes.messageFile(pod, container.name, step.attempt);
  await create1(state, container.name, step.attempt, containerOptions({
    pod, container, owner: context.owner, attempt: step.attempt, backoffMs: step.backoffMs, sandboxId: step.sandboxId,
    sandboxStartMs: startOf(state, step.sandboxId), targetId, seccomp,
    image: image.id, imageUser: image.user, imageDigest: digestOf(image, container.image ?? ''), nodeMemoryBytes: node.memoryBytes, messageFile, oomFloor: context.oomFloor(), pidsLimit: context.podMaxPids,
    env: [...env].map(([name, value]) => `${name}=${value}`),
    command: container.command?.map((text) => expand(text, lookup)), args: container.args?.map((text) => expand(text, lookup)),
    mounts: [...await networkMounts(state, container), ...await context.volumes.mounts(pod, container, lookup)],
  }));
  // The next container of this name asks for its image again, as its policy may be Always.
  state.images.delete(container.name);
  context.events.event(involvedPod(pod, container.name), 'Normal', 'Created', `Created container: ${container.name}`);
}

/** The digest of the repository that was asked for, rather than of another that holds the same image. */
function digestOf({ digests }: ImageDetails, name: string): string | undefined {
  const repository = name.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  return digests.find((digest) => digest.startsWith(`${repository}@`)) ?? digests[0];
}

/** Text of the profile of this node that the container names. @throws RuntimeError when it cannot be read */
async function seccompProfile({ context, pod }: PodState, container: Container): Promise<string | undefined> {
  const profile = effectiveSecurity(pod.spec.securityContext, container.securityContext).seccompProfile;
  if (profile?.type !== 'Localhost') return undefined;
  const path = join(context.seccompRoot, profile.localhostProfile ?? '');
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new RuntimeError('invalid', `cannot load seccomp profile ${JSON.stringify(path)}: open ${path}: ${code === 'ENOENT' ? 'no such file or directory' : message}`);
  }
}

/** The running container whose processes an ephemeral one is to see. @throws EnvError when it does not run */
function targetOf(state: PodState, name: string): string | undefined {
  const target = slots(state.pod).find((slot) => slot.container.name === name)?.target;
  if (!target) return undefined;
  const view = currentOf([...state.views.values()], target);
  if (view?.state !== 'running') throw new EnvError(`unable to find target container ${target}`);
  return view.id;
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
  await writeNetworkFiles(state);
  try {
    await start(state, step.container, step.id);
  } catch (error) {
    if (await sandboxDied(state)) return remove(state, step.id);
    throw error;
  }
  await observe(state, step.id);
  state.succeeded(step.container);
  context.events.event(involvedPod(pod, step.container), 'Normal', 'Started', `Started container ${step.container}`);
  if (!containerOf(state, step.container)?.lifecycle?.postStart) return;
  state.hooks.add(step.id);
  state.start(() => postStart(state, step));
}

/** Whether a container could not start because its sandbox ended a moment ago: not its fault, and no news for its status. */
async function sandboxDied(state: PodState): Promise<boolean> {
  const sandbox = sandboxOf([...state.views.values()]);
  if (sandbox) await observe(state, sandbox.id);
  return sandboxOf([...state.views.values()])?.state !== 'running';
}

/** For how long a hook may run that nothing else bounds. */
const hookLimitMs = 24 * 3_600_000;

/** Until it is done, the container does not count as running. A hook that fails ends it, and it is restarted by its policy. */
async function postStart(state: PodState, { container: name, id }: Extract<Step, { type: 'startContainer' }>): Promise<void> {
  const { context, pod } = state;
  const container = containerOf(state, name);
  const hook = container?.lifecycle?.postStart;
  try {
    if (!container || !hook) return;
    if (hook.sleep) return await new Promise<void>((resolve) => { context.clock.after(hook.sleep!.seconds * 1000, resolve); });
    const ips = sandboxOf([...state.views.values()])?.ips ?? [];
    const outcome = await runHook(hook, { runtime: context.runtime, id, container, ips, timeoutMs: hookLimitMs });
    if (outcome.warning) context.events.event(involvedPod(pod), 'Warning', 'LifecycleHTTPFallback', outcome.message);
    if (outcome.ok || state.views.get(id)?.state !== 'running') return;
    // What it says may be a secret: it goes to the log and the status, not into an event.
    context.log.warn('postStart hook failed', { pod: podName(pod), container: name, why: outcome.message });
    context.events.event(involvedPod(pod, name), 'Warning', 'FailedPostStartHook', 'PostStartHook failed');
    state.waiting.set(name, { reason: 'PostStartHookError', message: outcome.message });
    await stop(state, { type: 'stop', container: name, id, graceSeconds: pod.spec.terminationGracePeriodSeconds ?? 30, why: 'FailedPostStartHook', replace: false });
  } finally {
    state.hooks.delete(id);
  }
}
