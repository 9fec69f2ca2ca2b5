import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodManager, type PodManagerOptions } from '../../agent/pods/manager.ts';
import type { InvolvedObject } from '../../agent/pods/events.ts';
import { DockerRuntime } from '../../agent/runtime/docker.ts';
import { label } from '../../agent/runtime/labels.ts';
import { pauseImageName, pauseImageTar } from '../../agent/runtime/pause-image.ts';
import { systemClock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { createLog } from '../../shared/log.ts';
import type { PodReport } from '../../shared/protocol.ts';
import { podOf } from '../fakes/pod.ts';
import { FakeState } from '../fakes/state.ts';

export const testImage = 'wherry-test/busybox:1';

/** A pod of one container of the test image. */
export const simplePod = (name: string, container: object = {}, spec: object = {}, metadata: object = {}): Pod =>
  podOf(name, { containers: [{ name: 'main', image: testImage, command: ['stay'], ...container }], terminationGracePeriodSeconds: 5, ...spec }, { uid: randomUUID(), ...metadata });

/** A pod manager on a real engine, whose containers carry an owner label of their own. */
export class Bench {
  readonly state = new FakeState();
  readonly runtime = new DockerRuntime();
  readonly events: { object: InvolvedObject; type: string; reason: string; message: string }[] = [];
  readonly reports = new Map<string, PodReport>();
  readonly owner: string;
  root = '';
  manager!: PodManager;
  #abort = new AbortController();
  #running: Promise<void> | undefined;
  readonly #watchers = new Set<() => void>();

  constructor(prefix: string) {
    this.owner = `${prefix}-${process.pid}`;
  }

  async start(more: Partial<PodManagerOptions> = {}): Promise<void> {
    this.root ||= await mkdtemp(join(tmpdir(), `${this.owner}-`));
    this.#abort = new AbortController();
    const info = await this.runtime.info();
    const changed = (): void => { for (const watcher of this.#watchers) watcher(); };
    this.manager = new PodManager({
      runtime: this.runtime, state: this.state, clock: systemClock, owner: this.owner, root: this.root,
      log: createLog({ component: 'pods', level: process.env['DEBUG'] ? 'debug' : 'error' }),
      events: { event: (object, type, reason, message) => { this.events.push({ object, type, reason, message }); changed(); } },
      pause: { image: pauseImageName, archive: () => pauseImageTar(info.architecture as 'amd64') },
      node: () => ({ name: 'node-a', ips: ['192.0.2.10'], cpus: info.cpus, memoryBytes: info.memoryBytes }),
      cluster: () => undefined,
      report: (report) => { this.reports.set(report.name, report); changed(); },
      ...more,
    });
    this.#running = this.manager.run(this.#abort.signal);
  }

  /** Stops the manager as an agent that ends: containers stay. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async cleanUp(): Promise<void> {
    await this.stop();
    for (const { id } of await this.runtime.containers(label.owner, this.owner)) await this.runtime.remove(id);
    await rm(this.root, { recursive: true, force: true });
  }

  async assign(...list: Pod[]): Promise<void> {
    await this.state.put(...list.map((object) => ({ type: 'pod' as const, revision: this.state.held.revision + 1, object })));
  }

  /** What a deletion through the API makes of the item. */
  async delete(pod: Pod, graceSeconds: number): Promise<void> {
    const metadata = { ...pod.metadata, deletionTimestamp: new Date(Date.now() + graceSeconds * 1000).toISOString(), deletionGracePeriodSeconds: graceSeconds };
    await this.assign({ ...pod, metadata });
  }

  status(name: string): PodStatus {
    return (this.reports.get(name)?.status ?? {}) as PodStatus;
  }

  /** Waits until `test` gives something; looks again at each report and event. */
  async until<T>(what: string, test: () => T | undefined | false, timeoutMs = 20_000): Promise<T> {
    const found = test();
    if (found) return found;
    return new Promise((resolve, reject) => {
      const done = (): void => { clearTimeout(timer); this.#watchers.delete(look); };
      const look = (): void => {
        const value = test();
        if (value) { done(); resolve(value); }
      };
      const timer = setTimeout(() => { done(); reject(new Error(`${what}: not within ${timeoutMs} ms; ${JSON.stringify([...this.reports.values()])}`)); }, timeoutMs);
      this.#watchers.add(look);
    });
  }

  phase(name: string, phase: string): Promise<PodStatus> {
    return this.until(`${name} ${phase}`, () => this.status(name).phase === phase && this.status(name));
  }

  gone(name: string): Promise<true> {
    return this.until(`${name} gone`, () => this.reports.get(name)?.gone);
  }

  containers() {
    return this.runtime.containers(label.owner, this.owner);
  }
}
