import { readFile } from 'node:fs/promises';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { NodeUsage } from '../../shared/usage.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** A running container of a pod. */
export interface Running { readonly name: string; readonly id: string }

/** A counter of CPU time and a size of memory, as they were at a time of the monotonic clock. */
export interface Sample { readonly atMs: number; readonly cpuNanoseconds: number; readonly memoryBytes: number }

/** What one container uses. */
export interface ContainerUse {
  readonly name: string;
  /** CPU in thousand-millionths of one; over `windowMs`. */
  readonly nanocores: number;
  /** Working set. */
  readonly memoryBytes: number;
  readonly pids: number;
  readonly windowMs: number;
}
export interface PodUse { readonly pod: Pod; readonly containers: readonly ContainerUse[] }
export interface Use { readonly node: Omit<ContainerUse, 'name' | 'pids'>; readonly pods: readonly PodUse[] }

export interface StatsOptions {
  readonly runtime: Pick<Runtime, 'stats'>;
  readonly clock: Clock;
  /** Pods with what runs of them. */
  readonly running: () => Iterable<{ readonly pod: Pod; readonly containers: readonly Running[] }>;
  /** Counter and size of the whole machine. Default: as /proc has them. */
  readonly machine?: () => Promise<Omit<Sample, 'atMs'>>;
}

/** A rate over less says little, and a counter that is older says too little of now. */
const minWindowMs = 1000;
const maxWindowMs = 120_000;
/** One who asks again within this time gets the same answer. */
const freshMs = 5000;
/** Questions to the engine at a time. */
const atOnce = 4;
const machineKey = '';

interface Read extends Sample { readonly pids: number }

/**
 * What the node and its containers use, measured when somebody asks and at no other time. A rate needs two looks: the
 * first one is the last answer's if that is not old, and else a second ago, which the first to ask waits for.
 */
export class Stats {
  readonly #options: StatsOptions;
  /** By container id, and the machine's. */
  #before = new Map<string, Sample>();
  #last: { readonly atMs: number; readonly use: Use } | undefined;
  #asking: Promise<Use> | undefined;

  constructor(options: StatsOptions) {
    this.#options = options;
  }

  /** Containers that have ended meanwhile are left out, and so are pods of which nothing runs. */
  use(): Promise<Use> {
    if (this.#last && this.#options.clock.monotonic() - this.#last.atMs < freshMs) return Promise.resolve(this.#last.use);
    this.#asking ??= this.#measure().finally(() => { this.#asking = undefined; });
    return this.#asking;
  }

  /** The same as it goes to the master. */
  async report(): Promise<NodeUsage> {
    const { node, pods } = await this.use();
    return {
      windowMs: Math.round(node.windowMs), cpu: node.nanocores, memory: node.memoryBytes,
      pods: pods.map(({ pod: { metadata }, containers }) => [
        metadata.namespace ?? '', metadata.name ?? '', metadata.uid ?? '', Math.round(Math.max(...containers.map(({ windowMs }) => windowMs))),
        containers.map(({ name, nanocores, memoryBytes }) => [name, nanocores, memoryBytes]),
      ]),
    };
  }

  async #measure(): Promise<Use> {
    const { clock, running } = this.#options;
    const pods = [...running()];
    const ids = [machineKey, ...pods.flatMap(({ containers }) => containers.map(({ id }) => id))];
    const found = await this.#read(ids);
    const early = ids.filter((id) => !this.#usable(id, found.get(id)));
    const before = new Map(ids.flatMap((id) => { const sample = early.includes(id) ? found.get(id) : this.#before.get(id); return sample ? [[id, sample]] : []; }));
    if (early.length > 0) {
      await sleep(clock, minWindowMs, new AbortController().signal);
      for (const [id, read] of await this.#read(early)) found.set(id, read);
    }
    this.#before = new Map(found);
    const use = {
      node: rate(before.get(machineKey), found.get(machineKey)) ?? { nanocores: 0, memoryBytes: 0, windowMs: 0 },
      pods: pods.map(({ pod, containers }) => ({ pod, containers: containers.flatMap(({ id, name }) => {
        const read = found.get(id);
        const used = rate(before.get(id), read);
        return used && read ? [{ name, pids: read.pids, ...used }] : [];
      }) })).filter(({ containers }) => containers.length > 0),
    };
    this.#last = { atMs: clock.monotonic(), use };
    return use;
  }

  #usable(id: string, now: Read | undefined): boolean {
    const before = this.#before.get(id);
    if (!before || !now) return !now;
    const windowMs = now.atMs - before.atMs;
    return windowMs >= minWindowMs && windowMs <= maxWindowMs && now.cpuNanoseconds >= before.cpuNanoseconds;
  }

  async #read(ids: readonly string[]): Promise<Map<string, Read>> {
    const found = new Map<string, Read>();
    const waiting = [...ids];
    const work = async (): Promise<void> => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        const read = await this.#one(id);
        if (read) found.set(id, read);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    return found;
  }

  async #one(id: string): Promise<Read | undefined> {
    const { runtime, clock, machine = readMachine } = this.#options;
    const found = id === machineKey ? { ...await machine(), pids: 0 } : await runtime.stats(id);
    return found && { ...found, atMs: clock.monotonic() };
  }
}

/** CPU time per time, and the memory of the later one. Undefined where one is missing, or the counter began anew. */
export function rate(before: Sample | undefined, now: Sample | undefined): { nanocores: number; memoryBytes: number; windowMs: number } | undefined {
  if (!before || !now || now.atMs <= before.atMs || now.cpuNanoseconds < before.cpuNanoseconds) return undefined;
  const windowMs = now.atMs - before.atMs;
  return { nanocores: Math.round((now.cpuNanoseconds - before.cpuNanoseconds) / (windowMs / 1000)), memoryBytes: now.memoryBytes, windowMs };
}

const readMachine = async (): Promise<Omit<Sample, 'atMs'>> => {
  const [stat, meminfo] = await Promise.all([readFile('/proc/stat', 'utf8'), readFile('/proc/meminfo', 'utf8')]);
  return machineUse(stat, meminfo);
};

const nanosecondsPerTick = 1e7;

/** From /proc/stat and /proc/meminfo: time at work in all CPUs, and memory without what is free or inactive file pages, as cAdvisor has its root cgroup. */
export function machineUse(stat: string, meminfo: string): Omit<Sample, 'atMs'> {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number);
  const kib = (name: string): number => Number(new RegExp(`^${name.replace(/[()]/g, '\\$&')}:\\s*(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  return {
    cpuNanoseconds: (user + nice + system + irq + softirq + steal) * nanosecondsPerTick,
    memoryBytes: Math.max(0, kib('MemTotal') - kib('MemFree') - kib('Inactive(file)')) * 1024,
  };
}
