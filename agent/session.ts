import type { ByteStream } from '../shared/byte-stream.ts';
import { sleep } from '../shared/clock.ts';
import type { Node } from '../shared/kinds/node.ts';
import type { EventReport, Payload, PodReport } from '../shared/protocol.ts';
import { Scope } from '../shared/scope.ts';
import { Connection, type Outcome } from './session/connection.ts';
import { EventSpool } from './session/event-spool.ts';
import { defaultBackoff, type SessionOptions } from './session/options.ts';
import { BusyError, RefusedError } from './session/refused.ts';
import { Outbox } from './session/outbox.ts';

/** Pause of an agent that the master will not have: see {@link Backoff.refusedMs}. */
const refusedMs = 300_000;

/**
 * The link to the master: keeps a connection, brings assignments into the state, and tells the master what became of
 * them. Without a master it keeps the latest reports and goes on trying; nothing else on the node waits for it.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #outbox: Outbox;
  readonly #spool: EventSpool;
  #connection: Connection | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#outbox = new Outbox({
      maxEvents: options.maxEvents ?? 256, resendMs: options.resendMs ?? 30_000, nodePauseMs: options.nodePauseMs ?? 10_000,
      holds: ({ namespace, name, uid }) => {
        const item = options.state.items.get(`pod/${namespace}/${name}`);
        return item?.type === 'pod' && item.object.metadata.uid === uid;
      },
    });
    this.#spool = new EventSpool({ ...options, waiting: () => this.#outbox.waitingEvents(), linked: () => this.#connection?.isCurrent ?? false });
    for (const event of this.#spool.restored()) this.#outbox.event(event);
  }

  /** Reports a pod's status; only the latest per uid is kept. After a restart of the agent every pod must be reported again. */
  report(pod: PodReport): void {
    this.#outbox.report(pod);
    this.#connection?.flushSoon();
  }

  /** The node object as the agent sees it now; call it as often as you look, unchanged ones are not sent. */
  setNode(node: Node): void {
    this.#outbox.setNode(node, this.#options.clock.monotonic());
    this.#connection?.flushSoon();
  }

  /** Reports an event; a repetition has the same `key` and a higher count. */
  event(event: EventReport): void {
    this.#outbox.event(event);
    this.#connection?.flushSoon();
  }

  /** Whether {@link relay} can be asked now. */
  get relays(): boolean {
    return this.#connection?.relays ?? false;
  }

  /** A stream to an endpoint on another node; undefined when there is no master that relays. @throws StreamReset when there are too many */
  relay(wish: Omit<Payload<'relay'>, 'id'>): ByteStream | undefined {
    return this.#connection?.relay(wish);
  }

  /** Reports not yet acknowledged, and events dropped since the start. */
  get stats(): { readonly pods: number; readonly events: number; readonly eventsDropped: number } {
    return this.#outbox.stats;
  }

  /** Keeps a connection to the master until `signal` aborts. Never rejects: there is nothing that trying again cannot mend. */
  async run(signal: AbortSignal): Promise<void> {
    const scope = new Scope(signal);
    scope.start((stop) => this.#spool.run(stop));
    scope.start((stop) => this.#connectAlways(stop));
    await scope.wait();
  }

  async #connectAlways(signal: AbortSignal): Promise<void> {
    const { clock, log, random, backoff = defaultBackoff } = this.#options;
    let refused = false;
    for (let failures = 0; !signal.aborted;) {
      const { why, healthyMs, retry, afterMs = 0 } = await this.#connectOnce(signal);
      if (signal.aborted) return;
      failures = healthyMs >= backoff.healthyMs ? 0 : failures + 1;
      const limit = retry ? Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(failures, 20)) : backoff.refusedMs ?? refusedMs;
      const waitMs = Math.max((retry ? random() : 0.5 + random() / 2) * limit, afterMs * (1 + random()));
      this.#options.link?.ended(why, waitMs);
      // Whoever is turned out is told once, not with every try.
      const event = retry ? (healthyMs > 0 ? 'the connection to the master ended' : 'no session with the master') : 'the master does not take this node; its pods go on as they are';
      log[refused && !retry ? 'debug' : 'warn'](event, { why, againInMs: Math.round(waitMs) });
      refused = !retry;
      await sleep(clock, waitMs, signal);
    }
  }

  async #connectOnce(signal: AbortSignal): Promise<Outcome> {
    let socket;
    this.#options.link?.trying();
    try {
      socket = await this.#options.connect(signal);
    } catch (error) {
      return { why: (error as Error).message, healthyMs: 0, retry: !(error instanceof RefusedError), ...(error instanceof BusyError ? { afterMs: error.afterMs } : {}) };
    }
    const connection = this.#connection = new Connection(this.#options, socket, this.#outbox);
    try {
      return await connection.run(signal);
    } finally {
      this.#connection = undefined;
      if (connection.isCurrent) this.#options.onLink?.(connection.receivedMs);
    }
  }
}
