import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** How events are wrapped on the wire; frames of one framing are the same bytes for every client. */
export type Framing = 'chunk' | 'message' | 'plain';

/** Where the events of one watch go. */
export interface Sink {
  readonly framing: Framing;
  /** Writes a frame that {@link frame} made. False when the client has not taken all that was written. */
  send(bytes: Buffer): boolean;
  /** Bytes written that the client has not taken. */
  readonly backlog: number;
  readonly closed: boolean;
  /** Resolves when the backlog is gone, or the client. */
  drained(): Promise<void>;
  /** Ends the watch in order. */
  end(): void;
  /** Cuts the connection. */
  destroy(): void;
  onClose(run: () => void): void;
}

const lineEnd = Buffer.from('\r\n');

/** Wraps events, each ending in a newline, into one buffer. */
export function frame(framing: Framing, events: readonly Uint8Array[]): Buffer {
  switch (framing) {
    case 'plain': return Buffer.concat(events);
    case 'chunk': {
      let size = 0;
      for (const event of events) size += event.length;
      return Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), ...events, lineEnd]);
    }
    case 'message': return Buffer.concat(events.flatMap((event) => [messageHead(event.length), event]));
  }
}

/** Head of an unmasked WebSocket text message of one frame (RFC 6455, 5.2). */
function messageHead(length: number): Buffer {
  if (length < 126) return Buffer.from([0x81, length]);
  if (length < 65_536) return Buffer.from([0x81, 126, length >> 8, length & 0xff]);
  const head = Buffer.alloc(10);
  head[0] = 0x81;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/**
 * The body of a chunked answer. Chunks come ready-made, so that one buffer serves all watchers: they go to the
 * connection itself, past the response's own chunking, which adds only the last chunk.
 */
export function httpSink(res: ServerResponse): Sink {
  const socket = res.socket!;
  const chunked = res.req.httpVersion !== '1.0';
  return {
    framing: chunked ? 'chunk' : 'plain',
    send: (bytes) => (chunked ? socket : res).write(bytes),
    get backlog() { return socket.writableLength + (chunked ? 0 : res.writableLength); },
    get closed() { return res.destroyed || socket.destroyed || res.writableEnded; },
    drained: () => drained(socket),
    end: () => { res.end(); },
    destroy: () => { res.destroy(); },
    onClose: (run) => { res.once('close', run); },
  };
}

/** A WebSocket with a text message per event. Whole frames go to the connection itself, between those that `ws` writes. */
export function socketSink(ws: WebSocket, socket: Duplex): Sink {
  return {
    framing: 'message',
    send: (bytes) => socket.write(bytes),
    get backlog() { return socket.writableLength; },
    get closed() { return socket.destroyed || ws.readyState !== ws.OPEN; },
    drained: () => drained(socket),
    end: () => ws.close(1000),
    destroy: () => ws.terminate(),
    onClose: (run) => { ws.once('close', run); },
  };
}

function drained(socket: Duplex): Promise<void> {
  if (!socket.writableNeedDrain || socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.once('drain', done);
    socket.once('close', done);
  });
}
