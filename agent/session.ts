import { sleep, type Clock } from '../shared/clock.ts';
import type { Node } from '../shared/kinds/node.ts';
import type { Log } from '../shared/log.ts';
import type { EventReport, Payload, PodReport, StreamRequest } from '../shared/protocol.ts';
import type { FrameSocket } from '../shared/socket.ts';
import { Connection, type Outcome } from './session/connection.ts';
import { Outbox } from './session/outbox.ts';
import type { State } from './state/state.ts';

export interface SessionOptions {
  /** Name of this node. */
  readonly node: string;
  readonly agentVersion: string;
  readonly bootId: string;
  readonly state: State;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Opens a connection to the master; see session/connect.ts. Rejects with an error that says what was tried. */
  readonly connect: (signal: AbortSignal) => Promise<FrameSocket>;
  /** Called at the start of each session and when the settings change within one. */
  readonly onWelcome: (settings: Payload<'welcome'>) => void;
  /**
   * Makes the bytes of a stream that the master asks for. Ends with them; an error that it throws goes to the master as
   * its message (and its HTTP status, if it has a numeric `code`). `signal` aborts when nobody reads any more.
   */
  readonly openStream: (request: StreamRequest, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly backoff?: Backoff;
  /** How long reports wait for others to share their message. Default 20 ms. */
  readonly flushMs?: number;
  /** Default 256. */
  readonly maxEvents?: number;
  /** Default 30 s. */
  readonly resendMs?: number;
  /** Default 10 s. */
  readonly nodePauseMs?: number;
}

/** Attempt n (from 0) waits a random time up to `baseMs` × 2^n, at most `maxMs`; n starts over after `healthyMs` of a session. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
  readonly healthyMs: number;
}

export const defaultBackoff: Backoff = { baseMs: 1000, maxMs: 30_000, healthyMs: 30_000 };

/**
 * The link to the master: keeps a connection, brings assignments into the state, and tells the master what became of
 * them. Without a master it keeps the latest reports and goes on trying; nothing else on the node waits for it.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #outbox: Outbox;
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

  /** Reports not yet acknowledged, and events dropped since the start. */
  get stats(): { readonly pods: number; readonly events: number; readonly eventsDropped: number } {
    return this.#outbox.stats;
  }

  /** Keeps a connection to the master until `signal` aborts. Never rejects: there is nothing that trying again cannot mend. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, random, backoff = defaultBackoff } = this.#options;
    for (let failures = 0; !signal.aborted;) {
      const { why, healthyMs, retry } = await this.#connectOnce(signal);
      if (signal.aborted) return;
      failures = healthyMs >= backoff.healthyMs ? 0 : failures + 1;
      const limit = retry ? Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(failures, 20)) : backoff.maxMs;
      const waitMs = retry ? random() * limit : limit;
      log.warn(healthyMs > 0 ? 'the connection to the master ended' : 'no session with the master', { why, againInMs: Math.round(waitMs) });
      await sleep(clock, waitMs, signal);
    }
  }

  async #connectOnce(signal: AbortSignal): Promise<Outcome> {
    let socket;
    try {
      socket = await this.#options.connect(signal);
    } catch (error) {
      return { why: (error as Error).message, healthyMs: 0, retry: true };
    }
    const connection = this.#connection = new Connection(this.#options, socket, this.#outbox);
    try {
      return await connection.run(signal);
    } finally {
      this.#connection = undefined;
    }
  }
}
