import { sleep, type Clock } from '../../shared/clock.ts';
import { changeLines, enterScreen, fleetLines, leaveScreen, redraw } from './fleet-text.ts';
import { watchFleet, type FleetChange, type FleetView, type WatchClientOptions } from './watch-client.ts';

/** Where `wherry status --watch` draws. */
export interface Terminal {
  write(text: string): void;
  readonly isTTY: boolean;
  /** Size of a tty. */
  readonly rows: number;
  readonly columns: number;
}

export interface WatchStatusOptions {
  readonly credentials: Omit<WatchClientOptions, 'onChange'>;
  readonly terminal: Terminal;
  /** A JSON object per change instead of text. */
  readonly json: boolean;
  readonly clock: Clock;
}

const redrawMs = 1000;
const retryMs = { first: 1000, most: 5_000 };

/**
 * Shows the fleet as it changes until `signal` aborts: drawn in place on a tty, else line by line. Comes back by itself
 * when the master was away.
 * @throws Error with `code`, one line for the user, when the master cannot be reached at first, or refuses
 */
export async function watchStatus(options: WatchStatusOptions, signal: AbortSignal): Promise<void> {
  const { terminal, json } = options;
  const view = terminal.isTTY && !json ? new LiveView(options) : new LineView(options);
  try {
    const ticking = view.run(signal);
    await keepWatching(options, view, signal);
    await ticking;
  } finally {
    view.end();
  }
}

async function keepWatching({ credentials, clock }: WatchStatusOptions, view: View, signal: AbortSignal): Promise<void> {
  let seen = false;
  let waitMs = retryMs.first;
  while (!signal.aborted) {
    const onChange = (change: FleetChange): void => { seen = true; waitMs = retryMs.first; view.show(change); };
    const why = await watchFleet({ ...credentials, onChange }, signal);
    if (signal.aborted) return;
    if (!seen) throw Object.assign(new Error(`cannot reach the master at ${credentials.server}: ${why}`), { code: 'ENET' });
    view.lost(why);
    await sleep(clock, waitMs, signal);
    waitMs = Math.min(retryMs.most, waitMs * 2);
  }
}

interface View {
  run(signal: AbortSignal): Promise<void>;
  show(change: FleetChange): void;
  lost(why: string): void;
  end(): void;
}

/** One screen, drawn anew when something changed, and every second for the ages in it. */
class LiveView implements View {
  readonly #options: WatchStatusOptions;
  #fleet: FleetView | undefined;
  #stale: string | undefined;

  constructor(options: WatchStatusOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#draw();
      await sleep(this.#options.clock, redrawMs, signal);
    }
  }

  show({ fleet }: FleetChange): void {
    const first = !this.#fleet;
    this.#fleet = fleet;
    this.#stale = undefined;
    if (first) this.#options.terminal.write(enterScreen);
    this.#draw();
  }

  lost(why: string): void {
    this.#stale = `NOT LIVE, the master does not answer: ${why}`;
    this.#draw();
  }

  end(): void {
    if (this.#fleet) this.#options.terminal.write(leaveScreen);
  }

  #draw(): void {
    if (!this.#fleet) return;
    const { terminal, clock } = this.#options;
    const { masterVersion, totals, nodes } = this.#fleet;
    terminal.write(redraw(fleetLines({ masterVersion, totals, nodes: nodes.values(), nowMs: clock.now(), rows: terminal.rows, columns: terminal.columns, ...(this.#stale ? { stale: this.#stale } : {}) })));
  }
}

/** A line per node that changed, for files and pipes. */
class LineView implements View {
  readonly #options: WatchStatusOptions;

  constructor(options: WatchStatusOptions) {
    this.#options = options;
  }

  run(): Promise<void> {
    return Promise.resolve();
  }

  show(change: FleetChange): void {
    const { terminal, json, clock } = this.#options;
    const { snapshot, changed, removed, fleet } = change;
    if (json) return terminal.write(`${JSON.stringify({ type: snapshot ? 'snapshot' : 'delta', totals: fleet.totals, nodes: snapshot ? [...fleet.nodes.values()] : changed.map(({ node }) => node), removed: removed.map(({ name }) => name) })}\n`);
    for (const line of changeLines(change, clock.now())) terminal.write(`${line}\n`);
  }

  lost(why: string): void {
    const { terminal, json, clock } = this.#options;
    terminal.write(json ? `${JSON.stringify({ type: 'lost', why })}\n` : `${new Date(clock.now()).toISOString().slice(0, 19)}Z the master does not answer: ${why}\n`);
  }

  end(): void {}
}
