import { nodes, type Node } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { Clock } from '../../shared/clock.ts';
import { follow } from '../registry/follow.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';
import type { NodeTuple, Totals } from './fleet-messages.ts';

/** How the link to a node stands. Times are of the monotonic clock. */
export interface NodeLink {
  readonly connected: boolean;
  /** When the session began; without one, when the node was last heard of. */
  readonly sinceMs: number;
  readonly seenMs: number;
  readonly lag: number;
  /** Of its agent, as it said; undefined when it is not connected. */
  readonly version: string | undefined;
}

export interface FleetOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  /** Undefined for a node not heard of since the master started. */
  readonly link: (node: string) => NodeLink | undefined;
}

type Phase = keyof Omit<Totals['pods'], 'Unscheduled'>;
interface NodeFacts { readonly state: NodeTuple[1]; readonly cordoned: boolean; readonly version: string }
interface Count { running: number; total: number }

/** Nodes looked at before other work gets its turn. */
const slice = 500;

/**
 * The fleet as far as an overview shows it, kept up to date by the store's changes. It costs memory per node and per pod,
 * so there is one only while somebody looks.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #nodes = new Map<string, NodeFacts>();
  /** By `namespace/name`. */
  readonly #pods = new Map<string, { readonly node: string; readonly phase: Phase }>();
  readonly #counts = new Map<string, Count>();
  readonly #totals: Totals['pods'] = { Running: 0, Pending: 0, Succeeded: 0, Failed: 0, Unknown: 0, Unscheduled: 0 };
  /** As last taken. */
  readonly #rows = new Map<string, NodeTuple>();

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Reads the store; resolves when all of it is known. Follows its changes until `signal` aborts. */
  load(signal: AbortSignal): Promise<void> {
    return follow(this.#options.registry, [nodes, pods], { onChange: (change) => this.#change(change) }, signal);
  }

  /** Every node as last {@link take}n, by name. */
  get rows(): ReadonlyMap<string, NodeTuple> {
    return this.#rows;
  }

  totals(): Totals {
    let [ready, connected] = [0, 0];
    for (const row of this.#rows.values()) {
      if (row[1] === 'Ready') ready++;
      if (row[2] & 1) connected++;
    }
    return { nodes: this.#rows.size, ready, connected, pods: { ...this.#totals } };
  }

  /** Brings {@link rows} up to date, a number of nodes at a time. @returns names of nodes that changed, or are gone */
  async take(): Promise<{ changed: string[]; removed: string[] }> {
    const { clock } = this.#options;
    const changed: string[] = [];
    const offsetMs = clock.now() - clock.monotonic();
    let looked = 0;
    for (const [name, facts] of this.#nodes) {
      const row = this.#row(name, facts, offsetMs);
      const before = this.#rows.get(name);
      if (!before || differs(before, row)) {
        this.#rows.set(name, row);
        changed.push(name);
      }
      if (++looked % slice === 0) await new Promise((resolve) => { setImmediate(resolve); });
    }
    const removed = [...this.#rows.keys()].filter((name) => !this.#nodes.has(name));
    for (const name of removed) this.#rows.delete(name);
    return { changed, removed };
  }

  #row(name: string, { state, cordoned, version }: NodeFacts, offsetMs: number): NodeTuple {
    const link = this.#options.link(name);
    const { running, total } = this.#counts.get(name) ?? { running: 0, total: 0 };
    const wall = (ms: number | undefined): number => (ms === undefined || !Number.isFinite(ms) ? 0 : Math.round(ms + offsetMs));
    const flags = ((link?.connected ? 1 : 0) + (cordoned ? 2 : 0)) as NodeTuple[2];
    return [name, state, flags, wall(link?.sinceMs), wall(link?.seenMs), Math.max(0, link?.lag ?? 0), link?.version ?? version, running, total];
  }

  #change({ kind, type, namespace, name, object }: KindChange): void {
    if (kind.prefix === nodes.prefix) {
      if (type === 'DELETED') this.#nodes.delete(name);
      else this.#nodes.set(name, factsOf(object as Node));
    }
    if (kind.prefix === pods.prefix) this.#podChanged(`${namespace}/${name}`, type === 'DELETED' ? undefined : object as Pod);
  }

  #podChanged(key: string, pod: Pod | undefined): void {
    const before = this.#pods.get(key);
    if (before) this.#add(before.node, before.phase, -1);
    if (!pod) return void this.#pods.delete(key);
    const after = { node: pod.spec.nodeName ?? '', phase: pod.status.phase ?? 'Pending' };
    this.#pods.set(key, after);
    this.#add(after.node, after.phase, 1);
  }

  #add(node: string, phase: Phase, by: 1 | -1): void {
    this.#totals[phase] += by;
    if (node === '') {
      this.#totals.Unscheduled += by;
      return;
    }
    const count = this.#counts.get(node) ?? { running: 0, total: 0 };
    count.total += by;
    if (phase === 'Running') count.running += by;
    if (count.total === 0) this.#counts.delete(node);
    else this.#counts.set(node, count);
  }
}

function factsOf({ spec, status }: Node): NodeFacts {
  const ready = status.conditions?.find(({ type }) => type === 'Ready')?.status;
  return {
    state: ready === 'True' ? 'Ready' : ready === 'False' ? 'NotReady' : 'Unknown', cordoned: spec?.unschedulable ?? false,
    version: /\+wherry\.(.+)$/.exec(status.nodeInfo?.kubeletVersion ?? '')?.[1] ?? '',
  };
}

/** A clock that is adjusted moves all times a little. */
const clockSlackMs = 2000;

/** Whether a row is worth sending again. That a connected node was heard of once more is not. */
function differs(before: NodeTuple, after: NodeTuple): boolean {
  if (before[1] !== after[1] || before[2] !== after[2] || Math.abs(before[3] - after[3]) > clockSlackMs) return true;
  if ((after[2] & 1) === 0 && Math.abs(before[4] - after[4]) > clockSlackMs) return true;
  return before[5] !== after[5] || before[6] !== after[6] || before[7] !== after[7] || before[8] !== after[8];
}
