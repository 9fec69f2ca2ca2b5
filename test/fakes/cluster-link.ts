import { Session } from '../../agent/session.ts';
import type { SessionOptions } from '../../agent/session/options.ts';
import type { State } from '../../agent/state/state.ts';
import { kinds } from '../../shared/kinds/index.ts';
import { silentLog, type Log } from '../../shared/log.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import { decode } from '../../shared/decode.ts';
import { Hub, type HubOptions } from '../../master/hub/hub.ts';
import { Registry } from '../../master/registry/registry.ts';
import { openMemoryStore } from '../../master/store/memory.ts';
import { makeLink, SimulatedClock, type Link } from './link.ts';

/** A master's hub over a store in memory, and agents' real sessions, connected by simulated links. */
export class LinkedCluster {
  readonly clock = new SimulatedClock();
  readonly registry: Registry;
  /** Links in use, by node. */
  readonly links = new Map<string, Link>();
  /** Frames sent: by the agent (0) or master (1). */
  readonly frames: { readonly node: string; readonly from: 0 | 1; readonly frame: Uint8Array }[] = [];
  readonly #log: Log;
  readonly #random: () => number;
  readonly #delayMs: () => number;
  #hub: { readonly hub: Hub; readonly stop: () => Promise<void> } | undefined;

  constructor(options: { log?: Log; random?: () => number; delayMs?: () => number; cacheBytes?: number } = {}) {
    this.#log = options.log ?? silentLog;
    this.#random = options.random ?? Math.random;
    this.#delayMs = options.delayMs ?? (() => 1);
    this.registry = new Registry({ store: openMemoryStore(), clock: this.clock, random: this.#random, kinds, allocators: [], ...(options.cacheBytes === undefined ? {} : { cacheBytes: options.cacheBytes }) });
  }

  get hub(): Hub {
    return this.#hub!.hub;
  }

  async startMaster(options: Partial<HubOptions> = {}): Promise<void> {
    const abort = new AbortController();
    const hub = new Hub({
      registry: this.registry, clock: this.clock, log: this.#log, masterVersion: 'test',
      enroller: { ca: '', enrol: () => Promise.reject(new Error('not here')) },
      settings: () => ({ serviceCIDR: '10.96.0.0/16', clusterDomain: 'cluster.local', clusterDNS: '10.96.0.10', podCIDR: '' }),
      ...options,
    });
    const running = hub.run(abort.signal);
    this.#hub = {
      hub,
      stop: async () => {
        abort.abort();
        let over = false;
        void running.finally(() => { over = true; });
        await this.clock.pass(60_000, () => over);
        await running;
      },
    };
    await this.clock.pass(1000, () => hub.stats().revision > 0);
  }

  async stopMaster(): Promise<void> {
    await this.#hub?.stop();
    this.#hub = undefined;
  }

  /** Starts an agent's session; `stop` ends it as a killed process would. */
  startAgent(node: string, state: State, options: Partial<SessionOptions> = {}): { session: Session; stop: () => Promise<void> } {
    const abort = new AbortController();
    const session = new Session({
      node, state, agentVersion: 'test', bootId: 'b', clock: this.clock, random: this.#random, log: this.#log,
      connect: async () => this.#connect(node),
      onWelcome: () => {},
      openStream: () => { throw new Error('no streams'); },
      ...options,
    });
    const running = session.run(abort.signal);
    return {
      session,
      stop: async () => {
        abort.abort();
        let over = false;
        void running.finally(() => { over = true; });
        await this.clock.pass(60_000, () => over);
      },
    };
  }

  #connect(node: string) {
    if (!this.#hub) throw new Error('connection refused');
    const link = makeLink({ clock: this.clock, delayMs: this.#delayMs, tap: (frame, from) => this.frames.push({ node, from, frame }) });
    this.links.set(node, link);
    this.hub.accept(node, link.ends[1]);
    return link.ends[0];
  }
}

/** A Node object as an agent reports it. */
export function nodeOf(name: string, extra: { labels?: Record<string, string>; spec?: object; status?: object } = {}): Node {
  return decode<Node>(nodes.schema, {
    apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { 'kubernetes.io/hostname': name, ...extra.labels } }, spec: extra.spec ?? {},
    status: {
      capacity: { cpu: '2', memory: '1Gi', pods: '110' }, addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: '2026-01-02T03:04:05Z', lastTransitionTime: '2026-01-02T03:04:05Z' }],
      ...extra.status,
    },
  }, { complete: true }).value;
}
