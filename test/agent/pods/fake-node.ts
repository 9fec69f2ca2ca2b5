import { createHook } from 'node:async_hooks';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodManager, type PodManagerOptions } from '../../../agent/pods/manager.ts';
import { EventLog } from '../../../agent/pods/events.ts';
import { label } from '../../../agent/runtime/labels.ts';
import type { Pod } from '../../../shared/kinds/pod.ts';
import type { PodStatus } from '../../../shared/kinds/pod-status.ts';
import { silentLog } from '../../../shared/log.ts';
import type { EventReport, PodReport } from '../../../shared/protocol.ts';
import { SimulatedClock } from '../../fakes/link.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { FakeState } from '../../fakes/state.ts';

/** Work on files that is under way: simulated time has to wait for it. */
const files = new Set<number>();
createHook({
  init: (id, type) => { if (['FSREQPROMISE', 'FSREQCALLBACK', 'FILEHANDLECLOSEREQ'].includes(type)) files.add(id); },
  after: (id) => { files.delete(id); },
}).enable();

/** A whole pod manager on a fake engine, in simulated time whose wall clock can be set. */
export class FakeNode {
  readonly clock = new SimulatedClock();
  readonly runtime = new FakeRuntime(this.clock);
  readonly state = new FakeState();
  readonly reports = new Map<string, PodReport>();
  readonly events = new Map<string, EventReport>();
  /** What the pods see of the link. */
  readonly outage = { ms: undefined as number | undefined, kept: 0, keep: (): void => { this.outage.kept++; } };
  manager!: PodManager;
  #root = '';
  #abort = new AbortController();
  #running: Promise<void> | undefined;

  async start(more: Partial<PodManagerOptions> = {}): Promise<void> {
    this.#root ||= await mkdtemp(join(tmpdir(), 'fake-node-'));
    for (const image of ['a:1', 'pause']) this.runtime.addImage(image);
    this.#abort = new AbortController();
    this.manager = new PodManager({
      runtime: this.runtime, state: this.state, clock: this.clock, log: silentLog, owner: 'test', root: this.#root, outage: this.outage,
      events: new EventLog({ clock: this.clock, report: (event) => { this.events.set(event.key, event); } }),
      pause: { image: 'pause', archive: () => new Uint8Array() }, node: () => ({ name: 'n', ips: ['192.0.2.1'], cpus: 2, memoryBytes: 2 ** 32 }),
      cluster: () => undefined, report: (report) => { this.reports.set(report.name, report); }, ...more,
    });
    this.#running = this.manager.run(this.#abort.signal);
    await this.pass(0);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async cleanUp(): Promise<void> {
    await this.stop();
    await rm(this.#root, { recursive: true, force: true });
  }

  async assign(...list: Pod[]): Promise<void> {
    await this.state.put(...list.map((object) => ({ type: 'pod' as const, revision: this.state.held.revision + 1, object })));
    await this.pass(0);
  }

  /** Lets simulated time go by in small steps, and between them all real work (files) come to an end. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    do {
      await this.#quiet();
      await this.clock.pass(Math.min(250, end - this.clock.monotonic()));
      await this.#quiet();
    } while (this.clock.monotonic() < end);
  }

  async #quiet(): Promise<void> {
    for (let calm = 0; calm < 6; calm++) {
      await new Promise((resolve) => { setImmediate(resolve); });
      if (files.size > 0) calm = 0;
    }
  }

  status(name: string): PodStatus {
    return (this.reports.get(name)?.status ?? {}) as PodStatus;
  }

  /** App containers that run, by pod name. */
  running(pod: string) {
    return this.containers(pod).filter(({ state }) => state === 'running');
  }

  containers(pod: string) {
    return [...this.runtime.held.values()].map(({ details }) => details).filter(({ labels }) => labels[label.podName] === pod && labels[label.container] !== 'POD');
  }

  sandboxes(pod: string) {
    return [...this.runtime.held.values()].map(({ details }) => details).filter(({ labels }) => labels[label.podName] === pod && labels[label.container] === 'POD');
  }

  /** Ends what runs of a pod. */
  async crash(pod: string, exitCode = 1): Promise<void> {
    for (const { id } of this.running(pod)) this.runtime.end(id, exitCode);
    await this.pass(0);
  }

  reasons(): string[] {
    return [...this.events.values()].map(({ reason }) => reason);
  }
}

/** Runs `run` with a node that has been started, and cleans up after it. */
export async function withNode(run: (node: FakeNode) => Promise<void>): Promise<void> {
  const node = new FakeNode();
  await node.start();
  try {
    await run(node);
  } finally {
    await node.cleanUp();
  }
}
