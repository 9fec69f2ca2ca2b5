import { Duplex } from 'node:stream';
import type { ByteStream } from './byte-stream.ts';

/**
 * A stream of the channel as Node's HTTP and TLS want a connection to be. Each direction ends by itself; destroying it
 * before both have ended resets the stream. It takes and gives only as fast as the other end does.
 */
export class StreamSocket extends Duplex {
  readonly #stream: ByteStream;
  #reading = false;

  constructor(stream: ByteStream) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
  }

  override _read(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#stream.read().then((bytes) => {
      this.#reading = false;
      this.push(bytes ?? null);
    }, (error: Error) => this.destroy(error));
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.#stream.write(chunk).then(() => done(), done);
  }

  override _final(done: () => void): void {
    this.#stream.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // After both ends, its own may still wait for its turn on the channel: a reset would overtake it, and look like a failure.
    if (error || !this.readableEnded || !this.writableFinished) this.#stream.reset(499, 'the connection was closed');
    done(error);
  }
}
