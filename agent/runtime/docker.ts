import { Agent } from 'node:http';
import { access, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import { detachKeys, DockerProcess, hangUp, resizeWith } from './docker-process.ts';
import { label } from './labels.ts';
import { noEngineText } from './no-engine.ts';
import { endStrays } from './strays.ts';
import { demultiplex, lines } from './docker-streams.ts';
import { logFileBytes } from './log-bytes.ts';
import {
  RuntimeError, type ContainerDetails, type ContainerState, type ContainerStats, type ContainerSummary, type CreateOptions, type DiskUsage,
  type ExecResult, type ExecStreams, type ImageDetails, type LogOptions, type ProcessStreams, type RegistryAuth, type Runtime, type RuntimeEvent,
  type RuntimeFault, type RuntimeInfo, type StreamChoice,
} from './runtime.ts';

export interface DockerOptions {
  /** `unix:///var/run/docker.sock` or `tcp://host:port`; `DOCKER_HOST` or the default socket if absent. */
  readonly host?: string;
}

const faults: Record<number, RuntimeFault> = { 400: 'invalid', 401: 'invalid', 403: 'invalid', 404: 'notFound', 409: 'conflict', 422: 'invalid' };
const execOutputLimit = 10 * 1024;

/** Time that an engine has to answer: the kubelet's runtimeRequestTimeout. One that hangs must not hold the agent up for ever. */
const requestMs = 120_000;
/** The same for what may be at work for long before it says anything: sizes of file systems, images, a registry that is asked. */
const longMs = 1_200_000;
/** An engine that does not answer its simplest question for so long is down. */
const pingMs = 20_000;

/** A Docker engine over its HTTP API. */
export class DockerRuntime implements Runtime {
  readonly #docker: Docker;
  #rootDir: string | undefined;
  /** A ping that was not answered yet: a second one would learn nothing more. */
  #pinging: Promise<unknown> | undefined;

  constructor(options: DockerOptions = {}) {
    // Sockets are kept only as long as a burst needs them: each idle one costs memory in dockerd too.
    const agent = new Agent({ keepAlive: true, maxFreeSockets: 4, timeout: 30_000 });
    // docker-modem prints each request's options, deeply, for a debug log that is off. An agent with its sockets makes
    // that cost more CPU than all else that a pod's start needs; an abort signal does too, and is not passed for the same reason.
    Object.assign(agent, { [inspect.custom]: () => 'Agent' });
    this.#docker = new Docker({ ...address(options.host ?? process.env['DOCKER_HOST']), agent } as Docker.DockerOptions);
  }

  async containers(label: string, value?: string): Promise<ContainerSummary[]> {
    const filters = { label: [value === undefined ? label : `${label}=${value}`] };
    const found = await attempt(this.#docker.listContainers({ all: true, filters }));
    return found.map((c) => ({ id: c.Id, name: (c.Names[0] ?? '').replace(/^\//, ''), labels: c.Labels, state: stateOf(c.State) }));
  }

  async inspect(id: string): Promise<ContainerDetails | undefined> {
    const found = await unless('notFound', this.#docker.getContainer(id).inspect());
    return found && detailsOf(found);
  }

  async create(name: string, options: CreateOptions): Promise<string> {
    const made = await attempt(this.#docker.createContainer({ ...options, name } as Docker.ContainerCreateOptions));
    return made.id;
  }

  async start(id: string): Promise<void> {
    await attempt(this.#docker.getContainer(id).start());
  }

  async stop(id: string, graceSeconds: number): Promise<void> {
    await unless('notFound', this.#docker.getContainer(id).stop({ t: graceSeconds }), requestMs + graceSeconds * 1000);
  }

  async kill(id: string, signal: string): Promise<void> {
    // 409: it is not running, which is what the caller wanted.
    await unless('conflict', unless('notFound', this.#docker.getContainer(id).kill({ signal })));
  }

  async remove(id: string): Promise<void> {
    // 409: a removal is under way already.
    await unless('conflict', unless('notFound', this.#docker.getContainer(id).remove({ force: true, v: true })));
  }

  async endStrays(id: string): Promise<number> {
    return endStrays(id);
  }

  async exec(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const exec = await attempt(this.#docker.getContainer(id).exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true }));
    const stream = await attempt(exec.start({ Detach: false, Tty: false })) as unknown as Readable;
    let timedOut = false;
    const timer = setTimeout(() => { timedOut = true; stream.destroy(); }, timeoutMs);
    const output = await collect(demultiplex(stream)).finally(() => clearTimeout(timer));
    if (timedOut) return { exitCode: -1, output, timedOut };
    return { exitCode: (await attempt(exec.inspect())).ExitCode ?? -1, output, timedOut };
  }

  async openExec(id: string, command: readonly string[], { stdin, stdout, stderr, tty }: StreamChoice & { readonly tty: boolean }): Promise<ExecStreams> {
    const exec = await attempt(this.#docker.getContainer(id).exec({
      Cmd: [...command], AttachStdin: stdin, AttachStdout: stdout, AttachStderr: stderr && !tty, Tty: tty, DetachKeys: detachKeys,
    }));
    const socket = await attempt(exec.start({ hijack: true, stdin, Detach: false, Tty: tty })) as Duplex;
    const resize = resizeWith((size) => attempt(exec.resize(size)));
    return Object.assign(new DockerProcess(socket, { tty, stdin, resize }), {
      exitCode: (signal: AbortSignal) => exitCodeOf(() => attempt(exec.inspect()), signal),
      hangUp: () => hangUp(id, () => attempt(exec.inspect())),
    });
  }

  async attach(id: string, { stdin, stdout, stderr }: StreamChoice): Promise<ProcessStreams> {
    const container = this.#docker.getContainer(id);
    const { tty } = detailsOf(await attempt(container.inspect()));
    const socket = await attempt(container.attach({ stream: true, hijack: true, stdin, stdout, stderr, detachKeys })) as Duplex;
    return new DockerProcess(socket, { tty, stdin, resize: resizeWith((size) => attempt(container.resize(size))) });
  }

  async *logs(id: string, options: LogOptions): AsyncIterable<Uint8Array> {
    const details = await attempt(this.#docker.getContainer(id).inspect());
    const { LogPath: path, HostConfig: { LogConfig: log } } = details;
    // An engine elsewhere, or an agent in a container, has them where nobody can look.
    const readable = options.follow && log?.Type === 'json-file' && path && await access(path).then(() => true, () => false);
    if (readable) return yield* (await import('./docker-log-files.ts')).followFiles({ ...options, path, running: async () => { const state = (await this.inspect(id))?.state; return state === 'running' || state === 'created'; } });
    const query = {
      stdout: true, stderr: true, follow: options.follow, timestamps: options.timestamps,
      tail: options.tailLines === undefined ? 'all' : String(options.tailLines),
      since: options.sinceMs === undefined ? '0' : (options.sinceMs / 1000).toFixed(9),
    };
    // A container that says nothing may keep the engine from answering.
    const stream = await this.#stream(`/containers/${id}/logs?`, query, options.signal, Infinity);
    try {
      yield* details.Config.Tty ? stream : demultiplex(stream);
    } catch (error) {
      if (!options.signal.aborted) throw translated(error);
    } finally {
      stream.destroy();
    }
  }

  async events(label: string, signal: AbortSignal): Promise<AsyncIterable<RuntimeEvent>> {
    const filters = { type: ['container'], event: ['start', 'die', 'oom', 'destroy'], label: [label] };
    const stream = await this.#stream('/events?', { filters: JSON.stringify(filters) }, signal, requestMs);
    return eventsOf(stream, signal);
  }

  async image(name: string): Promise<ImageDetails | undefined> {
    const found = await unless('notFound', this.#docker.getImage(name).inspect());
    return found && {
      id: found.Id, tags: found.RepoTags ?? [], digests: found.RepoDigests ?? [], sizeBytes: found.Size, user: found.Config?.User ?? '',
    };
  }

  async images(): Promise<ImageDetails[]> {
    const found = await attempt(this.#docker.listImages());
    return found.map((i) => ({
      id: i.Id, tags: named(i.RepoTags), digests: named(i.RepoDigests), sizeBytes: i.Size, user: '',
    }));
  }

  async pull(name: string, auth: RegistryAuth | undefined, signal: AbortSignal, answered: () => void = () => {}): Promise<void> {
    const stream = await attempt(this.#docker.pull(withTag(name), auth ? { authconfig: auth } : {}), longMs).catch((error: RuntimeError) => { throw verdict(error); }) as Readable;
    const abort = (): void => { stream.destroy(new RuntimeError('unreachable', 'the pull was given up')); };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    await progress(stream, answered).catch((error: RuntimeError) => { throw verdict(error); }).finally(() => signal.removeEventListener('abort', abort));
  }

  async load(archive: Uint8Array): Promise<void> {
    await progress(await attempt(this.#docker.loadImage(Buffer.from(archive) as unknown as NodeJS.ReadableStream, { quiet: true }), longMs) as Readable);
  }

  async removeImage(id: string): Promise<void> {
    await unless('notFound', this.#docker.getImage(id).remove({ force: false }));
  }

  async ping(): Promise<void> {
    this.#pinging ??= this.#docker.ping().finally(() => { this.#pinging = undefined; });
    await attempt(this.#pinging, pingMs);
  }

  async info(): Promise<RuntimeInfo> {
    const [info, version] = await Promise.all([attempt(this.#docker.info() as Promise<EngineInfo>), attempt(this.#docker.version())]);
    this.#rootDir = info.DockerRootDir;
    return {
      version: info.ServerVersion, operatingSystem: info.OperatingSystem, kernelVersion: info.KernelVersion, architecture: version.Arch,
      cpus: info.NCPU, memoryBytes: info.MemTotal, rootDir: info.DockerRootDir,
    };
  }

  async disk(): Promise<DiskUsage> {
    this.#rootDir ??= (await this.info()).rootDir;
    const [usage, { dev: device }] = await Promise.all([statfs(this.#rootDir), stat(this.#rootDir)]).catch((error: Error) => { throw new RuntimeError('failed', error.message); });
    return { capacityBytes: usage.blocks * usage.bsize, availableBytes: usage.bavail * usage.bsize, inodes: usage.files, inodesFree: usage.ffree, device };
  }

  async defaultSubnets(): Promise<string[]> {
    const found = await unless('notFound', this.#docker.getNetwork('bridge').inspect() as Promise<Docker.NetworkInspectInfo>);
    return (found?.IPAM?.Config ?? []).flatMap(({ Subnet: subnet }) => subnet ?? []);
  }

  async ensureNetwork({ name, bridge, subnet, owner }: { readonly name: string; readonly bridge: string; readonly subnet: string; readonly owner: string }): Promise<void> {
    const there = await unless('notFound', this.#docker.getNetwork(name).inspect() as Promise<Docker.NetworkInspectInfo>);
    const subnets = (there?.IPAM?.Config ?? []).flatMap((config) => config.Subnet ?? []);
    if (there && subnets.join() === subnet) return;
    // It is of another time's podCIDR. With containers on it the engine refuses, which is for the user to know.
    if (there) await attempt(this.#docker.getNetwork(name).remove() as Promise<unknown>);
    const { version } = await this.info();
    // From 28 on the engine keeps other hosts from its containers' addresses unless a network says otherwise.
    const open: Record<string, string> = Number.parseInt(version, 10) >= 28 ? { 'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected' } : {};
    await attempt(this.#docker.createNetwork({
      Name: name, Driver: 'bridge', CheckDuplicate: true, Labels: { [label.owner]: owner },
      IPAM: { Driver: 'default', Config: [{ Subnet: subnet }] },
      Options: { 'com.docker.network.bridge.name': bridge, ...open },
    }));
  }

  /** Removes the network of a name if it is that owner's. @returns whether it was there. @throws RuntimeError when containers are on it */
  async removeNetwork(name: string, owner: string): Promise<boolean> {
    const there = await unless('notFound', this.#docker.getNetwork(name).inspect() as Promise<Docker.NetworkInspectInfo>);
    if (there?.Labels?.[label.owner] !== owner) return false;
    await attempt(this.#docker.getNetwork(name).remove() as Promise<unknown>);
    return true;
  }

  async writtenBytes(label: string, value: string): Promise<Map<string, number>> {
    const found = await attempt(this.#docker.listContainers({ all: true, size: true, filters: { label: [`${label}=${value}`] } }), longMs) as (Docker.ContainerInfo & { readonly SizeRw?: number })[];
    return new Map(found.map(({ Id: id, SizeRw: bytes = 0 }) => [id, bytes]));
  }

  async logBytes(id: string): Promise<number> {
    this.#rootDir ??= (await this.info()).rootDir;
    return logFileBytes(join(this.#rootDir, 'containers', id));
  }

  async stats(id: string): Promise<ContainerStats | undefined> {
    const found = await unless('notFound', this.#docker.getContainer(id).stats({ stream: false, 'one-shot': true } as { stream: false }));
    if (!found?.cpu_stats?.cpu_usage?.total_usage) return undefined;
    const memory = found.memory_stats;
    // The working set, as cAdvisor has it: usage without inactive file pages.
    const inactive = (memory.stats as Record<string, number> | undefined)?.['total_inactive_file'] ?? (memory.stats as Record<string, number> | undefined)?.['inactive_file'] ?? 0;
    return {
      cpuNanoseconds: found.cpu_stats.cpu_usage.total_usage, memoryBytes: Math.max(0, (memory.usage ?? 0) - inactive), pids: found.pids_stats?.current ?? 0,
    };
  }

  /** A response body as it comes; dockerode itself would collect what is not followed. */
  #stream(path: string, options: Record<string, unknown>, signal: AbortSignal, limitMs: number): Promise<Readable> {
    return attempt(new Promise<Readable>((resolve, reject) => {
      const request = { path, method: 'GET', options, isStream: true, statusCodes: { 200: true, 404: 'no such container', 500: 'server error' } };
      this.#docker.modem.dial(request, (error: Error | null, body: unknown) => {
        if (error) return reject(error);
        const stream = body as Readable;
        if (signal.aborted) stream.destroy();
        else signal.addEventListener('abort', () => stream.destroy(), { once: true });
        return resolve(stream);
      });
    }), limitMs);
  }
}

/** Docker answers 500 when a registry turns it away, as it does when none can be reached: only the words differ. */
function verdict(error: RuntimeError): RuntimeError {
  const refused = error.fault === 'failed' && /unauthorized|authentication required|no basic auth credentials|access (to the resource is )?denied|denied:/i.test(error.message);
  return refused ? new RuntimeError('invalid', error.message) : error;
}

interface EngineInfo {
  readonly ServerVersion: string;
  readonly OperatingSystem: string;
  readonly KernelVersion: string;
  readonly NCPU: number;
  readonly MemTotal: number;
  readonly DockerRootDir: string;
}

function address(host: string | undefined): Docker.DockerOptions {
  if (!host) return { socketPath: '/var/run/docker.sock' };
  if (host.startsWith('unix://')) return { socketPath: host.slice('unix://'.length) };
  const url = new URL(host.includes('://') ? host : `tcp://${host}`);
  return { host: url.hostname, port: Number(url.port || 2375), protocol: url.port === '2376' ? 'https' : 'http' };
}

function stateOf(state: string): ContainerState {
  switch (state) {
    case 'running': case 'paused': case 'restarting': return 'running';
    case 'created': return 'created';
    case 'dead': case 'removing': return 'dead';
    default: return 'exited';
  }
}

/** Docker writes `0001-01-01T00:00:00Z` for never. */
const timeOf = (text: string | undefined): number => Math.max(0, (text && Date.parse(text)) || 0);

function detailsOf(found: Docker.ContainerInspectInfo): ContainerDetails {
  const { State: state, Config: config } = found;
  const networks = Object.values(found.NetworkSettings?.Networks ?? {});
  return {
    id: found.Id, name: found.Name.replace(/^\//, ''), labels: config.Labels ?? {}, state: stateOf(state.Status),
    image: config.Image, imageId: found.Image, createdMs: timeOf(found.Created), startedMs: timeOf(state.StartedAt), finishedMs: timeOf(state.FinishedAt),
    exitCode: state.ExitCode, oomKilled: state.OOMKilled, error: state.Error, tty: config.Tty,
    ips: networks.flatMap((network) => [network.IPAddress, network.GlobalIPv6Address]).filter((ip) => ip),
  };
}

const named = (names: readonly string[] | null | undefined): string[] => (names ?? []).filter((name) => !name.startsWith('<none>'));

/** Without a tag or digest the engine would pull every tag there is. */
function withTag(name: string): string {
  return name.includes('@') || name.slice(name.lastIndexOf('/') + 1).includes(':') ? name : `${name}:latest`;
}

/** The engine notes an end a moment after it has closed the process' streams. */
async function exitCodeOf(inspect: () => Promise<{ readonly Running: boolean; readonly ExitCode: number | null }>, signal: AbortSignal): Promise<number> {
  for (let waitMs = 5; ; waitMs = Math.min(waitMs * 2, 500)) {
    const { Running, ExitCode } = await inspect();
    if (!Running && ExitCode !== null) return ExitCode;
    await delay(waitMs, undefined, { signal });
  }
}

async function* eventsOf(stream: Readable, signal: AbortSignal): AsyncIterable<RuntimeEvent> {
  try {
    for await (const line of lines(stream)) {
      const event = JSON.parse(line) as { Action: RuntimeEvent['type']; Actor: { ID: string; Attributes: Record<string, string> } };
      yield { type: event.Action, id: event.Actor.ID, labels: event.Actor.Attributes };
    }
  } catch (error) {
    if (!signal.aborted) throw translated(error);
  } finally {
    stream.destroy();
  }
}

/** Reads a progress report to its end; an error in it fails the operation though its status was 200. */
async function progress(stream: Readable, answered: () => void = () => {}): Promise<void> {
  try {
    for await (const line of lines(stream)) {
      answered();
      const { error } = JSON.parse(line) as { error?: string };
      if (error) throw new RuntimeError('failed', error);
    }
  } catch (error) {
    throw translated(error);
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const kept: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of chunks) {
      if (size < execOutputLimit) kept.push(chunk);
      size += chunk.length;
    }
  } catch {
    // The stream was cut: by the time limit, or because the container ended. What came is the output.
  }
  return Buffer.concat(kept).subarray(0, execOutputLimit).toString('utf8');
}

/** The engine's answer, its refusals and its silence as RuntimeError. 304 (it is so already) counts as success. */
async function attempt<T>(answer: Promise<T>, limitMs = requestMs): Promise<T> {
  try {
    return await within(answer, limitMs);
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 304) return undefined as T;
    throw translated(error);
  }
}

/** Gives up waiting; what was asked for may be done all the same, and is found when things are looked at again. */
async function within<T>(answer: Promise<T>, limitMs: number): Promise<T> {
  if (limitMs === Infinity) return answer;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new RuntimeError('unreachable', `the engine has not answered within ${limitMs / 1000} s`)), limitMs);
    timer.unref();
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function unless<T>(fault: RuntimeFault, answer: Promise<T>, limitMs?: number): Promise<T | undefined> {
  try {
    return await attempt(answer, limitMs);
  } catch (error) {
    if ((error as RuntimeError).fault === fault) return undefined;
    throw error;
  }
}

function translated(error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error;
  const { statusCode, json, message, code } = error as { statusCode?: number; json?: { message?: string }; message: string; code?: string };
  if (statusCode === undefined) return code === undefined ? new RuntimeError('failed', message) : new RuntimeError('unreachable', noEngineText(error as NodeJS.ErrnoException));
  return new RuntimeError(faults[statusCode] ?? 'failed', json?.message ?? message.trim());
}
