import { readFileSync } from 'node:fs';
import { connector } from '../../agent/session/connect.ts';
import { Session } from '../../agent/session.ts';
import type { Batch, State } from '../../agent/state/state.ts';
import { systemClock } from '../../shared/clock.ts';
import { createLog } from '../../shared/log.ts';
import { itemKey, type Item } from '../../shared/protocol.ts';
import type { Credentials } from './seed.ts';
import { nodeName, nodeReport, podStatus } from './reports.ts';

/** Process that runs a share of the simulated agents: real sessions over real connections, their state in memory. */

/** What this process is asked, and what it answers; times are of the monotonic clock that all processes share, in ms. */
export type Ask =
  | { readonly type: 'start'; readonly credentials: string; readonly port: number; readonly first: number; readonly count: number; readonly perSecond: number }
  /** Answers once all agents hold this revision. */
  | { readonly type: 'hold'; readonly id: number; readonly revision: number }
  /** Answers when pods of this name prefix were first held. */
  | { readonly type: 'pods'; readonly id: number; readonly prefix: string }
  | { readonly type: 'stats'; readonly id: number };
export type Answer =
  | { readonly type: 'hold'; readonly id: number; readonly heldMs: readonly number[] }
  | { readonly type: 'pods'; readonly id: number; readonly heldMs: Readonly<Record<string, number>> }
  | { readonly type: 'stats'; readonly id: number; readonly connected: number; readonly unreported: number; readonly sessions: number; readonly revision: number; readonly welcomedMs: readonly number[] };

const logBytes = Number(process.env['LOG_BYTES'] ?? 2 ** 30);

/** `AGENT_LOG=warn` shows why connections end. */
const log = createLog({ component: 'fleet', level: process.env['AGENT_LOG'] === 'warn' ? 'warn' : 'error' });

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Items that agents of this process hold in common are kept once: their memory is not what is measured here. */
const interned = new Map<string, Item>();

class LeanState implements State {
  held = { epoch: '', revision: 0 };
  readonly items = new Map<string, Item>();
  readonly notes = new Map<string, unknown>();
  #listener: (keys: readonly string[]) => void = () => {};

  async apply({ epoch, revision, complete, items, removed }: Batch): Promise<void> {
    if (complete) this.items.clear();
    for (const key of removed) this.items.delete(key);
    for (const item of items) this.items.set(itemKey(item), item.type === 'service' || item.type === 'endpoints' ? common(item) : { ...item, revision: item.revision });
    this.held = { epoch, revision };
    this.#listener(items.map(itemKey));
  }

  async note(): Promise<void> {}

  subscribe(listener: (keys: readonly string[]) => void): () => void {
    this.#listener = listener;
    return () => {};
  }

  async close(): Promise<void> {}
}

/** A log of {@link logBytes}, as fast as it is taken. */
async function* endlessLog(): AsyncGenerator<Uint8Array> {
  const lines = Buffer.alloc(64 * 1024, 'a line of the log that somebody may read some day\n');
  for (let sent = 0; sent < logBytes; sent += lines.length) yield lines;
}

function common(item: Item): Item {
  const key = itemKey(item);
  const known = interned.get(key);
  if (known?.revision === item.revision) return known;
  interned.set(key, item);
  return item;
}

/** Thousands of agents share this one loop, where a real one has its own: theirs is late when nobody's would be. */
const timeoutMs = 60_000;

const waiting: (() => void)[] = [];

/** Resolves in a turn of the event loop of its own, so that a thousand agents that begin at once do not stop the others. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(next);
  });
}

function next(): void {
  waiting[0]!();
  waiting.shift();
  if (waiting.length > 0) setImmediate(next);
}

class Agent {
  readonly state = new LeanState();
  readonly session: Session;
  readonly heldMs = new Map<number, number>();
  welcomedMs = 0;
  welcomes = 0;

  constructor(index: number, connect: ReturnType<typeof connector>) {
    this.session = new Session({
      node: nodeName(index), state: this.state, agentVersion: 'bench', bootId: 'b', clock: systemClock, random: Math.random, log, connect,
      onWelcome: () => { this.welcomedMs = nowMs(); this.welcomes++; },
      openStream: () => endlessLog(),
    });
    this.session.setNode(nodeReport(index));
    this.state.subscribe((keys) => this.#changed(index, keys));
  }

  #changed(index: number, keys: readonly string[]): void {
    const now = nowMs();
    for (const wanted of holding) if (this.state.held.revision >= wanted.revision) wanted.take(this, now);
    for (const key of keys) {
      const item = this.state.items.get(key);
      if (item?.type !== 'pod') continue;
      const { namespace = '', name = '', uid = '' } = item.object.metadata;
      if (!podsHeldMs.has(name) && !name.startsWith('pod-')) podsHeldMs.set(name, now);
      this.session.report({ namespace, name, uid, gone: false, status: podStatus(index, Number(name.split('-').at(-1)) || 0) });
    }
  }
}

const agents: Agent[] = [];
const podsHeldMs = new Map<string, number>();
interface Holding { readonly revision: number; take(agent: Agent, ms: number): void }
const holding = new Set<Holding>();

function hold(id: number, revision: number): void {
  const heldMs = new Map<Agent, number>();
  const wanted: Holding = {
    revision,
    take(agent, ms) {
      if (heldMs.has(agent)) return;
      heldMs.set(agent, ms);
      if (heldMs.size < agents.length) return;
      holding.delete(wanted);
      answer({ type: 'hold', id, heldMs: [...heldMs.values()] });
    },
  };
  holding.add(wanted);
  for (const agent of agents) if (agent.state.held.revision >= revision) wanted.take(agent, nowMs());
}

async function start({ credentials, port, first, count, perSecond }: Extract<Ask, { type: 'start' }>): Promise<void> {
  const { ca, key, certificates } = JSON.parse(readFileSync(credentials, 'utf8')) as Credentials;
  const began = performance.now();
  for (let index = first; index < first + count; index++) {
    // Several addresses of the one server: each has source ports of its own.
    const server = `https://127.0.0.${1 + Math.floor(index / 20_000)}:${port}`;
    const connect = connector({ server, key, certificate: certificates[index]!, ca, timeoutMs });
    const agent = new Agent(index, async (signal) => { await turn(); return connect(signal); });
    agents.push(agent);
    void agent.session.run(new AbortController().signal);
    const aheadMs = (index - first + 1) / perSecond * 1000 - (performance.now() - began);
    await (aheadMs > 5 ? new Promise((wake) => setTimeout(wake, aheadMs)) : turn());
  }
}

function stats(id: number): void {
  const revisions = agents.map(({ state }) => state.held.revision);
  answer({
    type: 'stats', id, connected: agents.filter(({ welcomes }) => welcomes > 0).length, sessions: agents.reduce((sum, { welcomes }) => sum + welcomes, 0),
    unreported: agents.reduce((sum, { session }) => sum + session.stats.pods, 0), revision: revisions.length > 0 ? Math.min(...revisions) : 0,
    welcomedMs: agents.map(({ welcomedMs }) => welcomedMs),
  });
}

const answer = (message: Answer): void => { process.send!(message); };

process.on('message', (ask: Ask) => {
  switch (ask.type) {
    case 'start': void start(ask); break;
    case 'hold': hold(ask.id, ask.revision); break;
    case 'pods': answer({ type: 'pods', id: ask.id, heldMs: Object.fromEntries([...podsHeldMs].filter(([name]) => name.startsWith(ask.prefix))) }); break;
    case 'stats': stats(ask.id); break;
  }
});
process.on('disconnect', () => process.exit());
