import { isControl } from '../../shared/protocol.ts';
import type { SessionLink } from './session-link.ts';
import { Throttle } from './throttle.ts';

/** Tokens for frames: one each, and one for each so many bytes. A flood of tiny or giant ones gets a tenth of a core. */
const frameLimits = { perSecond: 5_000, burst: 20_000 };
const bytesPerToken = 256;
const leastPauseMs = 250;

/** Whether an agent is listened to: not while it sends more than any honest one would, nor while a part of its session is full. */
export class Reading {
  readonly #link: SessionLink;
  readonly #frames: Throttle;
  #throttled = false;
  #pauses = 0;

  constructor(link: SessionLink) {
    this.#link = link;
    this.#frames = new Throttle(frameLimits, link.clock.monotonic());
  }

  /** Counts a frame that came at `nowMs` of the monotonic clock. Large stream data has its credit. */
  charge(frame: Uint8Array, nowMs: number): void {
    const waitMs = isControl(frame) || frame.length < bytesPerToken ? this.#frames.take(1 + frame.length / bytesPerToken, nowMs) : 0;
    if (waitMs === 0 || this.#throttled) return;
    this.#throttled = true;
    this.pause(1);
    // Long enough that stopping and starting again costs nothing.
    this.#link.clock.after(Math.max(waitMs, leastPauseMs), () => { this.#throttled = false; this.pause(-1); });
  }

  /** Counts reasons not to read from the agent: each 1 is followed by a -1. */
  pause(by: 1 | -1): void {
    this.#pauses += by;
    if (by === 1 && this.#pauses === 1) this.#link.read(false);
    if (this.#pauses === 0) this.#link.read(true);
  }
}
