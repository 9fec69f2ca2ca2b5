import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { PacedWriter, type Piece } from '../../../shared/paced-writer.ts';
import { readClient } from './web-socket-channels.ts';

/** A connection as a sequence of bytes. */
export interface Transport {
  /** Read only as fast as they are consumed; ends with the connection. To be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Writes parts as one; they are copied. A promise asks to wait: it resolves when there is room for more, or the connection is over. */
  write(...parts: readonly Uint8Array[]): Promise<void> | undefined;
  /** Writes a head and bytes; those of the same sequence that come before they have left may become part of them. As {@link write} otherwise. */
  piece(piece: Piece): Promise<void> | undefined;
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
    piece: (piece) => writer.piece(piece, false),
    end: () => { writer.flush(); endSoon(socket); },
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
  readClient(socket, connection, (data) => {
    // Good until this returns.
    waiting.push(Buffer.from(data));
    size += data.length;
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
  const isOpen = (): boolean => socket.readyState === socket.OPEN;
  return {
    chunks: chunks(),
    write: (...parts) => (isOpen() ? writer.message(parts) : undefined),
    piece: (piece) => (isOpen() ? writer.piece(piece, true) : undefined),
    end: () => { writer.flush(); socket.close(1000); },
    onClose: (run) => { if (over) run(); else socket.once('close', run); },
  };
}
