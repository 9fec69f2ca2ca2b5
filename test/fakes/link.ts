import type { Clock } from '../../shared/clock.ts';
import type { FrameSocket, SocketListener } from '../../shared/socket.ts';

/** Simulated time: moves from timer to timer when told to, and lets everything else run in between. */
export class SimulatedClock implements Clock {
  #now: number;
  #set = 0;
  #serial = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly run: () => void }>();

  constructor(nowMs = Date.parse('2026-01-02T03:04:05Z')) {
    this.#now = nowMs;
  }

  now(): number {
    return Math.floor(this.#now + this.#set);
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#serial++;
    this.#timers.set(id, { atMs: this.#now + Math.max(0, ms), run });
    return () => { this.#timers.delete(id); };
  }

  /** Somebody sets the machine's clock: what it shows jumps by `ms`, and no time goes by. */
  jump(ms: number): void {
    this.#set += ms;
  }

  /** Lets `ms` go by, or stops when `until` holds. Resolves to whether it does. */
  async pass(ms: number, until: () => boolean = () => false): Promise<boolean> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      if (until()) return true;
      const next = this.#next(end);
      if (next === undefined) break;
      const { atMs, run } = this.#timers.get(next)!;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, atMs);
      run();
    }
    this.#now = end;
    await settle();
    return until();
  }

  #next(end: number): number | undefined {
    let best: number | undefined;
    for (const [id, { atMs }] of this.#timers) if (atMs <= end && (best === undefined || atMs < this.#timers.get(best)!.atMs)) best = id;
    return best;
  }
}

/** Lets promises and immediates that are due run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => { setImmediate(resolve); });
}

export interface LinkOptions {
  readonly clock: Clock;
  /** One-way delay of the next frame, ms. Order is kept nevertheless. */
  readonly delayMs?: () => number;
  /** Sees each frame as it is sent; `from` is the index of the end. */
  readonly tap?: (frame: Uint8Array, from: 0 | 1) => void;
}

/** A connection in memory: two sockets, and a way to cut it like a pulled cable. */
export interface Link { readonly ends: readonly [FakeSocket, FakeSocket]; cut(): void }

/** Two connected sockets; frames travel with a delay and in order. */
export function makeLink(options: LinkOptions): Link {
  const a = new FakeSocket(options, 0);
  const b = new FakeSocket(options, 1);
  a.connect(b);
  b.connect(a);
  return { ends: [a, b], cut: () => { a.lose(); b.lose(); } };
}

/** One end of a {@link makeLink}. */
export class FakeSocket implements FrameSocket {
  readonly #options: LinkOptions;
  readonly #index: 0 | 1;
  #peer: FakeSocket | undefined;
  #listener: SocketListener | undefined;
  #inbox: (Uint8Array | 'end')[] = [];
  #arrivesMs = 0;
  #buffered = 0;
  #paused = false;
  #over = false;
  /** A cut cable: frames vanish, and nobody is told. */
  #lost = false;

  constructor(options: LinkOptions, index: 0 | 1) {
    this.#options = options;
    this.#index = index;
  }

  connect(peer: FakeSocket): void {
    this.#peer = peer;
  }

  get bufferedBytes(): number {
    return this.#buffered;
  }

  send(frame: Uint8Array, sent?: () => void): void {
    if (this.#over) return sent?.();
    this.#options.tap?.(frame, this.#index);
    const copy = Uint8Array.prototype.slice.call(frame);
    this.#buffered += copy.length;
    this.#later(() => {
      this.#buffered -= copy.length;
      if (!this.#lost) this.#peer?.deliver(copy);
      sent?.();
    });
  }

  listen(listener: SocketListener): void {
    this.#listener = listener;
    this.#drain();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#drain();
  }

  close(): void {
    this.#later(() => this.#end(true));
  }

  destroy(): void {
    this.#end(true);
  }

  /** The cable is cut: neither end hears of it until something tells them. */
  lose(): void {
    this.#lost = true;
  }

  deliver(frame: Uint8Array | 'end'): void {
    this.#inbox.push(frame);
    this.#drain();
  }

  #drain(): void {
    while (this.#listener && !this.#paused && !this.#over) {
      const next = this.#inbox.shift();
      if (next === undefined) return;
      if (next === 'end') this.#end(false);
      else this.#listener.frame(next);
    }
  }

  #end(tellPeer: boolean): void {
    if (this.#over) return;
    this.#over = true;
    if (tellPeer && !this.#lost) this.#later(() => this.#peer?.deliver('end'));
    const listener = this.#listener;
    queueMicrotask(() => listener?.end('connection closed'));
  }

  #later(run: () => void): void {
    const { clock, delayMs = () => 0 } = this.#options;
    this.#arrivesMs = Math.max(this.#arrivesMs, clock.monotonic() + delayMs());
    clock.after(this.#arrivesMs - clock.monotonic(), run);
  }
}
