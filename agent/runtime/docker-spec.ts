import { createHash } from 'node:crypto';
import type { Container } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { ContainerSecurityContext, PodSecurityContext } from '../../shared/kinds/security-context.ts';
import { runtimeHandlerOf } from '../../shared/runtime-handler.ts';
import { amount } from './amount.ts';
import { label, sandboxName } from './labels.ts';
import { oomScoreAdjust } from './qos.ts';
import type { CreateOptions, HostConfig, Mount } from './runtime.ts';
import { sysctlsOf } from './sysctls.ts';

export interface SandboxInput {
  readonly pod: Pod;
  readonly owner: string;
  readonly image: string;
  readonly attempt: number;
  /** What it calls itself, if its network is its own. */
  readonly hostname: string;
  /** The engine's network for pods; its own bridge if absent. */
  readonly network?: string;
  /** Lowest oom_score_adj that the engine can set. */
  readonly oomFloor: number;
}

export interface ContainerInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly owner: string;
  readonly attempt: number;
  readonly backoffMs: number;
  readonly sandboxId: string;
  /** When the sandbox was started, ms since 1970; 0 while it is not. */
  readonly sandboxStartMs: number;
  /** Container whose process namespace it joins. */
  readonly targetId?: string | undefined;
  /** What to run: the name asked for, or the id it was resolved to. */
  readonly image: string;
  /** `name@sha256:…` of the image, if it came from a registry. */
  readonly imageDigest?: string | undefined;
  /** User that the image names, `''` for none. */
  readonly imageUser: string;
  /** `NAME=value`. */
  readonly env: readonly string[];
  /** After `$(NAME)` was replaced; undefined leaves it to the image. */
  readonly command: readonly string[] | undefined;
  readonly args: readonly string[] | undefined;
  readonly mounts: readonly Mount[];
  /** File on the host that is mounted at terminationMessagePath. */
  readonly messageFile: string | undefined;
  readonly nodeMemoryBytes: number;
  /** Text of the seccomp profile, where its type is Localhost. */
  readonly seccomp?: string | undefined;
  /** Lowest oom_score_adj that the engine can set. */
  readonly oomFloor: number;
  /** Processes and threads that it may have; undefined: no limit. */
  readonly pidsLimit?: number | undefined;
}

// Docker rotates by size, the kubelet's default is five files of 10 MiB.
const logging = { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '5' } };
const cpuPeriodUs = 100_000;

/** What a running container must agree with: changing it restarts the container, as in the kubelet's HashContainer. */
export function containerHash(container: Pick<Container, 'name' | 'image'>): string {
  return createHash('sha256').update(JSON.stringify([container.name, container.image ?? ''])).digest('hex').slice(0, 16);
}

/** The container that holds a pod's network, IPC and perhaps process namespace, and its host ports. */
export function sandboxOptions(input: SandboxInput): CreateOptions {
  const { pod } = input;
  const { spec } = pod;
  const host: HostConfig = {
    NetworkMode: spec.hostNetwork ? 'host' : input.network ?? 'bridge',
    IpcMode: spec.hostIPC ? 'host' : 'shareable',
    ...(spec.hostPID ? { PidMode: 'host' } : {}),
    OomScoreAdj: Math.max(-998, input.oomFloor),
    RestartPolicy: { Name: 'no' },
    LogConfig: logging,
    ...runtimeOf(pod),
    ...(spec.hostNetwork ? {} : ports(pod)),
    ...(spec.securityContext?.sysctls?.length ? { Sysctls: sysctlsOf(pod) } : {}),
  };
  return {
    Image: input.image,
    ...(spec.hostNetwork ? {} : { Hostname: input.hostname }),
    Labels: { ...podLabels(input.owner, pod), [label.container]: sandboxName, [label.restartCount]: String(input.attempt) },
    ...(host.PortBindings ? { ExposedPorts: Object.fromEntries(Object.keys(host.PortBindings).map((port) => [port, {}])) } : {}),
    HostConfig: host,
  };
}

function ports(pod: Pod): Pick<HostConfig, 'PortBindings'> {
  const bindings: NonNullable<HostConfig['PortBindings']> = {};
  for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
    for (const port of container.ports ?? []) {
      if (!port.hostPort) continue;
      const key = `${port.containerPort}/${(port.protocol ?? 'TCP').toLowerCase()}`;
      (bindings[key] ??= []).push({ HostIp: port.hostIP ?? '', HostPort: String(port.hostPort) });
    }
  }
  return Object.keys(bindings).length > 0 ? { PortBindings: bindings } : {};
}

/** A container of the pod, in the namespaces of its sandbox. */
export function containerOptions(input: ContainerInput): CreateOptions {
  const { pod, container } = input;
  const security = effectiveSecurity(pod.spec.securityContext, container.securityContext);
  const user = userOf(security, input.imageUser);
  return {
    Image: input.image,
    ...(user === undefined ? {} : { User: user }),
    Env: [...input.env],
    ...(input.command ? { Entrypoint: [...input.command] } : {}),
    ...(input.args ? { Cmd: [...input.args] } : {}),
    ...(container.workingDir ? { WorkingDir: container.workingDir } : {}),
    ...(container.stdin ? { OpenStdin: true, StdinOnce: container.stdinOnce ?? false } : {}),
    ...(container.tty ? { Tty: true } : {}),
    Labels: {
      ...podLabels(input.owner, pod), [label.container]: container.name, [label.sandboxId]: input.sandboxId,
      [label.restartCount]: String(input.attempt), [label.backoffMs]: String(input.backoffMs), [label.hash]: containerHash(container),
      ...(input.sandboxStartMs ? { [label.sandboxStart]: String(input.sandboxStartMs) } : {}),
      ...(input.imageDigest ? { [label.imageDigest]: input.imageDigest } : {}),
      ...(input.messageFile ? { [label.messageFile]: input.messageFile } : {}),
    },
    HostConfig: {
      NetworkMode: `container:${input.sandboxId}`,
      IpcMode: pod.spec.hostIPC ? 'host' : `container:${input.sandboxId}`,
      ...pidMode(input),
      Mounts: [...input.mounts, ...messageMount(container, input.messageFile)],
      RestartPolicy: { Name: 'no' },
      LogConfig: logging,
      OomScoreAdj: Math.max(input.oomFloor, oomScoreAdjust(pod.spec, container, input.nodeMemoryBytes)),
      ...runtimeOf(pod),
      ...limits(container),
      ...(input.pidsLimit === undefined ? {} : { PidsLimit: input.pidsLimit }),
      ...privileges(pod.spec.securityContext, security, securityOptions(security, appArmorOf(pod, container), input.seccomp)),
    },
  };
}

function runtimeOf(pod: Pod): Pick<HostConfig, 'Runtime'> {
  const Runtime = runtimeHandlerOf(pod);
  return Runtime === undefined ? {} : { Runtime };
}

function pidMode({ pod, targetId, sandboxId }: ContainerInput): Pick<HostConfig, 'PidMode'> {
  if (pod.spec.hostPID) return { PidMode: 'host' };
  if (targetId) return { PidMode: `container:${targetId}` };
  return pod.spec.shareProcessNamespace ? { PidMode: `container:${sandboxId}` } : {};
}

const podLabels = (owner: string, pod: Pod): Record<string, string> => ({
  [label.owner]: owner,
  [label.podNamespace]: pod.metadata.namespace ?? '', [label.podName]: pod.metadata.name ?? '', [label.podUid]: pod.metadata.uid ?? '',
});

const messageMount = (container: Container, file: string | undefined): Mount[] =>
  (file ? [{ Type: 'bind', Source: file, Target: container.terminationMessagePath ?? '/dev/termination-log', ReadOnly: false }] : []);

/** CPU shares and quota, memory without swap: as the kubelet's cgroup arithmetic has them. */
function limits(container: Container): Partial<HostConfig> {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const request = amount(requests['cpu'] ?? limits['cpu']) ?? 0;
  const quota = amount(limits['cpu']);
  const memory = amount(limits['memory']);
  return {
    CpuShares: Math.max(2, Math.min(262_144, Math.trunc(request * 1024))),
    ...(quota ? { CpuPeriod: cpuPeriodUs, CpuQuota: Math.max(1000, Math.trunc(quota * cpuPeriodUs)) } : {}),
    ...(memory ? { Memory: Math.trunc(memory), MemorySwap: Math.trunc(memory) } : {}),
  };
}

/** The container's settings over those that the pod's have in common with them. */
export function effectiveSecurity(pod: PodSecurityContext | undefined, container: ContainerSecurityContext | undefined): ContainerSecurityContext {
  const { seLinuxOptions, runAsUser, runAsGroup, runAsNonRoot, seccompProfile, appArmorProfile } = pod ?? {};
  const inherited = { seLinuxOptions, runAsUser, runAsGroup, runAsNonRoot, seccompProfile, appArmorProfile };
  return { ...withoutUndefined(inherited), ...container };
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function userOf(security: ContainerSecurityContext, imageUser: string): string | undefined {
  const { runAsUser, runAsGroup } = security;
  if (runAsUser === undefined && runAsGroup === undefined) return undefined;
  const user = runAsUser ?? (imageUser.split(':')[0] || '0');
  return runAsGroup === undefined ? String(user) : `${user}:${runAsGroup}`;
}

function privileges(pod: PodSecurityContext | undefined, security: ContainerSecurityContext, options: string[]): Partial<HostConfig> {
  const groups = [...(pod?.supplementalGroups ?? []), ...(pod?.fsGroup === undefined ? [] : [pod.fsGroup])].map(String);
  return {
    ...(security.privileged ? { Privileged: true } : {}),
    ...(security.readOnlyRootFilesystem ? { ReadonlyRootfs: true } : {}),
    ...(security.capabilities?.add?.length ? { CapAdd: security.capabilities.add } : {}),
    ...(security.capabilities?.drop?.length ? { CapDrop: security.capabilities.drop } : {}),
    ...(groups.length ? { GroupAdd: groups } : {}),
    ...(options.length ? { SecurityOpt: options } : {}),
    ...(security.procMount === 'Unmasked' ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
  };
}

const appArmorAnnotation = 'container.apparmor.security.beta.kubernetes.io/';

/** `''` where nothing is said, `unconfined`, `runtime/default`, or the name of a profile that the node has loaded. */
export function appArmorOf(pod: Pod, container: Pick<Container, 'name' | 'securityContext'>): string {
  const profile = effectiveSecurity(pod.spec.securityContext, container.securityContext).appArmorProfile;
  const old = pod.metadata.annotations?.[`${appArmorAnnotation}${container.name}`] ?? '';
  switch (profile?.type) {
    case undefined: return old.replace(/^localhost\//, '');
    case 'Unconfined': return 'unconfined';
    case 'RuntimeDefault': return 'runtime/default';
    case 'Localhost': return profile?.localhostProfile ?? '';
  }
}

function securityOptions(security: ContainerSecurityContext, appArmor: string, seccomp: string | undefined): string[] {
  const options: string[] = [];
  if (security.allowPrivilegeEscalation === false) options.push('no-new-privileges');
  if (security.seccompProfile?.type === 'Unconfined') options.push('seccomp=unconfined');
  if (security.seccompProfile?.type === 'Localhost') options.push(`seccomp=${seccomp ?? ''}`);
  if (appArmor && appArmor !== 'runtime/default') options.push(`apparmor=${appArmor}`);
  for (const [key, value] of Object.entries(security.seLinuxOptions ?? {})) options.push(`label=${key}:${value}`);
  return options;
}
