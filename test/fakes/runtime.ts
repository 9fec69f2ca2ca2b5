import type { Clock } from '../../shared/clock.ts';
import {
  RuntimeError, type ContainerDetails, type ContainerStats, type ContainerSummary, type CreateOptions, type DiskUsage, type ExecResult,
  type ExecStreams, type ImageDetails, type LogOptions, type ProcessOutput, type ProcessStreams, type RegistryAuth, type Runtime, type RuntimeEvent, type RuntimeInfo, type StreamChoice,
} from '../../agent/runtime/runtime.ts';

interface FakeContainer { details: ContainerDetails; readonly options: CreateOptions; log: Uint8Array[] }
type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** A container engine in memory. Containers run until {@link FakeRuntime.end} or a stop; a stop ends them with 143. */
export class FakeRuntime implements Runtime {
  readonly held = new Map<string, FakeContainer>();
  /** Images at hand, by name. */
  readonly local = new Map<string, ImageDetails>();
  /** Images that a pull finds. */
  readonly remote = new Set<string>();
  /** What exec answers, by the command's words. */
  readonly execs = new Map<string, ExecResult>();
  /** Called before each call that changes something, and before events are followed; may throw, as an engine might. */
  before: (call: string, id: string) => void = () => {};
  /** Containers, by id, of which a process runs though they do not. */
  readonly strays = new Set<string>();
  pulls = 0;
  /** Processes read none of their input. */
  stuck = false;
  /** Commands that were hung up. */
  readonly hungUp: string[] = [];
  readonly #clock: Clock;
  readonly #followers = new Set<{ label: string; push: (event: RuntimeEvent) => void; end: () => void }>();
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Makes an image be at hand. */
  addImage(name: string): void {
    this.local.set(name, { id: `sha256:${name}`, tags: [name], digests: [], sizeBytes: 1000, user: '' });
  }

  /** A container ends by itself. */
  end(id: string, exitCode: number): void {
    const found = this.held.get(id);
    if (!found || found.details.state !== 'running') return;
    Object.assign(found.details as Writable<ContainerDetails>, { state: 'exited', exitCode, finishedMs: this.#clock.now(), ips: [] });
    this.#tell('die', found.details);
  }

  /** It dies: whoever follows its events is cut off, and what happens from now on is told to nobody until they ask again. */
  die(): void {
    for (const follower of this.#followers) follower.end();
    this.#followers.clear();
  }

  async containers(label: string, value?: string): Promise<ContainerSummary[]> {
    const fits = (d: ContainerDetails): boolean => label in d.labels && (value === undefined || d.labels[label] === value);
    return [...this.held.values()].map((c) => c.details).filter(fits).map(({ id, name, labels, state }) => ({ id, name, labels, state }));
  }

  async inspect(id: string): Promise<ContainerDetails | undefined> {
    const found = this.#find(id);
    return found && { ...found.details };
  }

  async create(name: string, options: CreateOptions): Promise<string> {
    this.before('create', name);
    const image = this.#image(options.Image);
    if (!image) throw new RuntimeError('notFound', `No such image: ${options.Image}`);
    if (this.#find(name)) throw new RuntimeError('conflict', `the name ${name} is taken`);
    const id = `id${++this.#count}`;
    this.held.set(id, {
      options, log: [],
      details: {
        id, name, labels: { ...options.Labels }, state: 'created', image: options.Image, imageId: image.id, createdMs: this.#clock.now(), startedMs: 0, finishedMs: 0,
        exitCode: 0, oomKilled: false, error: '', ips: [], tty: options.Tty ?? false,
      },
    });
    return id;
  }

  async start(id: string): Promise<void> {
    this.before('start', id);
    const { details, options } = this.#get(id);
    if (details.state === 'running') return;
    const ips = options.HostConfig.NetworkMode?.startsWith('container:') ? [] : [`10.0.0.${this.#count}`];
    Object.assign(details as Writable<ContainerDetails>, { state: 'running', startedMs: this.#clock.now(), finishedMs: 0, exitCode: 0, ips });
    this.#tell('start', details);
  }

  async stop(id: string, _graceSeconds: number): Promise<void> {
    this.before('stop', id);
    this.end(this.#find(id)?.details.id ?? '', 143);
  }

  async kill(id: string, signal: string): Promise<void> {
    this.before('kill', id);
    this.end(this.#find(id)?.details.id ?? '', signal === 'SIGKILL' ? 137 : 143);
  }

  async endStrays(id: string): Promise<number> {
    return this.strays.delete(id) ? 1 : 0;
  }

  async remove(id: string): Promise<void> {
    this.before('remove', id);
    const found = this.#find(id);
    if (!found) return;
    this.end(found.details.id, 137);
    this.held.delete(found.details.id);
    this.#tell('destroy', found.details);
  }

  async exec(id: string, command: readonly string[], _timeoutMs?: number): Promise<ExecResult> {
    if (this.#get(id).details.state !== 'running') throw new RuntimeError('conflict', `container ${id} is not running`);
    return this.execs.get(command.join(' ')) ?? { exitCode: 0, output: '', timedOut: false };
  }

  /** Echoes its input, if it has any, then says what {@link execs} has of the command. */
  async openExec(id: string, command: readonly string[], { stdin }: StreamChoice): Promise<ExecStreams> {
    const { exitCode, output } = await this.exec(id, command);
    const streams = echo(output);
    if (!stdin) streams.end();
    const write = (bytes: Uint8Array): Promise<void> => (this.stuck ? new Promise(() => {}) : streams.write(bytes));
    return { ...streams, write, exitCode: async () => exitCode, hangUp: async () => { this.hungUp.push(command.join(' ')); streams.close(); } };
  }

  /** Echoes its input. */
  async attach(id: string): Promise<ProcessStreams> {
    if (this.#get(id).details.state !== 'running') throw new RuntimeError('conflict', `container ${id} is not running`);
    return echo('');
  }

  async *logs(id: string, options: LogOptions): AsyncIterable<Uint8Array> {
    const { log } = this.#get(id);
    yield* options.tailLines === undefined ? log : log.slice(Math.max(0, log.length - options.tailLines));
  }

  async events(label: string, signal: AbortSignal): Promise<AsyncIterable<RuntimeEvent>> {
    this.before('events', '');
    const queue: RuntimeEvent[] = [];
    let wake = (): void => {};
    let over = signal.aborted;
    const follower = { label, push: (event: RuntimeEvent) => { queue.push(event); wake(); }, end: () => { over = true; wake(); } };
    this.#followers.add(follower);
    signal.addEventListener('abort', () => { this.#followers.delete(follower); follower.end(); }, { once: true });
    return (async function* () {
      while (!over) {
        yield* queue.splice(0);
        if (!over && queue.length === 0) await new Promise<void>((resolve) => { wake = resolve; });
      }
    })();
  }

  async image(name: string): Promise<ImageDetails | undefined> {
    return this.#image(name);
  }

  async images(): Promise<ImageDetails[]> {
    return [...this.local.values()];
  }

  async pull(name: string, _auth: RegistryAuth | undefined, _signal: AbortSignal, answered: () => void = () => {}): Promise<void> {
    this.pulls++;
    answered();
    if (!this.remote.has(name)) throw new RuntimeError('notFound', `manifest for ${name} not found`);
    this.addImage(name);
  }

  async load(): Promise<void> {
    this.addImage('wherry/pause:1');
  }

  async removeImage(id: string): Promise<void> {
    for (const { details } of this.held.values()) if (details.imageId === id) throw new RuntimeError('conflict', `image ${id} is in use`);
    for (const [name, image] of this.local) if (image.id === id || name === id) this.local.delete(name);
  }

  async ping(): Promise<void> {
    await this.info();
  }

  async info(): Promise<RuntimeInfo> {
    return { version: '0', operatingSystem: 'fake', kernelVersion: '0', architecture: 'amd64', cpus: 4, memoryBytes: 2 ** 33, rootDir: '/' };
  }

  async disk(): Promise<DiskUsage> {
    return { capacityBytes: 2 ** 40, availableBytes: 2 ** 39 };
  }

  async writtenBytes(label: string, value: string): Promise<Map<string, number>> {
    return new Map([...this.held.values()].filter(({ details }) => details.labels[label] === value).map(({ details }) => [details.id, 4096]));
  }

  async logBytes(id: string): Promise<number> {
    return (this.#find(id)?.log ?? []).reduce((sum, { length }) => sum + length, 0);
  }

  async stats(id: string): Promise<ContainerStats | undefined> {
    return this.#find(id)?.details.state === 'running' ? { cpuNanoseconds: 1e9, memoryBytes: 1e6, pids: 1 } : undefined;
  }

  #image(name: string): ImageDetails | undefined {
    return this.local.get(name) ?? [...this.local.values()].find((image) => image.id === name);
  }

  #find(id: string): FakeContainer | undefined {
    return this.held.get(id) ?? [...this.held.values()].find((c) => c.details.name === id);
  }

  #get(id: string): FakeContainer {
    const found = this.#find(id);
    if (!found) throw new RuntimeError('notFound', `No such container: ${id}`);
    return found;
  }

  #tell(type: RuntimeEvent['type'], { id, labels }: ContainerDetails): void {
    for (const follower of this.#followers) if (follower.label in labels) follower.push({ type, id, labels });
  }
}

/** A process that gives back what it gets; sizes of its terminal as `[WIDTHxHEIGHT]`; at the end, `last`. */
function echo(last: string): ProcessStreams {
  const waiting: Uint8Array[] = [];
  let over = false;
  let wake = (): void => {};
  const push = (bytes: Uint8Array): void => { waiting.push(bytes); wake(); };
  async function* output(): AsyncIterable<ProcessOutput> {
    while (!over || waiting.length > 0) {
      const bytes = waiting.shift();
      if (bytes) yield { from: 1, bytes };
      else await new Promise<void>((resolve) => { wake = resolve; });
    }
    if (last) yield { from: 1, bytes: Buffer.from(last) };
  }
  const end = (): void => { over = true; wake(); };
  return {
    output: output(), end, close: end,
    write: async (bytes) => push(Buffer.from(bytes)),
    resize: async (width, height) => push(Buffer.from(`[${width}x${height}]`)),
  };
}
