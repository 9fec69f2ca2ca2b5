import type { Payload } from '../../shared/protocol.ts';
import type { Reading } from './reading.ts';
import type { SessionLink } from './session-link.ts';
import { Throttle } from './throttle.ts';

/** Where an agent's reports go. A rejection means "not taken, send it again". */
export interface ReportHandlers {
  status(node: string, pods: Payload<'status'>['pods']): Promise<void>;
  node(node: string, object: Payload<'node'>['node']): Promise<void>;
  events(node: string, events: Payload<'events'>['events']): Promise<void>;
}

export interface ReportIntakeOptions {
  readonly link: SessionLink;
  readonly reading: Reading;
  readonly reports: ReportHandlers;
  /** Whether the agent has to report everything anew although it thinks that the master knows. */
  readonly lacksReports: () => boolean;
}

/** Reports waiting to be written, beyond which nothing more is read from the agent. */
const maxReports = 8;
/** Objects that one agent may have written: all of a full node's pods several times over, then some per second. */
const writeLimits = { perSecond: 50, burst: 1_000 };
/** Time in which an agent that was asked for its reports should have sent them. */
const askPauseMs = 5000;

/** Takes one agent's reports: writes them in the order in which they came, no faster than is fair, and acknowledges each. */
export class ReportIntake {
  readonly #options: ReportIntakeOptions;
  readonly #writes: Throttle;
  #waiting = 0;
  #work: Promise<void> = Promise.resolve();
  #askedMs = -Infinity;
  #askAgain: (() => void) | undefined;

  constructor(options: ReportIntakeOptions) {
    this.#options = options;
    this.#writes = new Throttle(writeLimits, options.link.clock.monotonic());
  }

  /** Nothing is written until `before` ends. Called once, before the first report. */
  begin(before: Promise<void>): void {
    this.#work = before;
  }

  /** Resolves when all that came is written. */
  async settled(): Promise<void> {
    await this.#work;
  }

  status({ seq, pods }: Payload<'status'>): void {
    this.#take('statusAck', seq, pods.length, () => this.#options.reports.status(this.#options.link.node, pods));
  }

  node({ seq, node }: Payload<'node'>): void {
    this.#take('nodeAck', seq, 1, () => this.#options.reports.node(this.#options.link.node, node));
  }

  events({ seq, events }: Payload<'events'>): void {
    this.#take('eventsAck', seq, events.length, () => this.#options.reports.events(this.#options.link.node, events));
  }

  /** Asks for everything that the agent has reported before: at once, or, when it was asked just now, later if that is still lacking. */
  ask(): void {
    const { link, lacksReports } = this.#options;
    const waitMs = this.#askedMs + askPauseMs - link.clock.monotonic();
    if (waitMs > 0) {
      this.#askAgain ??= link.clock.after(waitMs, () => {
        this.#askAgain = undefined;
        if (lacksReports()) this.ask();
      });
      return;
    }
    this.#askedMs = link.clock.monotonic();
    link.control('report', {});
  }

  /** The session is over: nothing is asked for any more. */
  end(): void {
    this.#askAgain?.();
  }

  /** Has a report written after those before it, and acknowledges it. `cost`: objects to be written. */
  #take(ack: 'statusAck' | 'nodeAck' | 'eventsAck', seq: number, cost: number, write: () => Promise<void>): void {
    const { link, reading } = this.#options;
    if (++this.#waiting === maxReports) reading.pause(1);
    const waitMs = this.#writes.take(cost, link.clock.monotonic());
    this.#work = this.#work.then(async () => {
      try {
        if (waitMs > 0) await this.#later(waitMs);
        if (!link.over) {
          await write();
          link.control(ack, { seq });
        }
      } catch (error) {
        link.log.warn('a report could not be written; the agent will send it again', { node: link.node, error });
      }
      if (this.#waiting-- === maxReports) reading.pause(-1);
    });
  }

  /** Resolves after some time, or at the end of the session. */
  async #later(ms: number): Promise<void> {
    const { closed, clock } = this.#options.link;
    let cancel = (): void => {};
    await Promise.race([closed, new Promise<void>((resolve) => { cancel = clock.after(ms, resolve); })]);
    cancel();
  }
}
