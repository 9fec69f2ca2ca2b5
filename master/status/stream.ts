import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { Scope } from '../../shared/scope.ts';
import { unavailable } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import type { Registry } from '../registry/registry.ts';
import { Fleet, type NodeLink } from './fleet.ts';
import { fromTuple, type FleetMessage, type FleetNode, type Totals } from './fleet-messages.ts';
import { Watcher } from './watcher.ts';

export interface StatusStreamOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  readonly masterVersion: string;
  readonly link: (node: string) => NodeLink | undefined;
  /** Changes within this time go out together. Default 500 ms. */
  readonly coalesceMs?: number;
  /** Default 16. */
  readonly maxWatchers?: number;
}

/** The answer to a GET. */
export interface FleetStatus {
  readonly masterVersion: string;
  readonly time: string;
  readonly totals: Totals;
  readonly nodes: readonly FleetNode[];
}

/** A fleet that is being followed, for as long as somebody watches. */
interface Active { readonly fleet: Fleet; readonly scope: Scope; readonly loaded: Promise<void> }

/**
 * The fleet's status for administrators: all of it once, or pushed as it changes. Between the times that somebody wants
 * it, it costs nothing.
 */
export class StatusStream {
  readonly #options: StatusStreamOptions;
  readonly #watchers = new Set<Watcher>();
  readonly #sockets = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: 4096 });
  #active: Active | undefined;
  #signal: AbortSignal | undefined;
  #finished: Promise<void> = Promise.resolve();

  constructor(options: StatusStreamOptions) {
    this.#options = options;
  }

  /** Serves until `signal` aborts and every watcher is gone. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    if (!signal.aborted) await new Promise<void>((resolve) => { signal.addEventListener('abort', () => resolve(), { once: true }); });
    for (const watcher of this.#watchers) watcher.close(1001, 'the master is stopping');
    this.#watchers.clear();
    this.#active?.scope.stop();
    await this.#finished;
  }

  /** Watchers now; for tests. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** The whole fleet as it is now, nodes by name. @throws StatusError 503 while the master starts or stops */
  async get(): Promise<FleetStatus> {
    const { clock, masterVersion } = this.#options;
    const scope = new Scope(this.#running());
    const fleet = new Fleet(this.#options);
    try {
      await fleet.load(scope.signal);
      await fleet.take();
    } finally {
      scope.stop();
    }
    const rows = [...fleet.rows.values()].sort(([a], [b]) => (a < b ? -1 : 1));
    return { masterVersion, time: toTime(clock.now()), totals: fleet.totals(), nodes: rows.map(fromTuple) };
  }

  /** Takes over an upgrade request of an administrator. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#running();
    if (this.#watchers.size >= (this.#options.maxWatchers ?? 16)) throw unavailable('too many watch the status already');
    this.#sockets.handleUpgrade(req, socket, head, (webSocket) => this.#accept(webSocket));
  }

  #running(): AbortSignal {
    if (!this.#signal || this.#signal.aborted) throw unavailable('the master is starting or stopping');
    return this.#signal;
  }

  #accept(socket: WebSocket): void {
    const { clock, log } = this.#options;
    const watcher = new Watcher({ socket, clock, onClose: () => this.#left(watcher) });
    this.#watchers.add(watcher);
    const active = this.#active ??= this.#start();
    active.loaded.then(() => watcher.begin((name) => active.fleet.rows.get(name), [...active.fleet.rows.keys()], () => this.#head(active.fleet)))
      .catch((error: unknown) => {
        log.error('reading the fleet failed', { error });
        watcher.close(1011, 'internal error');
      });
  }

  #left(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    this.#active?.scope.stop();
    this.#active = undefined;
  }

  #head(fleet: Fleet): { readonly masterVersion: string; readonly time: number; readonly totals: Totals } {
    return { masterVersion: this.#options.masterVersion, time: this.#options.clock.now(), totals: fleet.totals() };
  }

  #start(): Active {
    const fleet = new Fleet(this.#options);
    const scope = new Scope(this.#running());
    const loaded = fleet.load(scope.signal).then(() => fleet.take()).then(() => undefined);
    scope.start(async (signal) => {
      await loaded.catch(() => scope.stop());
      await this.#follow(fleet, signal);
    });
    const before = this.#finished;
    this.#finished = scope.wait().catch((error: unknown) => this.#options.log.error('following the fleet failed', { error })).then(() => before);
    return { fleet, scope, loaded };
  }

  /** Once per period: what changed, encoded once for all who are up to date. */
  async #follow(fleet: Fleet, signal: AbortSignal): Promise<void> {
    const { clock, coalesceMs = 500 } = this.#options;
    let lastTotals = JSON.stringify(fleet.totals());
    while (!signal.aborted) {
      await sleep(clock, coalesceMs, signal);
      if (signal.aborted) return;
      const { changed, removed } = await fleet.take();
      const totals = fleet.totals();
      const same = JSON.stringify(totals) === lastTotals;
      lastTotals = JSON.stringify(totals);
      if (changed.length === 0 && removed.length === 0 && same) {
        for (const watcher of this.#watchers) watcher.idle();
        continue;
      }
      const nodes = changed.map((name) => fleet.rows.get(name)).filter((row) => row !== undefined);
      const delta: FleetMessage = { type: 'delta', time: clock.now(), nodes, removed, ...(same ? {} : { totals }) };
      const text = JSON.stringify(delta);
      for (const watcher of this.#watchers) watcher.push(text, [...changed, ...removed]);
    }
  }
}
