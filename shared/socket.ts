/**
 * One end of a connection that carries whole binary frames in order, as a WebSocket does. Sessions of both ends are
 * written against it, so that tests and a simulated fleet run them without a network.
 */
export interface FrameSocket {
  /** Bytes given to {@link send} that the network has not yet taken. */
  readonly bufferedBytes: number;
  /** Sends a frame; the bytes must not change until `sent` is called: once, when it left this process, or never will. */
  send(frame: Uint8Array, sent?: () => void): void;
  /** Sets who is told of frames and, once, of the end. Called once, in the turn in which the socket was handed over. */
  listen(listener: SocketListener): void;
  /** Stops reading from the network until {@link resume}; a few frames already read may still come. */
  pause(): void;
  resume(): void;
  /** Ends the connection after what was sent; a peer that does not answer is dropped after some seconds. */
  close(): void;
  /** Drops the connection at once. */
  destroy(): void;
}

export interface SocketListener {
  frame(bytes: Uint8Array): void;
  /** The connection is over; `why` is for the log. */
  end(why: string): void;
}

/** What is used of a WebSocket of the package `ws`; this file does not import it. */
export interface WebSocketLike {
  readonly bufferedAmount: number;
  send(data: Uint8Array, options: { binary: boolean }, done: (error?: Error | null) => void): void;
  on(event: 'message', listener: (data: Uint8Array | Uint8Array[] | ArrayBuffer, isBinary: boolean) => void): unknown;
  on(event: 'close', listener: (code: number, reason: Uint8Array) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  pause(): void;
  resume(): void;
  close(code?: number): void;
  terminate(): void;
}

/** Bytes of frames with their WebSocket heads, both ways. */
export interface ByteCount { sent: number; received: number }

/** Bytes that WebSocket puts before a payload (RFC 6455, 5.2); a client's frames carry a mask besides. */
const headBytes = (length: number): number => (length < 126 ? 2 : length < 65_536 ? 4 : 10);
const maskBytes = 4;

/** Wraps an open WebSocket whose `binaryType` is `nodebuffer`. What a client's frames come to is added to `count`. */
export function fromWebSocket(socket: WebSocketLike, count?: ByteCount): FrameSocket {
  if (count) socket.on('message', (data) => { if (data instanceof Uint8Array) count.received += data.length + headBytes(data.length); });
  return {
    get bufferedBytes() { return socket.bufferedAmount; },
    send: (frame, sent) => {
      if (count) count.sent += frame.length + headBytes(frame.length) + maskBytes;
      socket.send(frame, { binary: true }, () => sent?.());
    },
    listen: (listener) => attach(socket, listener),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: () => socket.close(1000),
    destroy: () => socket.terminate(),
  };
}

/** What is used of a server's WebSocket besides: the connection under it. The package does not declare it. */
interface Served extends WebSocketLike {
  readonly readyState: number;
  readonly _socket?: { write(data: Uint8Array, done: () => void): boolean; cork(): void; uncork(): void } | null;
}

const openState = 1;
/** Frames of a broadcast are few, and are sent to one connection after the other. */
const remembered = 4;

/**
 * Wraps the WebSockets of one server. A frame that goes to many of them gets its WebSocket head once, and each gets the
 * same bytes; the frames that one of them gets in one turn leave in one piece. Half of the cost of sending is saved by
 * that, against a `send` of the package for each.
 */
export class ServerSockets {
  readonly #recent: { readonly frame: Uint8Array; readonly wire: Uint8Array }[] = [];

  wrap(webSocket: WebSocketLike): FrameSocket {
    const socket = webSocket as Served;
    const plain = fromWebSocket(socket);
    const connection = socket._socket;
    if (!connection) return plain;
    let corked = false;
    const uncork = (): void => { corked = false; connection.uncork(); };
    return {
      ...plain,
      get bufferedBytes() { return socket.bufferedAmount; },
      send: (frame, sent = () => {}) => {
        if (socket.readyState !== openState) return queueMicrotask(sent);
        if (!corked) {
          corked = true;
          connection.cork();
          process.nextTick(uncork);
        }
        connection.write(this.#wire(frame), () => sent());
      },
    };
  }

  #wire(frame: Uint8Array): Uint8Array {
    for (const known of this.#recent) if (known.frame === frame) return known.wire;
    const wire = withHead(frame);
    if (this.#recent.push({ frame, wire }) > remembered) this.#recent.shift();
    return wire;
  }
}

/** A binary WebSocket frame without a mask (RFC 6455, 5.2). */
function withHead(payload: Uint8Array): Uint8Array {
  const head = headBytes(payload.length);
  const wire = Buffer.allocUnsafe(head + payload.length);
  wire[0] = 0x82;
  if (head === 2) wire[1] = payload.length;
  else if (head === 4) { wire[1] = 126; wire.writeUInt16BE(payload.length, 2); }
  else { wire[1] = 127; wire.writeBigUInt64BE(BigInt(payload.length), 2); }
  wire.set(payload, head);
  return wire;
}

function attach(socket: WebSocketLike, listener: SocketListener): void {
  let why = '';
  // `ws` always emits close after error.
  socket.on('error', (error) => { why = error.message; });
  socket.on('close', (code, reason) => listener.end(why || Buffer.from(reason).toString('utf8') || `connection closed (${code})`));
  socket.on('message', (data, isBinary) => {
    // A text frame is no frame of ours; an empty one fails as such where frames are decoded.
    listener.frame(isBinary && data instanceof Uint8Array ? data : new Uint8Array(0));
  });
}
