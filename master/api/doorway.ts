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
  /** Who has waited for so long has given up, or is about to: serving it would be for nothing. Default 15 s. */
  readonly maxWaitMs?: number;
}

/** Time for the first message of a connection. */
const helloMs = 20_000;

/**
 * Paces TLS handshakes. After a restart all agents come at once, and a handshake takes a millisecond of the one event
 * loop: begun together, they would stop it for as long as all of them take. So agents enter a few per turn, in the order
 * in which they came, and whoever else comes enters at once.
 *
 * ```
 * connection ──first message──▶ other client: handshake at once
 *                          └──▶ agent: waits its turn ──▶ handshake
 *                                   └──too long, too many──▶ closed; it comes again after its backoff
 * ```
 */
export class Doorway {
  readonly #options: DoorwayOptions;
  readonly #waiting: { readonly socket: Socket; readonly enter: () => void; readonly sinceMs: number }[] = [];
  #guests = 0;
  #draining = false;

  constructor(options: DoorwayOptions) {
    this.#options = options;
  }

  /** Guests' connections, and how many of them wait for their handshake. */
  get stats(): { readonly guests: number; readonly waiting: number } {
    return { guests: this.#guests, waiting: this.#waiting.length };
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
      socket.pause();
      socket.setTimeout(0);
      socket.off('timeout', drop);
      // TLS takes over what was read already.
      socket.unshift(hello);
      if (isGuest(hello, this.#options.guests.protocol)) this.#queue(socket, enter);
      else enter();
    });
  }

  #queue(socket: Socket, enter: () => void): void {
    if (this.#guests >= this.#options.guests.max) return void socket.destroy();
    this.#guests++;
    socket.once('close', () => { this.#guests--; });
    this.#waiting.push({ socket, enter, sinceMs: this.#options.clock.monotonic() });
    if (!this.#draining) void this.#drain();
  }

  async #drain(): Promise<void> {
    const { clock, guests, perTurn = 8, maxWaitMs = 15_000 } = this.#options;
    this.#draining = true;
    while (this.#waiting.length > 0) {
      this.#dropBefore(clock.monotonic() - maxWaitMs);
      if (guests.welcome()) for (const { socket, enter } of this.#waiting.splice(0, perTurn)) if (!socket.destroyed) enter();
      await (guests.welcome() ? new Promise<void>((resolve) => { setImmediate(resolve); }) : sleep(clock, 50, new AbortController().signal));
    }
    this.#draining = false;
  }

  #dropBefore(ms: number): void {
    const late = this.#waiting.findIndex(({ sinceMs }) => sinceMs > ms);
    for (const { socket } of this.#waiting.splice(0, late < 0 ? this.#waiting.length : late)) socket.destroy();
  }
}

/** Protocols stand in ClientHello one after the other, each behind its length. */
const isGuest = (hello: Buffer, protocol: string): boolean => hello.includes(String.fromCharCode(protocol.length) + protocol, 0, 'latin1');
