import { isDeepStrictEqual } from 'node:util';
import { sleep, type Clock } from '../shared/clock.ts';
import type { Node } from '../shared/kinds/node.ts';
import type { Log } from '../shared/log.ts';
import { agentLabels, type NodeTaint } from '../shared/protocol.ts';
import { machineFacts, type MachineFacts } from './node-facts.ts';
import { nodeObject } from './node-object.ts';
import type { Allotment } from './node-object.ts';
import type { PressureType } from './pods/thresholds.ts';
import type { DiskUsage, ImageDetails, Runtime, RuntimeInfo } from './runtime/runtime.ts';

export interface NodeReporterOptions {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Log;
  readonly name: string;
  /** Addresses that the node is reached at, the preferred one first; those of the host's interfaces if absent. */
  readonly ips?: readonly string[];
  /** Such as `v1.32.0+wherry.0.1.0`. */
  readonly kubeletVersion: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default 110. */
  readonly maxPods?: number;
  /** What is kept from pods; nothing by default. */
  readonly allotment?: Allotment;
  /** Looks at what the node may lack, and says what it does. Default: nothing is looked at. */
  readonly look?: (images: DiskUsage) => Promise<readonly PressureType[]>;
  /** Receives the node object when something in it changed; times of heartbeat are left to the master. */
  readonly report: (node: Node) => void;
  /** How often pressure is looked at, and with every sixth time the images. Default 10 s. */
  readonly periodMs?: number;
}

/** The Node object of this host, told anew whenever it changes. */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  #machine: MachineFacts | undefined;
  #engine: RuntimeInfo | undefined;
  #engineError = 'container runtime status check may not have completed yet';
  #images: readonly ImageDetails[] = [];
  #pressures: readonly PressureType[] = [];
  #diskBytes = 0;
  #trouble: string | undefined;
  #network: string | undefined;
  /** As the master has them, beside the agent's own; undefined while it has not said. */
  #given: Readonly<Record<string, string>> | undefined;
  #taints: readonly NodeTaint[] = [];
  #reported: Node | undefined;
  #wake: (() => void) | undefined;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
  }

  /** What pods are told of the node, and admitted by. Resources are 0 until the machine was looked at. */
  facts() {
    const { name, ips } = this.#options;
    const { metadata, status } = this.#reported ?? {};
    return {
      name, ips: ips ?? this.#machine?.ips ?? [], cpus: this.#machine?.cpus ?? 0, memoryBytes: this.#machine?.memoryBytes ?? 0,
      taints: this.#taints, ...this.#labels(metadata?.labels), ...(status?.allocatable ? { allocatable: status.allocatable } : {}),
    };
  }

  #labels(reported: Readonly<Record<string, string>> | undefined): { labels?: Readonly<Record<string, string>>; labelsComplete?: boolean } {
    if (!reported || !this.#given) return reported ? { labels: reported } : {};
    const own = Object.entries(reported).filter(([key]) => agentLabels.includes(key));
    return { labels: { ...this.#given, ...Object.fromEntries(own) }, labelsComplete: true };
  }

  /** Labels of the Node object that are not the agent's alone, as the master says. */
  labelled(labels: Readonly<Record<string, string>> | undefined): void {
    this.#given = labels ?? this.#given;
  }

  /** Taints of the Node object that pods have to tolerate to be taken on, as the master says. */
  tainted(taints: readonly NodeTaint[]): void {
    this.#taints = taints;
  }

  /** The engine was found to answer, or not: the pod manager's `engine` callback. */
  engine(up: boolean): void {
    if (up === (this.#engine !== undefined)) return;
    if (!up) this.#engine = undefined;
    this.#engineError = up ? '' : 'container runtime is down';
    this.#wake?.();
  }

  /** The data directory cannot be written to, and why; undefined when it can again. */
  trouble(why: string | undefined): void {
    this.#trouble = why;
    this.#wake?.();
  }

  /** Pods have their network (`''`), or why they have another; undefined: none of their own is wanted. */
  network(problem: string | undefined): void {
    this.#network = problem;
    this.#wake?.();
  }

  /** Looks at the machine; call it before pods are started, since they are told of it. */
  async prepare(): Promise<void> {
    this.#machine ??= await machineFacts();
  }

  /** Reports at once, then whenever something changed, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, periodMs = 10_000 } = this.#options;
    await this.prepare();
    for (let round = 0; !signal.aborted; round++) {
      await this.#look(round % 6 === 0);
      this.#tell();
      await this.#rest(clock, periodMs, signal);
    }
  }

  /** Until the period is over, the engine's state has changed, or the agent stops. */
  async #rest(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    this.#wake = () => over.abort();
    signal.addEventListener('abort', this.#wake, { once: true });
    if (!signal.aborted) await sleep(clock, ms, over.signal);
    signal.removeEventListener('abort', this.#wake);
  }

  async #look(images: boolean): Promise<void> {
    const { runtime, log } = this.#options;
    try {
      const fresh = this.#engine === undefined;
      await runtime.ping();
      this.#engine ??= await runtime.info();
      if (images || fresh) this.#images = await runtime.images();
      const disk = await runtime.disk();
      this.#diskBytes = disk.capacityBytes;
      this.#pressures = await this.#options.look?.(disk) ?? [];
    } catch (error) {
      log.debug('cannot look at the engine', { error });
      this.#engine = undefined;
      this.#engineError = 'container runtime is down';
    }
  }

  #tell(): void {
    const { name, kubeletVersion, labels = {}, maxPods = 110, allotment, clock, report } = this.#options;
    if (!this.#machine) return;
    const node = nodeObject({
      name, kubeletVersion, labels, maxPods, ips: this.facts().ips, machine: this.#machine, engine: this.#engine, engineError: this.#engineError,
      images: this.#images, pressures: this.#pressures, diskBytes: this.#diskBytes, ...(allotment ? { allotment } : {}), trouble: this.#trouble, network: this.#network, previous: this.#reported, now: clock.now(),
    });
    if (isDeepStrictEqual(node, this.#reported)) return;
    this.#reported = node;
    report(node);
  }
}
