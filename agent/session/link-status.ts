import type { Clock } from '../../shared/clock.ts';
import type { ByteCount } from '../../shared/socket.ts';

/**
 * Where the link to the master stands.
 *
 * ```
 * starting ─▶ enrolling ─▶ connecting ──welcome──▶ connected
 *                  └──────────▶ ▲ └──▶ waiting ◀──end──┘
 *                               └─────────┘
 * ```
 */
export type LinkPhase = 'starting' | 'enrolling' | 'connecting' | 'connected' | 'waiting';

/** Times are ms since 1970. */
export interface LinkView {
  readonly phase: LinkPhase;
  /** Since when it is connected, or is not. */
  readonly sinceMs: number;
  /** Sessions that the master has welcomed since the agent started. */
  readonly sessions: number;
  readonly lastError: { readonly message: string; readonly atMs: number } | undefined;
  /** When the next try is due, while waiting or enrolling. */
  readonly nextTryMs: number | undefined;
  /** WebSocket frames with their heads, since the agent started; what TLS and TCP add is not in it. */
  readonly bytes: Readonly<ByteCount>;
}

/** Keeps what `wherry agent status` tells of the link. Whoever works on the link reports to it. */
export class LinkStatus {
  readonly bytes: ByteCount = { sent: 0, received: 0 };
  readonly #clock: Clock;
  #phase: LinkPhase = 'starting';
  #sinceMs: number;
  #sessions = 0;
  #lastError: LinkView['lastError'];
  #nextTryMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.now();
  }

  get view(): LinkView {
    return { phase: this.#phase, sinceMs: this.#sinceMs, sessions: this.#sessions, lastError: this.#lastError, nextTryMs: this.#nextTryMs, bytes: this.bytes };
  }

  /** Enrolment has begun, or failed for now. */
  enrolling(error?: { readonly why: string; readonly againInMs: number }): void {
    this.#enter('enrolling', error?.againInMs);
    if (error) this.#failed(error.why);
  }

  /** A connection is being opened. */
  trying(): void {
    this.#enter('connecting');
  }

  /** The master has welcomed the session; again when it changes settings within one. */
  welcomed(): void {
    if (this.#phase === 'connected') return;
    this.#enter('connected');
    this.#sessions++;
  }

  /** A session ended, or none came about. */
  ended(why: string, againInMs: number): void {
    this.#enter('waiting', againInMs);
    this.#failed(why);
  }

  #enter(phase: LinkPhase, againInMs?: number): void {
    const now = this.#clock.now();
    if ((phase === 'connected') !== (this.#phase === 'connected')) this.#sinceMs = now;
    this.#phase = phase;
    this.#nextTryMs = againInMs === undefined ? undefined : now + againInMs;
  }

  #failed(message: string): void {
    this.#lastError = { message, atMs: this.#clock.now() };
  }
}
