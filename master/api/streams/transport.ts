import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { PacedWriter } from './paced-writer.ts';

/** A connection as a sequence of bytes. */
export interface Transport {
  /** Read only as fast as they are consumed; ends with the connection. To be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Writes parts as one; they are copied. Resolves when there is room for more, or the connection is over. Never rejects. */
  write(...parts: readonly Uint8Array[]): Promise<void>;
  /** Closes once what was written has left. */
  end(): void;
  /** Sets who is told that the connection is over, even while nothing is read. */
  onClose(run: () => void): void;
}

/** A connection that an upgrade has handed over. */
export function socketTransport(socket: Duplex, head: Uint8Array): Transport {
  if (head.length > 0) socket.unshift(head);
  const writer = new PacedWriter(socket);
  return {
    chunks: untilClosed(socket),
    write: (...parts) => writer.write(parts),
    end: () => endSoon(socket),
    onClose: (run) => { if (socket.destroyed) run(); else socket.once('close', run); },
  };
}

/** How long the other side may take to close after this one. */
const closeMs = 10_000;

/** Closing at once, with something of the client's unread, would take from it what it was sent last. */
function endSoon(socket: Duplex): void {
  if (socket.destroyed || socket.writableEnded) return;
  socket.end();
  const late = setTimeout(() => socket.destroy(), closeMs);
  socket.once('close', () => clearTimeout(late));
}

async function* untilClosed(socket: Duplex): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
  } catch {
    // Cut off or closed in order: it is over.
  } finally {
    // What nobody wants any more must not hold up the end.
    socket.resume();
  }
}

/** Bytes that wait before a WebSocket is read no further. */
const highWater = 256 * 1024;

/** Bytes in binary messages, however they are cut into these. `connection` is what the WebSocket was made of. */
export function webSocketTransport(socket: WebSocket, connection: Duplex): Transport {
  const writer = new PacedWriter(connection);
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
  return { chunks: chunks(), write: (...parts) => (socket.readyState === socket.OPEN ? writer.message(parts) : Promise.resolve()), end: () => socket.close(1000), onClose: (run) => { if (over) run(); else socket.once('close', run); } };
}
