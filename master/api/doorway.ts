import type { Socket } from 'node:net';
import type { Server } from 'node:https';
import { sleep, type Clock } from '../../shared/clock.ts';

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
  readonly guests: Guests;
  /** Handshakes of guests begun in one turn of the event loop: what others wait for at most. Default 8. */
  readonly perTurn?: number;
  /** Who has waited for so long has given up, or is about to: serving it would be for nothing. Default 45 s; agents allow 60. */
  readonly maxWaitMs?: number;
}

/** Time for the first message of a connection. */
const helloMs = 20_000;
/** What a client may send before it is answered: one message, which is far smaller. */
const maxHelloBytes = 32 * 1024;
/** A wait that tells of more agents than can be served at once. */
const longMs = 1000;

interface Waiting { readonly socket: Socket; readonly enter: () => void; readonly sinceMs: number }

/**
 * Paces TLS handshakes. After a restart all agents come at once, and a handshake takes a millisecond of the one event
 * loop: begun together, they would stop it for as long as all of them take. So agents enter a few per turn, and whoever
 * else comes enters at once. Agents enter in the order in which they came while no wait is longer than half of what is
 * allowed. Beyond that the newest is first: a machine so slow would otherwise spend itself on those who are about to
 * give up, and finish nobody.
 *
 * ```
 * connection ──first message──▶ other client: handshake at once
 *                          └──▶ agent: waits its turn ──▶ handshake
 *                                   ├──hangs up──▶ forgotten, at no cost
 *                                   └──too long, too many──▶ closed; it comes again after its backoff
 * ```
 */
export class Doorway {
  readonly #options: DoorwayOptions;
  /** In the order in which they came. */
  readonly #waiting: Waiting[] = [];
  #guests = 0;
  #draining = false;
  #crowdedMs = -Infinity;

  constructor(options: DoorwayOptions) {
    this.#options = options;
  }

  /**
   * Guests' connections, how many of them wait for their handshake, and when there were last more than could be served:
   * somebody had waited for long, or was turned away (monotonic ms; -Infinity: never).
   */
  get stats(): { readonly guests: number; readonly waiting: number; readonly crowdedMs: number } {
    return { guests: this.#guests, waiting: this.#waiting.length, crowdedMs: this.#crowdedMs };
  }

  /** Puts itself before a server's own handling of connections. Does nothing where the runtime does not let it. */
  guard(server: Server): void {
    const listeners = server.listeners('connection');
    if (listeners.length !== 1) return;
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => this.#arrived(socket, () => listeners[0]!.call(server, socket)));
  }

  #arrived(socket: Socket, enter: () => void): void {
    const drop = (): void => { socket.destroy(); };
    socket.on('error', drop);
    socket.setTimeout(helloMs, drop);
    socket.once('data', (hello: Buffer) => {
      socket.setTimeout(0);
      socket.off('timeout', drop);
      if (isGuest(hello, this.#options.guests.protocol)) return this.#queue(socket, hello, enter);
      handOver(socket, [hello]);
      enter();
    });
  }

  #queue(socket: Socket, hello: Buffer, enter: () => void): void {
    const now = this.#options.clock.monotonic();
    if (this.#guests >= this.#options.guests.max) {
      this.#crowdedMs = now;
      return void socket.destroy();
    }
    this.#guests++;
    const read = [hello];
    let bytes = hello.length;
    // It is read while it waits: only so is it noticed that it has hung up.
    const onData = (more: Buffer): void => {
      read.push(more);
      if ((bytes += more.length) > maxHelloBytes) socket.destroy();
    };
    const onEnd = (): void => { socket.destroy(); };
    socket.on('data', onData).on('end', onEnd);
    const waiting: Waiting = {
      socket, sinceMs: now,
      enter: () => {
        socket.off('data', onData).off('end', onEnd);
        handOver(socket, read);
        enter();
      },
    };
    socket.once('close', () => { this.#guests--; });
    this.#waiting.push(waiting);
    if (!this.#draining) void this.#drain();
  }

  async #drain(): Promise<void> {
    const { clock, guests } = this.#options;
    this.#draining = true;
    while (this.#waiting.length > 0) {
      if (guests.welcome()) for (const { enter } of this.#next(clock.monotonic())) enter();
      else this.#dropLate(clock.monotonic());
      await (guests.welcome() ? new Promise<void>((resolve) => { setImmediate(resolve); }) : sleep(clock, 50, new AbortController().signal));
    }
    this.#draining = false;
  }

  /** Takes those whose turn it is from the queue. */
  #next(now: number): Waiting[] {
    const { perTurn = 8, maxWaitMs = defaultWaitMs } = this.#options;
    this.#dropLate(now);
    const taken: Waiting[] = [];
    while (taken.length < perTurn && this.#waiting.length > 0) {
      const newestFirst = now - this.#waiting[0]!.sinceMs > maxWaitMs / 2;
      const one = (newestFirst ? this.#waiting.pop() : this.#waiting.shift())!;
      if (!one.socket.destroyed) taken.push(one);
    }
    return taken;
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

const defaultWaitMs = 45_000;

/** Stops reading from a connection and puts back what was read: TLS takes it over. */
function handOver(socket: Socket, read: readonly Buffer[]): void {
  socket.pause();
  for (const chunk of [...read].reverse()) socket.unshift(chunk);
}

/** Protocols stand in ClientHello one after the other, each behind its length. */
const isGuest = (hello: Buffer, protocol: string): boolean => hello.includes(String.fromCharCode(protocol.length) + protocol, 0, 'latin1');
