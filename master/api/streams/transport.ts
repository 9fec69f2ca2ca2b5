import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { pacedWrite } from '../../../shared/paced-write.ts';

/** A connection as a sequence of bytes. */
export interface Transport {
  /** Read only as fast as they are consumed; ends with the connection. To be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Resolves when there is room for more, or the connection is over. Never rejects. */
  write(bytes: Uint8Array): Promise<void>;
  /** Closes once what was written has left. */
  end(): void;
}

/** A connection that an upgrade has handed over. */
export function socketTransport(socket: Duplex, head: Uint8Array): Transport {
  if (head.length > 0) socket.unshift(head);
  return {
    chunks: untilClosed(socket),
    write: (bytes) => pacedWrite(socket, bytes),
    end: () => { socket.end(); },
  };
}

async function* untilClosed(socket: Duplex): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of socket) yield chunk as Uint8Array;
  } catch {
    // Cut off or closed in order: it is over.
  }
}

/** Bytes that wait before a WebSocket is read, or written, no further. */
const highWater = 256 * 1024;

/** Sends a message; resolves when there is room for more, or the connection is over. */
export function pacedSend(socket: WebSocket, message: Uint8Array | string): Promise<void> {
  const options = { binary: typeof message !== 'string' };
  if (socket.bufferedAmount < highWater) {
    socket.send(message, options, () => undefined);
    return Promise.resolve();
  }
  return new Promise((resolve) => { socket.send(message, options, () => resolve()); });
}

/** Bytes in binary messages, however they are cut into these. */
export function webSocketTransport(socket: WebSocket): Transport {
  const waiting: Uint8Array[] = [];
  let size = 0;
  let over = false;
  let wake = (): void => {};
  socket.on('message', (data) => {
    waiting.push(data as Buffer);
    size += (data as Buffer).length;
    if (size > highWater) socket.pause();
    wake();
  });
  socket.on('close', () => { over = true; wake(); });
  socket.on('error', () => socket.terminate());
  async function* chunks(): AsyncIterable<Uint8Array> {
    for (;;) {
      const chunk = waiting.shift();
      if (chunk) {
        size -= chunk.length;
        if (socket.isPaused && size < highWater / 2) socket.resume();
        yield chunk;
      } else if (over) return;
      else await new Promise<void>((resolve) => { wake = resolve; });
    }
  }
  return { chunks: chunks(), write: (bytes) => pacedSend(socket, bytes), end: () => socket.close(1000) };
}
