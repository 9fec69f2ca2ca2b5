import type { Clock } from '../../shared/clock.ts';
import { listenerKey } from './routes.ts';
import type { Listener } from './routes.ts';

/** A listener's open sockets. */
export interface OpenListener {
  /** Backends or affinity changed. */
  update(listener: Listener): void;
  /** Takes no more clients. Established connections are not its to end. */
  close(): void;
}

export interface SlotOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** Opens the sockets. `failed` tells of their end later on. @throws an error with `code` */
  readonly open: (listener: Listener, failed: (error: NodeJS.ErrnoException) => void) => Promise<OpenListener>;
  /** Called when opening fails in a way that it did not fail before. */
  readonly onProblem: (listener: Listener, error: NodeJS.ErrnoException) => void;
  readonly onRecovered: (listener: Listener) => void;
}

const firstRetryMs = 1_000;
const maxRetryMs = 30_000;

/**
 * Holds one listener open while it has backends: without any, its socket is closed, so that the kernel refuses
 * connections just as for an address that nobody serves.
 *
 * ```
 * empty ⇄ opening → open ─(socket fails)┐
 *           ↑  └─(fails)→ waiting ←─────┘
 *           └────(backoff)───┘              close() from any
 * ```
 */
export class ListenerSlot {
  readonly #options: SlotOptions;
  #listener: Listener;
  #state: 'empty' | 'opening' | 'open' | 'waiting' | 'closed' = 'empty';
  #open: OpenListener | undefined;
  #attempts = 0;
  #error: NodeJS.ErrnoException | undefined;
  /** Code of the failure that was reported and still stands. */
  #reported: string | undefined;
  #cancel: (() => void) | undefined;
  #settled: Promise<void> = Promise.resolve();

  constructor(listener: Listener, options: SlotOptions) {
    this.#options = options;
    this.#listener = listener;
    this.#step();
  }

  get state(): 'empty' | 'opening' | 'open' | 'waiting' | 'closed' {
    return this.#state;
  }

  /** What it is for. */
  get listener(): Listener {
    return this.#listener;
  }

  /** Why it is not open, while it waits to be tried again. */
  get error(): Error | undefined {
    return this.#state === 'waiting' ? this.#error : undefined;
  }

  /** It waits for an external address that another node, or none, has at present: nothing is wrong. */
  get elsewhere(): boolean {
    return this.#state === 'waiting' && isElsewhere(this.#listener, this.#error);
  }

  /** Resolves when no opening is under way. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  set(listener: Listener): void {
    this.#listener = listener;
    this.#open?.update(listener);
    this.#step();
  }

  /** Tries a failed opening again now. */
  retry(): void {
    if (this.#state !== 'waiting') return;
    this.#cancel?.();
    this.#attempts = 0;
    this.#state = 'empty';
    this.#step();
  }

  close(): void {
    this.#cancel?.();
    this.#shut('closed');
  }

  #step(): void {
    const wanted = this.#listener.backends.length > 0;
    if (wanted && this.#state === 'empty') this.#settled = this.#tryOpen();
    else if (!wanted && (this.#state === 'open' || this.#state === 'waiting')) this.#shut('empty');
  }

  #shut(state: 'empty' | 'closed'): void {
    this.#cancel?.();
    this.#state = state;
    this.#open?.close();
    this.#open = undefined;
  }

  async #tryOpen(): Promise<void> {
    this.#state = 'opening';
    const listener = this.#listener;
    try {
      const open = await this.#options.open(listener, (error) => this.#failed(error));
      if (this.#isClosed()) return open.close();
      this.#opened(open);
      if (this.#listener !== listener) this.set(this.#listener);
    } catch (error) {
      if (!this.#isClosed()) this.#failed(error as NodeJS.ErrnoException);
    }
  }

  /** A call, as the state changes behind the compiler's back while it awaits. */
  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #opened(open: OpenListener): void {
    this.#open = open;
    this.#state = 'open';
    this.#attempts = 0;
    if (this.#reported === undefined) return;
    this.#reported = undefined;
    this.#options.onRecovered(this.#listener);
  }

  #failed(error: NodeJS.ErrnoException): void {
    this.#error = error;
    if (this.#isClosed()) return;
    this.#open = undefined;
    this.#state = 'waiting';
    const ms = Math.min(firstRetryMs * 2 ** this.#attempts++, maxRetryMs) * (0.75 + this.#options.random() / 2);
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#state = 'empty';
      this.#step();
    });
    const code = error.code ?? error.message;
    if (this.#reported === code || isElsewhere(this.#listener, error)) return;
    this.#reported = code;
    this.#options.onProblem(this.#listener, explain(this.#listener, error));
  }
}

const isElsewhere = (listener: Listener, error: NodeJS.ErrnoException | undefined): boolean => listener.external === true && error?.code === 'EADDRNOTAVAIL';

/** The same error, told so that a user of the service knows what to do. `code` is kept. */
export function explain(listener: Listener, error: NodeJS.ErrnoException): NodeJS.ErrnoException {
  const socket = `${listener.address}:${listener.port}/${listener.protocol}`;
  const text = `cannot listen on ${socket} for service ${listener.service}: ${reason(listener, error)}`;
  return Object.assign(new Error(text, { cause: error }), error.code === undefined ? {} : { code: error.code });
}

function reason(listener: Listener, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${listener.port} is already taken on this node, by another program or a published container port that listens on this address or on all addresses (0.0.0.0). `
        + 'It receives the traffic until it stops or is bound to one address; this is tried again until then';
    case 'EADDRNOTAVAIL': return 'the address is not local to this node: the route for the service range is missing';
    case 'EACCES': return `ports below 1024 need root or CAP_NET_BIND_SERVICE`;
    case 'EMFILE': case 'ENFILE': return 'the limit of open files is reached';
    default: return `${error.message} (${listenerKey(listener)})`;
  }
}
