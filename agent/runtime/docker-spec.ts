import { createHash } from 'node:crypto';
import type { Container } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { ContainerSecurityContext, PodSecurityContext } from '../../shared/kinds/security-context.ts';
import { amount } from './amount.ts';
import { label, sandboxName } from './labels.ts';
import { oomScoreAdjust } from './qos.ts';
import type { CreateOptions, HostConfig, Mount } from './runtime.ts';

/** Resolver settings of a pod; absent for the engine's own. */
export interface Dns { readonly servers: readonly string[]; readonly searches: readonly string[]; readonly options: readonly string[] }

export interface SandboxInput {
  readonly pod: Pod;
  readonly owner: string;
  readonly image: string;
  readonly attempt: number;
  readonly dns: Dns | undefined;
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
  /** What to run: the name asked for, or the id it was resolved to. */
  readonly image: string;
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
  /** Lowest oom_score_adj that the engine can set. */
  readonly oomFloor: number;
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
  const { pod, dns } = input;
  const { spec } = pod;
  const host: HostConfig = {
    NetworkMode: spec.hostNetwork ? 'host' : 'bridge',
    IpcMode: spec.hostIPC ? 'host' : 'shareable',
    ...(spec.hostPID ? { PidMode: 'host' } : {}),
    OomScoreAdj: Math.max(-998, input.oomFloor),
    RestartPolicy: { Name: 'no' },
    LogConfig: logging,
    ...(spec.hostNetwork ? {} : ports(pod)),
    ...(spec.hostAliases?.length ? { ExtraHosts: spec.hostAliases.flatMap((alias) => (alias.hostnames ?? []).map((name) => `${name}:${alias.ip}`)) } : {}),
    ...(dns ? { Dns: [...dns.servers], DnsSearch: [...dns.searches], DnsOptions: [...dns.options] } : {}),
    ...(spec.securityContext?.sysctls?.length ? { Sysctls: Object.fromEntries(spec.securityContext.sysctls.map((s) => [s.name, s.value])) } : {}),
  };
  return {
    Image: input.image,
    ...(spec.hostNetwork ? {} : { Hostname: hostname(pod) }),
    Labels: { ...podLabels(input.owner, pod), [label.container]: sandboxName, [label.restartCount]: String(input.attempt) },
    ...(host.PortBindings ? { ExposedPorts: Object.fromEntries(Object.keys(host.PortBindings).map((port) => [port, {}])) } : {}),
    HostConfig: host,
  };
}

/** `spec.hostname` or the pod's name, cut to the 63 characters that Linux and the kubelet allow. */
export const hostname = (pod: Pod): string => (pod.spec.hostname || pod.metadata.name || '').slice(0, 63).replace(/[-.]+$/, '');

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
      ...(input.messageFile ? { [label.messageFile]: input.messageFile } : {}),
    },
    HostConfig: {
      NetworkMode: `container:${input.sandboxId}`,
      IpcMode: pod.spec.hostIPC ? 'host' : `container:${input.sandboxId}`,
      ...(pod.spec.hostPID ? { PidMode: 'host' } : pod.spec.shareProcessNamespace ? { PidMode: `container:${input.sandboxId}` } : {}),
      Mounts: [...input.mounts, ...messageMount(container, input.messageFile)],
      RestartPolicy: { Name: 'no' },
      LogConfig: logging,
      OomScoreAdj: Math.max(input.oomFloor, oomScoreAdjust(pod.spec, container, input.nodeMemoryBytes)),
      ...limits(container),
      ...privileges(pod.spec.securityContext, security),
    },
  };
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

function privileges(pod: PodSecurityContext | undefined, security: ContainerSecurityContext): Partial<HostConfig> {
  const options = securityOptions(security);
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

function securityOptions(security: ContainerSecurityContext): string[] {
  const options: string[] = [];
  if (security.allowPrivilegeEscalation === false) options.push('no-new-privileges');
  if (security.seccompProfile?.type === 'Unconfined') options.push('seccomp=unconfined');
  if (security.appArmorProfile?.type === 'Unconfined') options.push('apparmor=unconfined');
  if (security.appArmorProfile?.type === 'Localhost') options.push(`apparmor=${security.appArmorProfile.localhostProfile ?? ''}`);
  for (const [key, value] of Object.entries(security.seLinuxOptions ?? {})) options.push(`label=${key}:${value}`);
  return options;
}
