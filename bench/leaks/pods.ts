/**
 * A program: the pods' part of an agent on a fake engine, with its real state on disk and its outbox, whose master takes
 * everything at once. Pods come, run, are deleted and go, PODS of them after WARM others; prints memory after each of both.
 *
 *   node --expose-gc bench/leaks/pods.js WARM PODS
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventLog } from '../../agent/pods/events.ts';
import { PodManager } from '../../agent/pods/manager.ts';
import { Outbox } from '../../agent/session/outbox.ts';
import { Journal } from '../../agent/state/journal.ts';
import { systemClock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { silentLog } from '../../shared/log.ts';
import { decodeMessage, type PodReport } from '../../shared/protocol.ts';
import { podOf } from '../../test/fakes/pod.ts';
import { FakeRuntime } from '../../test/fakes/runtime.ts';

/** Pods that are there at the same time. */
const width = 50;
const sent = { status: 'status', node: 'node', events: 'events' } as const;

class Node {
  readonly #runtime = new FakeRuntime(systemClock);
  readonly #outbox: Outbox;
  readonly #journal: Journal;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  /** Pods that the master waits for to be in some state, by name. */
  readonly #waiting = new Map<string, { readonly holds: (report: PodReport) => boolean; readonly resolve: () => void }>();

  constructor(journal: Journal, root: string) {
    this.#journal = journal;
    for (const image of ['app:1', 'pause']) this.#runtime.addImage(image);
    this.#outbox = new Outbox({ maxEvents: 256, resendMs: 30_000, nodePauseMs: 10_000, holds: (pod) => journal.items.has(`pod/${pod.namespace}/${pod.name}`) });
    const manager = new PodManager({
      runtime: this.#runtime, state: journal, clock: systemClock, log: silentLog, root,
      events: new EventLog({ clock: systemClock, report: (event) => { this.#outbox.event(event); this.#flush(); } }),
      pause: { image: 'pause', archive: () => new Uint8Array() }, node: () => ({ name: 'n', ips: ['192.0.2.1'], cpus: 2, memoryBytes: 2 ** 32 }), cluster: () => undefined,
      report: (report) => { this.#outbox.report(report); this.#flush(); },
    });
    this.#running = manager.run(this.#abort.signal);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    await this.#journal.close();
  }

  /** Containers that are left on the engine. */
  get containers(): number {
    return this.#runtime.held.size;
  }

  async wave(names: readonly string[]): Promise<void> {
    const list = names.map((name) => podOf(name, { containers: [{ name: 'app', image: 'app:1', env: [{ name: 'A', value: 'x'.repeat(200) }] }] }));
    const running = names.map((name) => this.#until(name, ({ status }) => status['phase'] === 'Running'));
    await this.#assign(list);
    await Promise.all(running);
    const gone = names.map((name) => this.#until(name, (report) => report.gone));
    const deletionTimestamp = new Date().toISOString();
    await this.#assign(list.map((pod) => ({ ...pod, metadata: { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: 0 } })));
    await Promise.all(gone);
    await this.#journal.apply({ epoch: 'e', revision: this.#journal.held.revision + 1, complete: false, items: [], removed: names.map((name) => `pod/default/${name}`) });
  }

  async #assign(list: readonly Pod[]): Promise<void> {
    const revision = this.#journal.held.revision + 1;
    await this.#journal.apply({ epoch: 'e', revision, complete: false, items: list.map((object) => ({ type: 'pod', revision, object })), removed: [] });
  }

  #until(name: string, holds: (report: PodReport) => boolean): Promise<void> {
    return new Promise((resolve) => { this.#waiting.set(name, { holds, resolve }); });
  }

  #due = false;
  /** The master takes what there is, a moment later. */
  #flush(): void {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => { this.#due = false; this.#takeAll(); }, 1);
  }

  #takeAll(): void {
    for (let more = true; more;) {
      more = false;
      for (const frame of this.#outbox.take(performance.now())) {
        more = true;
        const { name, payload } = decodeMessage(frame, 'agent');
        if (name === 'status') for (const pod of payload.pods) this.#heard(pod);
        if (name in sent) this.#outbox.acknowledged(name as keyof typeof sent, (payload as { readonly seq: number }).seq);
      }
    }
  }

  #heard(report: PodReport): void {
    const waiting = this.#waiting.get(report.name);
    if (!waiting?.holds(report)) return;
    this.#waiting.delete(report.name);
    waiting.resolve();
  }
}

/** Memory in MB, garbage aside. */
async function memory(): Promise<{ readonly rss: number; readonly heap: number }> {
  for (let times = 0; times < 4; times++) {
    await new Promise((resolve) => { setTimeout(resolve, 200); });
    (globalThis as { gc?: () => void }).gc?.();
  }
  const { rss, heapUsed } = process.memoryUsage();
  return { rss: rss / 1e6, heap: heapUsed / 1e6 };
}

let serial = 0;
async function through(node: Node, count: number): Promise<void> {
  for (const end = serial + count; serial < end;) await node.wave(Array.from({ length: Math.min(width, end - serial) }, () => `pod-${serial++}`));
}

const [warm = 1000, count = 10_000] = process.argv.slice(2).map(Number);
const root = await mkdtemp(join(tmpdir(), 'wherry-leaks-'));
const journal = await Journal.open({ directory: join(root, 'state'), log: silentLog });
await journal.apply({ epoch: 'e', revision: 1, complete: true, items: [], removed: [] });
const node = new Node(journal, join(root, 'pods'));
await through(node, warm);
const before = await memory();
await through(node, count);
const after = await memory();
const { containers } = node;
await node.stop();
await rm(root, { recursive: true, force: true });
process.stdout.write(`${JSON.stringify({ before, after, containers })}\n`);
