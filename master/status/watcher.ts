import type { WebSocket } from 'ws';
import type { Clock } from '../../shared/clock.ts';
import type { FleetMessage, NodeTuple, Totals } from './fleet-messages.ts';

export interface WatcherOptions {
  readonly socket: WebSocket;
  readonly clock: Clock;
  readonly onClose: () => void;
}

/** Bytes not taken by the network beyond which nothing more is sent. */
const maxBufferedBytes = 128 * 1024;
/** A client that takes nothing for so long is dropped. */
const patienceMs = 60_000;
/** A message at least so often, lest something on the way forget the connection. */
const keepAliveMs = 30_000;
const nodesPerPart = 500;

type RowOf = (name: string) => NodeTuple | undefined;
const rowsOf = (names: readonly string[], row: RowOf): NodeTuple[] => names.map(row).filter((one) => one !== undefined);
type Head = () => { readonly masterVersion: string; readonly time: number; readonly totals: Totals };

/**
 * One client of the status stream. It gets the shared deltas as long as it takes them; names that it missed are
 * remembered, each once, and sent as they are by then: a slow client costs a set of names, and no queue.
 */
export class Watcher {
  readonly #options: WatcherOptions;
  /** Names whose row the client does not have as it is. */
  readonly #missed = new Set<string>();
  #row: RowOf | undefined;
  #head: Head | undefined;
  /** The snapshot is out. */
  #current = false;
  #sentMs: number;
  #closed = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#sentMs = options.clock.monotonic();
    options.socket.on('error', () => options.socket.terminate());
    options.socket.on('close', () => { this.#closed = true; options.onClose(); });
  }

  /** Sends the snapshot, no faster than the client takes it. `row` and `head` give what is so at the time. */
  async begin(row: RowOf, names: readonly string[], head: Head): Promise<void> {
    this.#row = row;
    this.#head = head;
    for (let at = 0; at < names.length || at === 0; at += nodesPerPart) {
      const part = rowsOf(names.slice(at, at + nodesPerPart), row);
      await this.#sendAndWait({ type: 'snapshot', ...head(), nodes: part, more: at + nodesPerPart < names.length });
      if (this.#closed) return;
    }
    this.#current = true;
  }

  /** A delta that all clients share; `names` are the nodes in it. */
  push(text: string, names: readonly string[]): void {
    if (this.#closed) return;
    if (this.#current && this.#missed.size === 0 && !this.#full()) return this.#send(text);
    for (const name of names) this.#missed.add(name);
    this.#catchUp();
  }

  /** Nothing changed in this period. */
  idle(): void {
    if (this.#closed) return;
    if (this.#full()) return this.#dropIfStuck();
    if (this.#missed.size > 0) return this.#catchUp();
    if (this.#current && this.#options.clock.monotonic() - this.#sentMs >= keepAliveMs) this.#send(JSON.stringify({ type: 'delta', time: this.#options.clock.now(), nodes: [], removed: [] } satisfies FleetMessage));
  }

  close(code: number, reason: string): void {
    this.#options.socket.close(code, reason);
  }

  /** Sends what was missed, as it is now, once the client has room. */
  #catchUp(): void {
    if (this.#full()) return this.#dropIfStuck();
    if (!this.#current || !this.#row || !this.#head) return;
    const names = [...this.#missed].slice(0, nodesPerPart);
    const { time, totals } = this.#head();
    const removed = names.filter((name) => !this.#row!(name));
    const delta: FleetMessage = { type: 'delta', time, nodes: rowsOf(names, this.#row), removed, totals };
    for (const name of names) this.#missed.delete(name);
    this.#send(JSON.stringify(delta));
  }

  #full(): boolean {
    return this.#options.socket.bufferedAmount > maxBufferedBytes;
  }

  #dropIfStuck(): void {
    if (this.#options.clock.monotonic() - this.#sentMs >= patienceMs) this.#options.socket.terminate();
  }

  #send(text: string): void {
    this.#sentMs = this.#options.clock.monotonic();
    this.#options.socket.send(text, () => undefined);
  }

  /** Resolves when the network has taken the message, or the client is gone. */
  #sendAndWait(message: FleetMessage): Promise<void> {
    this.#sentMs = this.#options.clock.monotonic();
    return new Promise((resolve) => { this.#options.socket.send(JSON.stringify(message), () => resolve()); });
  }
}
