/**
 * What pods need from a container engine, and nothing more. `docker.ts` is the one implementation; `test/fakes/runtime.ts`
 * the fake; `test/contract/runtime.ts` says in tests what these comments say in words.
 */

/** `running` includes paused. `dead`: being removed, or the engine has failed to; such a one cannot be started. */
export type ContainerState = 'created' | 'running' | 'exited' | 'dead';

/** What a list tells of a container. */
export interface ContainerSummary {
  readonly id: string;
  /** Without Docker's leading slash. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: ContainerState;
}

/** What an inspection tells. Times are ms since 1970 by the engine's clock, 0 where there is none. */
export interface ContainerDetails extends ContainerSummary {
  /** Image as asked for, such as `nginx:1.27`. */
  readonly image: string;
  /** `sha256:…` of the image's configuration. */
  readonly imageId: string;
  readonly createdMs: number;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Why the engine could not start it, or `''`. */
  readonly error: string;
  /** Addresses on the engine's networks; empty when not running, on the host's network, or in another's. */
  readonly ips: readonly string[];
  readonly tty: boolean;
}

/**
 * Body of `POST /containers/create`, as far as pods use it. The Docker Engine API is the field's common tongue
 * (Podman speaks it too), so these are its names and units.
 */
export interface CreateOptions {
  Image: string;
  Hostname?: string;
  Domainname?: string;
  User?: string;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  Labels: Record<string, string>;
  ExposedPorts?: Record<string, Record<string, never>>;
  OpenStdin?: boolean;
  StdinOnce?: boolean;
  Tty?: boolean;
  HostConfig: HostConfig;
}

export interface HostConfig {
  /** Name of one of the engine's runtimes; absent: its default. */
  Runtime?: string;
  NetworkMode?: string;
  IpcMode?: string;
  PidMode?: string;
  UTSMode?: string;
  PortBindings?: Record<string, { HostIp: string; HostPort: string }[]>;
  Sysctls?: Record<string, string>;
  Mounts?: Mount[];
  CpuShares?: number;
  CpuPeriod?: number;
  CpuQuota?: number;
  Memory?: number;
  MemorySwap?: number;
  PidsLimit?: number;
  OomScoreAdj?: number;
  Privileged?: boolean;
  ReadonlyRootfs?: boolean;
  CapAdd?: string[];
  CapDrop?: string[];
  GroupAdd?: string[];
  SecurityOpt?: string[];
  MaskedPaths?: string[];
  ReadonlyPaths?: string[];
  RestartPolicy?: { Name: 'no' };
  LogConfig?: { Type: string; Config: Record<string, string> };
}

/** A bind mount; `Source` must exist. */
export interface Mount {
  Type: 'bind';
  Source: string;
  Target: string;
  ReadOnly: boolean;
  BindOptions?: { Propagation: 'rprivate' | 'rslave' | 'rshared' };
}

export interface ImageDetails {
  /** `sha256:…`. */
  readonly id: string;
  /** `name:tag`, those that it is known by. */
  readonly tags: readonly string[];
  /** `name@sha256:…`. */
  readonly digests: readonly string[];
  readonly sizeBytes: number;
  /** User that it runs as, `''` for root; only from {@link Runtime.image}. */
  readonly user: string;
}

export interface LogOptions {
  readonly follow: boolean;
  /** Prefix each line with its RFC 3339 time in nanoseconds. */
  readonly timestamps: boolean;
  /** Ms since 1970. */
  readonly sinceMs?: number;
  /** Last lines to start with; all if absent. */
  readonly tailLines?: number;
  readonly signal: AbortSignal;
}

export interface RuntimeEvent {
  readonly type: 'start' | 'die' | 'oom' | 'destroy';
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ExecResult {
  readonly exitCode: number;
  /** Standard output and error as they came, at most 10 KiB. */
  readonly output: string;
  readonly timedOut: boolean;
}

/** What a process wrote: a piece of standard output (1) or error (2); with a terminal all is output. */
export interface ProcessOutput { readonly from: 1 | 2; readonly bytes: Uint8Array }

/** Which standard streams somebody wants of a process. */
export interface StreamChoice { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean }

/** A connection to the standard streams of a process. */
export interface ProcessStreams {
  /** Read only as fast as it is consumed: bytes are good until the next are asked for. Ends with the process, or when the connection is closed. To be read once. */
  readonly output: AsyncIterable<ProcessOutput>;
  /** Resolves when the process may have more; at once when it reads no more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends standard input. */
  end(): void;
  /** Sets the size of the process' terminal; nothing without one. */
  resize(width: number, height: number): Promise<void>;
  /** Gives the connection up; the process goes on. */
  close(): void;
}

export interface ExecStreams extends ProcessStreams {
  /** Waits for the end of the process; rejects when `signal` aborts. To be asked once the output has ended. */
  exitCode(signal: AbortSignal): Promise<number>;
  /** Ends the process as a terminal that is hung up does (SIGHUP, soon SIGKILL), where the agent sees the engine's processes. */
  hangUp(): Promise<void>;
}

export interface RuntimeInfo {
  /** Engine version, such as `27.3.1`. */
  readonly version: string;
  readonly operatingSystem: string;
  readonly kernelVersion: string;
  /** As Go names it: `amd64`, `arm64`, `arm`. */
  readonly architecture: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Where it keeps images and containers. */
  readonly rootDir: string;
}

export interface DiskUsage {
  readonly capacityBytes: number;
  readonly availableBytes: number;
  /** File system's inodes, where it has a fixed number of them. */
  readonly inodes?: number;
  readonly inodesFree?: number;
  /** Which file system it is, as `stat` tells; absent where that is not known. */
  readonly device?: number;
}
export interface ContainerStats { readonly cpuNanoseconds: number; readonly memoryBytes: number; readonly pids: number }
/** Credentials of one registry. */
export interface RegistryAuth { readonly username: string; readonly password: string; readonly serveraddress: string }

export type RuntimeFault = 'notFound' | 'conflict' | 'invalid' | 'unreachable' | 'failed';

/** The engine said no, or did not answer. `fault` is what to decide by; `message` is the engine's own words. */
export class RuntimeError extends Error {
  readonly fault: RuntimeFault;

  constructor(fault: RuntimeFault, message: string) {
    super(message);
    this.name = 'RuntimeError';
    this.fault = fault;
  }
}

/** Every method throws {@link RuntimeError} and nothing else. */
export interface Runtime {
  /** All containers, running or not, whose label `label` is set (to `value`, if given). */
  containers(label: string, value?: string): Promise<ContainerSummary[]>;
  /** Undefined when there is no such container. */
  inspect(id: string): Promise<ContainerDetails | undefined>;
  /** Makes a container and returns its id. `notFound`: no such image; `conflict`: the name is taken. */
  create(name: string, options: CreateOptions): Promise<string>;
  /** Nothing when it runs already. */
  start(id: string): Promise<void>;
  /** Sends the image's stop signal, and SIGKILL after `graceSeconds`; resolves when it has ended. Nothing when it does not run or exist. */
  stop(id: string, graceSeconds: number): Promise<void>;
  /** Nothing when it does not run or exist. */
  kill(id: string, signal: string): Promise<void>;
  /** Kills it if need be, and removes it with its anonymous volumes. Nothing when there is none. */
  remove(id: string): Promise<void>;
  /**
   * Kills what the engine has lost sight of: processes of a container that by its word does not run. Returns how many
   * there were; 0 also where the agent does not see the engine's processes. `id` is a whole one.
   */
  endStrays(id: string): Promise<number>;
  /** Runs a command in a running container, without input. */
  exec(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult>;
  /** Starts a command in a running container and connects to it. `conflict`: it is not running. */
  openExec(id: string, command: readonly string[], options: StreamChoice & { readonly tty: boolean }): Promise<ExecStreams>;
  /** Connects to a running container's own process, from now on. */
  attach(id: string, options: StreamChoice): Promise<ProcessStreams>;
  /** Lines of standard output and error in the order they came. Reads only as fast as it is consumed. */
  logs(id: string, options: LogOptions): AsyncIterable<Uint8Array>;
  /**
   * Resolves once subscribed to containers that have `label`; nothing after that is missed until the iteration ends,
   * which it does when `signal` aborts or the engine goes away.
   */
  events(label: string, signal: AbortSignal): Promise<AsyncIterable<RuntimeEvent>>;
  image(name: string): Promise<ImageDetails | undefined>;
  images(): Promise<ImageDetails[]>;
  /**
   * Resolves when the image is there; throws with the registry's own words otherwise: `notFound` and `invalid` are the
   * registry's verdict, anything else a failure to get one. `answered` is called once the registry has said something.
   */
  pull(name: string, auth: RegistryAuth | undefined, signal: AbortSignal, answered?: () => void): Promise<void>;
  /** Loads a `docker save` archive. */
  load(archive: Uint8Array): Promise<void>;
  /** `conflict` when a container uses it. */
  removeImage(id: string): Promise<void>;
  info(): Promise<RuntimeInfo>;
  /** Whether the engine answers at all, found out in bounded time. @throws RuntimeError */
  ping(): Promise<void>;
  /** Of the file system that holds images. */
  disk(): Promise<DiskUsage>;
  /** Bytes that containers with `label` set to `value` have written over their images, by id. The engine adds them up: it may take long. */
  writtenBytes(label: string, value: string): Promise<Map<string, number>>;
  /** Bytes of a container's log as it lies on the disk, rotated files with it; 0 where the agent does not see the engine's files. `id` is a whole one. */
  logBytes(id: string): Promise<number>;
  /** Undefined when it does not run. */
  stats(id: string): Promise<ContainerStats | undefined>;
}
