import type { Socket } from 'node:net';
import type { Server } from 'node:https';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { maxHelloBytes, readClientHello } from './client-hello.ts';
import { entering, type Turn } from './lanes.ts';

/** How an agent's connection begins to be told from others': the protocol that it offers in its first, plain message. */
export interface Guests {
  /** Among the protocols of ClientHello. A client that lies about it gains a worse or a better place in the queue, no more. */
  readonly protocol: string;
  /** False while nobody could serve them: they wait at the door, where they cost little. */
  readonly welcome: () => boolean;
  /** Connections of them at a time; more are closed at once. */
  readonly max: number;
}

export interface DoorwayOptions {
  readonly clock: Clock;
  readonly log?: Log;
  readonly guests: Guests;
  /** Handshakes begun in one turn of the event loop: what everybody else waits for at most. Default 8. */
  readonly perTurn?: number;
  /** Who has waited for so long has given up, or is about to: serving it would be for nothing. Default 45 s; agents allow 60. */
  readonly maxWaitMs?: number;
  /** Other clients whose handshake waits; more are closed at once. Default 512. */
  readonly maxOthers?: number;
}

/** Time for the first message of a connection. */
const helloMs = 20_000;
/** What a client may send before it is answered: one message, which is far smaller. */
const maxReadBytes = 2 * maxHelloBytes;
/** A wait that tells of more agents than can be served at once. */
const longMs = 1000;
const defaultWaitMs = 45_000;
/** How often it is said that connections are turned away. */
const tellMs = 60_000;

interface Waiting { readonly socket: Socket; readonly enter: () => void; readonly sinceMs: number }

/**
 * Paces TLS handshakes. After a restart all agents come at once, and a handshake takes a millisecond of the one event
 * loop: begun together, they would stop it for as long as all of them take. So there are two lanes, and a few enter per
 * turn; see {@link entering} for who. Agents enter in the order in which they came while no wait is longer than half of
 * what is allowed. Beyond that the newest is first: a machine so slow would otherwise spend itself on those who are about
 * to give up, and finish nobody.
 *
 * ```
 * connection ──first message──▶ other client: first, in its limits ──▶ handshake
 *                          └──▶ agent: waits its turn ──▶ handshake
 *                                   ├──hangs up──▶ forgotten, at no cost
 *                                   └──too long, too many──▶ closed; it comes again after its backoff
 * ```
 */
export class Doorway {
  readonly #options: DoorwayOptions;
  /** In the order in which they came. */
  readonly #waiting: Waiting[] = [];
  readonly #others: Waiting[] = [];
  #guests = 0;
  #draining = false;
  #crowdedMs = -Infinity;
  /** Connections that came since the last turn. */
  #arrivals = 0;
  #turn: Turn = { guests: 0, others: 0, owed: 0, held: 0 };
  #turnedAway = 0;
  #toldMs = -Infinity;
  /** Ends the pause between two looks at whether agents can be served. */
  #wake = new AbortController();

  constructor(options: DoorwayOptions) {
    this.#options = options;
  }

  /**
   * Guests' connections, how many of them wait for their handshake, and when there were last more than could be served:
   * somebody had waited for long, or was turned away (monotonic ms; -Infinity: never). `others`: clients that wait.
   */
  get stats(): { readonly guests: number; readonly waiting: number; readonly others: number; readonly crowdedMs: number } {
    return { guests: this.#guests, waiting: this.#waiting.length, others: this.#others.length, crowdedMs: this.#crowdedMs };
  }

  /** Puts itself before a server's own handling of connections. Does nothing where the runtime does not let it. */
  guard(server: Server): void {
    const listeners = server.listeners('connection');
    if (listeners.length !== 1) return;
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => this.#arrived(socket, () => listeners[0]!.call(server, socket)));
  }

  #arrived(socket: Socket, enter: () => void): void {
    this.#arrivals++;
    const drop = (): void => { socket.destroy(); };
    const read: Buffer[] = [];
    let bytes = 0;
    let isSorted = false;
    // It is read while it waits, too: only so is it noticed that it has hung up.
    const onData = (chunk: Buffer): void => {
      read.push(chunk);
      if ((bytes += chunk.length) > maxReadBytes) return drop();
      const hello = isSorted ? 'more' : readClientHello(read.length === 1 ? chunk : Buffer.concat(read));
      if (hello === 'more') return;
      isSorted = true;
      socket.setTimeout(0);
      socket.off('timeout', drop);
      // What cannot be read is nobody's who is in a hurry.
      this.#sort(hello === undefined || hello.protocols.includes(this.#options.guests.protocol), { socket, sinceMs: this.#options.clock.monotonic(), enter: go });
    };
    const go = (): void => {
      socket.off('data', onData).off('end', drop);
      handOver(socket, read);
      enter();
    };
    socket.on('error', drop).on('data', onData).on('end', drop);
    socket.setTimeout(helloMs, drop);
  }

  #sort(isGuest: boolean, waiting: Waiting): void {
    const { guests, maxOthers = 512 } = this.#options;
    if (isGuest && this.#guests >= guests.max) {
      this.#crowdedMs = waiting.sinceMs;
      return this.#turnAway(waiting);
    }
    if (!isGuest && this.#others.length >= maxOthers) return void waiting.socket.destroy();
    if (isGuest) {
      this.#guests++;
      waiting.socket.once('close', () => { this.#guests--; });
    }
    (isGuest ? this.#waiting : this.#others).push(waiting);
    if (!this.#draining) void this.#drain();
    else if (!isGuest) this.#wake.abort();
  }

  #turnAway({ socket, sinceMs }: Waiting): void {
    const { guests, log } = this.#options;
    socket.destroy();
    this.#turnedAway++;
    if (sinceMs - this.#toldMs < tellMs) return;
    log?.warn('agents are turned away: the limit on open files lets this master hold no more; raise it with LimitNOFILE= in its unit, or ulimit -n', { held: guests.max, turnedAway: this.#turnedAway });
    this.#toldMs = sinceMs;
  }

  async #drain(): Promise<void> {
    const { clock, guests } = this.#options;
    this.#draining = true;
    while (this.#waiting.length + this.#others.length > 0) {
      for (const { enter } of this.#next(clock.monotonic())) enter();
      const idle = this.#others.length === 0 && !guests.welcome();
      if (idle) {
        this.#wake = new AbortController();
        await sleep(clock, 50, this.#wake.signal);
      } else await new Promise<void>((resolve) => { setImmediate(resolve); });
    }
    this.#draining = false;
  }

  /** Takes those whose turn it is from the queues. */
  #next(now: number): Waiting[] {
    const { perTurn = 8, maxWaitMs = defaultWaitMs, guests } = this.#options;
    this.#dropLate(now);
    this.#turn = entering({ others: this.#others.length, guests: guests.welcome() ? this.#waiting.length : 0, arriving: this.#arrivals > 0, perTurn, before: this.#turn });
    this.#arrivals = 0;
    const taken = take(this.#others, this.#turn.others, () => false);
    return [...taken, ...take(this.#waiting, this.#turn.guests, ({ sinceMs }) => now - sinceMs > maxWaitMs / 2)];
  }

  #dropLate(now: number): void {
    const { maxWaitMs = defaultWaitMs } = this.#options;
    while (this.#waiting.length > 0) {
      const { socket, sinceMs } = this.#waiting[0]!;
      if (!socket.destroyed && now - sinceMs > longMs) this.#crowdedMs = now;
      if (!socket.destroyed && now - sinceMs < maxWaitMs) return;
      this.#waiting.shift();
      socket.destroy();
    }
  }
}

/** Takes so many that are still there from a queue: the oldest, or the newest while the oldest is such that they go first. */
function take(queue: Waiting[], count: number, newestFirst: (oldest: Waiting) => boolean): Waiting[] {
  const taken: Waiting[] = [];
  while (taken.length < count && queue.length > 0) {
    const one = (newestFirst(queue[0]!) ? queue.pop() : queue.shift())!;
    if (!one.socket.destroyed) taken.push(one);
  }
  return taken;
}

/** Stops reading from a connection and puts back what was read: TLS takes it over. */
function handOver(socket: Socket, read: readonly Buffer[]): void {
  socket.pause();
  for (const chunk of [...read].reverse()) socket.unshift(chunk);
}
