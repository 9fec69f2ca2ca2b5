import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { encodeMessage, type MessageName, type Payload } from '../../shared/protocol.ts';
import type { FrameSocket } from '../../shared/socket.ts';

export interface SessionLinkOptions {
  readonly node: string;
  readonly socket: FrameSocket;
  readonly clock: Clock;
  readonly log: Log;
}

/** The connection of one session as the session's parts use it: they send over it until it is over, and then nothing more. */
export class SessionLink {
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Resolves when the session is over. */
  readonly closed: Promise<void>;
  readonly #socket: FrameSocket;
  #close: () => void = () => {};
  #over = false;

  constructor({ node, socket, clock, log }: SessionLinkOptions) {
    this.node = node;
    this.clock = clock;
    this.log = log;
    this.#socket = socket;
    this.closed = new Promise((resolve) => { this.#close = resolve; });
  }

  get over(): boolean {
    return this.#over;
  }

  /** Bytes that the network has not yet taken. */
  get bufferedBytes(): number {
    return this.#socket.bufferedBytes;
  }

  /** Sends a frame; `sent` is called once, when the network has taken it or never will. `alone`: as {@link FrameSocket.send}. */
  send(frame: Uint8Array, sent?: () => void, alone?: boolean): void {
    if (!this.#over) this.#socket.send(frame, sent, alone);
    else sent?.();
  }

  /** Sends what was put together as its socket's `batches` want it. */
  sendBatch(batch: Uint8Array, sent: () => void): void {
    if (this.#over || !this.#socket.batches) sent();
    else this.#socket.batches.send(batch, sent);
  }

  control<N extends MessageName>(name: N, payload: Payload<N>): void {
    this.send(encodeMessage(name, payload));
  }

  /** Stops reading from the agent, or goes on with it. */
  read(on: boolean): void {
    if (this.#over) return;
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  /** The session is over. `gently`: after what was sent. */
  end(gently: boolean): void {
    this.#over = true;
    if (gently) this.#socket.close();
    else this.#socket.destroy();
    this.#close();
  }
}
