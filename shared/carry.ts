import type { OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ByteStream } from './byte-stream.ts';
import { maxChunk } from './channel.ts';
import { PacedWriter } from './paced-writer.ts';
import { readInto } from './read-directly.ts';

/**
 * Reads a socket into one buffer, over and over: the bytes of {@link next} are good until the next call. Half a million
 * buffers a minute would keep the garbage collector busier than all else.
 */
export class SocketReader {
  /** Given to `connect`, or to the constructor of the socket. */
  readonly onread: OnReadOpts;
  readonly #buffer = Buffer.allocUnsafeSlow(4 * maxChunk);
  #filled: Uint8Array | undefined;
  #over = false;
  #failure: Error | undefined;
  #socket: Duplex | undefined;
  #wake = (): void => {};

  constructor() {
    this.onread = { buffer: this.#buffer, callback: (count) => this.#arrived(this.#buffer.subarray(0, count)) };
  }

  /** Reads that socket from now on; where one that was made without `onread` cannot get it later, each read has a buffer of its own. */
  follow(socket: Duplex, onread = true): void {
    this.#socket = socket;
    this.#over = socket.destroyed;
    const over = (): void => { this.#over = true; this.#wake(); };
    socket.once('end', over).once('close', over).once('error', (error) => { this.#failure = error; });
    if (onread) return;
    // What Node has read before still comes this way, and first: it waits for no network.
    socket.pause().on('data', (bytes: Buffer) => this.#arrived(bytes));
    // It was told to stop before it read this way.
    if (readInto(socket, this.#buffer, (count) => this.#arrived(this.#buffer.subarray(0, count)))) socket.pause();
  }

  /** Why the socket failed, if it did: {@link next} gives that as an end. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#socket?.isPaused()) this.#socket.resume();
    while (!this.#filled && !this.#over) await new Promise<void>((resolve) => { this.#wake = resolve; });
    const filled = this.#filled;
    this.#filled = undefined;
    return filled;
  }

  /** False: nothing more is read until it is asked for. */
  #arrived(bytes: Uint8Array): boolean {
    this.#filled = bytes;
    this.#socket?.pause();
    this.#wake();
    return false;
  }
}

/**
 * Carries a connection over a stream, byte-exact: each direction ends by itself, a side that does not read stops the
 * other, and a reset of one becomes a reset of the other. Resolves when both are over. Never rejects.
 */
export async function carry(socket: Socket, reader: SocketReader, stream: ByteStream): Promise<void> {
  await Promise.all([toStream(reader, stream), toSocket(stream, socket)]);
  socket.destroy();
}

/** One whose end is on its way would refuse a reset, and could then never be closed. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

async function toStream(reader: SocketReader, stream: ByteStream): Promise<void> {
  try {
    for (let bytes = await reader.next(); bytes; bytes = await reader.next()) await stream.write(bytes);
    if (reader.failure) stream.reset(502, reader.failure.message);
    else stream.end();
  } catch {
    // The stream was reset, which its other direction notices too.
  }
}

async function toSocket(stream: ByteStream, socket: Socket): Promise<void> {
  try {
    const writer = new PacedWriter(socket);
    const written = (): undefined => { if (socket.destroyed) stream.reset(502, 'the connection is closed'); };
    await stream.flow((bytes) => writer.write([bytes])?.then(written) ?? written());
    writer.flush();
    await ended(socket);
  } catch {
    // Ends the reading too.
    resetSocket(socket);
  }
}

/** Ends a socket's own direction; resolves when that was taken or the socket is gone. */
const ended = (socket: Socket): Promise<void> => new Promise((resolve) => {
  if (socket.destroyed) return resolve();
  socket.once('close', () => resolve());
  socket.end(() => resolve());
});
