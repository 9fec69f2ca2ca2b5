import { sleep, type Clock } from '../shared/clock.ts';
import type { Log } from '../shared/log.ts';
import type { Payload } from '../shared/protocol.ts';
import type { Binary } from './upgrade-binaries.ts';
import { batches, nodeStep, objection, type NodeProgress } from './upgrade-plan.ts';

type Status = Payload<'upgradeStatus'>;

/** What the roll-out needs of the hub. */
export interface Agents {
  agentOf(node: string): { readonly version: string; readonly upgrades: string | undefined } | undefined;
  askUpgrade(node: string, wanted: Payload<'upgrade'>): void;
  upgradeSeen(node: string, sha256: string): void;
}

export interface UpgradesOptions {
  readonly agents: Agents;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RollRequest {
  readonly binary: Binary;
  /** In this order, `batch` at a time. */
  readonly nodes: readonly string[];
  readonly batch: number;
  /** How long a new program may take on its node to get healthy. */
  readonly limitMs: number;
}

/** One line of what is going on; `summary` is the last one. */
export type RollLine =
  | { readonly type: 'node'; readonly node: string; readonly phase: NodeProgress['phase'] | 'skipped'; readonly version: string; readonly detail: string; readonly bytes: number; readonly of: number }
  | { readonly type: 'summary'; readonly ok: boolean; readonly versions: Readonly<Record<string, string>> };

/** A node's progress, and whoever waits for its next word. */
interface Watched { progress: NodeProgress; last: Status | undefined; wake: () => void }

/** Rolls programs out to agents: batch by batch, and no further once one node has failed. */
export class Upgrades {
  readonly #options: UpgradesOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: UpgradesOptions) {
    this.#options = options;
  }

  /** An agent says how far it is. What nobody waits for is only acknowledged. */
  heard(node: string, status: Status): void {
    const { agents, clock, log } = this.#options;
    const watched = this.#watched.get(`${node}/${status.sha256}`);
    if (status.phase === 'done' || status.phase === 'failed') {
      agents.upgradeSeen(node, status.sha256);
      // What nobody asked for a node may say as often as it likes: that must not fill the log.
      log[watched ? 'info' : 'debug'](`upgrade of an agent ${status.phase}`, { node, version: status.version, ...(status.detail ? { why: status.detail } : {}) });
    }
    if (!watched) return;
    watched.progress = { ...watched.progress, phase: status.phase, heardMs: clock.monotonic() };
    watched.last = status;
    watched.wake();
  }

  /**
   * Upgrades nodes and tells each change, until all are done, one has failed, or `signal` aborts. What a node has begun it
   * finishes by itself.
   */
  async roll(request: RollRequest, tell: (line: RollLine) => void, signal: AbortSignal): Promise<void> {
    const { agents } = this.#options;
    let ok = true;
    for (const batch of batches(request.nodes, request.batch)) {
      if (ok && !signal.aborted) ok = (await Promise.all(batch.map((node) => this.#upgrade(node, request, tell, signal)))).every(Boolean);
      else for (const node of batch) tell({ type: 'node', node, phase: 'skipped', version: '', detail: '', bytes: 0, of: request.binary.bytes });
    }
    tell({ type: 'summary', ok: ok && !signal.aborted, versions: Object.fromEntries(request.nodes.map((node) => [node, agents.agentOf(node)?.version ?? ''])) });
  }

  async #upgrade(node: string, request: RollRequest, tell: (line: RollLine) => void, signal: AbortSignal): Promise<boolean> {
    const { binary: { sha256, bytes, arch } } = request;
    const say = (phase: NodeProgress['phase'], detail: string, last?: Status): void => tell({ type: 'node', node, phase, version: last?.version ?? '', detail, bytes: last?.bytes ?? 0, of: bytes });
    const key = `${node}/${sha256}`;
    const why = objection({ node, agent: this.#options.agents.agentOf(node) }, arch) ?? (this.#watched.has(key) ? 'another roll-out is upgrading it' : undefined);
    if (why !== undefined) { say('failed', why); return false; }
    try {
      return await this.#follow(key, node, request, say, signal);
    } finally {
      this.#watched.delete(key);
    }
  }

  async #follow(key: string, node: string, { binary: { sha256, bytes }, limitMs }: RollRequest, say: (phase: NodeProgress['phase'], detail: string, last?: Status) => void, signal: AbortSignal): Promise<boolean> {
    const { agents, clock } = this.#options;
    const watched: Watched = { progress: { phase: 'asked', heardMs: clock.monotonic(), askedMs: -Infinity }, last: undefined, wake: () => {} };
    this.#watched.set(key, watched);
    const ask = (): void => {
      watched.progress = { ...watched.progress, askedMs: clock.monotonic() };
      agents.askUpgrade(node, { sha256, bytes, limitMs });
    };
    say('asked', '');
    ask();
    let told: Status | undefined;
    while (!signal.aborted) {
      if (watched.last && watched.last !== told) say(watched.last.phase, watched.last.detail, told = watched.last);
      const step = nodeStep(watched.progress, { nowMs: clock.monotonic(), limitMs, connected: agents.agentOf(node) !== undefined });
      if (step.type === 'over') return watched.progress.phase === 'done';
      if (step.type === 'fail') { say('failed', step.why); return false; }
      if (step.type === 'ask') ask();
      await this.#nextWord(watched, signal);
    }
    return false;
  }

  /** Until the node has said something, or it is time to look again. */
  async #nextWord(watched: Watched, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    watched.wake = () => woken.abort();
    await sleep(this.#options.clock, 1000, AbortSignal.any([signal, woken.signal]));
  }
}
