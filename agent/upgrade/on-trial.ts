import { Socket } from 'node:net';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Signs } from './trial.ts';

/**
 * For a program on trial: tells its parent over a file descriptor how it fares, whenever that changes. When the parent
 * is gone so is whoever would judge it, and `onOrphaned` is to stop it: the old program starts again.
 */
export class OnTrial {
  readonly #socket: Socket;
  readonly #clock: Clock;

  constructor(fd: number, clock: Clock, onOrphaned: () => void) {
    this.#clock = clock;
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#socket.on('error', () => {}).on('close', onOrphaned).resume();
  }

  async run(look: () => Signs, signal: AbortSignal): Promise<void> {
    let told = '';
    while (!signal.aborted) {
      const now = JSON.stringify(look());
      if (now !== told) this.#socket.write(`${now}\n`);
      told = now;
      await sleep(this.#clock, 200, signal);
    }
  }
}
