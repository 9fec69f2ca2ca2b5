import { readDirectly, type OtherParser, type WireConnection } from './read-directly.ts';
import { headBytes, putHead } from './wire.ts';

/** What is read of a connection at a time. */
const readBytes = 64 * 1024;

/**
 * One end of a connection that carries whole binary frames in order, as a WebSocket does. Sessions of both ends are
 * written against it, so that tests and a simulated fleet run them without a network.
 */
export interface FrameSocket {
  /** Bytes given to {@link send} that the network has not yet taken. */
  readonly bufferedBytes: number;
  /**
   * Sends a frame; the bytes must not change until `sent` is called: once, when it left this process, or never will.
   * `alone`: probably nothing else is sent in this turn, so that there is nothing to wait for.
   */
  send(frame: Uint8Array, sent?: () => void, alone?: boolean): void;
  /** Sends several frames at once; without it, they are sent one by one. */
  readonly batches?: FrameBatches;
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

/** Frames that whoever sends them puts one after the other into one buffer, each behind its head, so that they are copied only once. */
export interface FrameBatches {
  /** Bytes of the head of a frame of that length. */
  headBytes(length: number): number;
  putHead(to: Buffer, at: number, length: number): void;
  /** As {@link FrameSocket.send}. */
  send(batch: Uint8Array, sent: () => void): void;
}

export interface SocketListener {
  /** The bytes are good until this returns. */
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

/** What is used of a connection under a WebSocket, and of the package's parser. The package does not declare them. */
interface Inner extends WebSocketLike {
  readonly readyState: number;
  readonly _socket?: WireConnection | null;
  readonly _receiver?: OtherParser | null;
}

const openState = 1;
const ignore = (): void => {};
/** Frames of a broadcast are few, and are sent to one connection after the other. */
const remembered = 4;

/** Wraps a WebSocket that this side has opened and whose `binaryType` is `nodebuffer`. What its frames come to is added to `count`. */
export function fromWebSocket(webSocket: WebSocketLike, count: ByteCount = { sent: 0, received: 0 }): FrameSocket {
  const socket = webSocket as Inner;
  const masked = true;
  const write = (bytes: Uint8Array, sent: () => void): void => {
    count.sent += bytes.length;
    if (socket.readyState === openState && socket._socket) socket._socket.write(bytes, sent);
    else queueMicrotask(sent);
  };
  const received = (bytes: Uint8Array): void => { count.received += bytes.length + headBytes(bytes.length, false); };
  return {
    ...basis(socket, (listener) => listen(socket, !masked, Buffer.allocUnsafeSlow(readBytes), { end: listener.end, frame: (bytes) => { received(bytes); listener.frame(bytes); } })),
    get bufferedBytes() { return socket.bufferedAmount; },
    send: (frame, sent = () => {}) => write(withHead(frame, masked), sent),
    batches: { headBytes: (length) => headBytes(length, masked), putHead: (to, at, length) => putHead(to, at, length, masked), send: write },
  };
}

/**
 * Wraps the WebSockets of one server. A frame that goes to many of them gets its WebSocket head once, and each gets the
 * same bytes; the frames that one of them gets in one turn leave in one piece. Half of the cost of sending is saved by
 * that, against a `send` of the package for each. All are read into one buffer.
 */
export class ServerSockets {
  readonly #recent: { readonly frame: Uint8Array; readonly wire: Uint8Array }[] = [];
  readonly #buffer = Buffer.allocUnsafeSlow(readBytes);

  wrap(webSocket: WebSocketLike): FrameSocket {
    const socket = webSocket as Inner;
    let corked = false;
    const uncork = (): void => { corked = false; socket._socket?.uncork(); };
    const write = (bytes: Uint8Array, sent: () => void): void => {
      if (socket.readyState === openState && socket._socket) socket._socket.write(bytes, sent);
      else queueMicrotask(sent);
    };
    return {
      ...basis(socket, (listener) => listen(socket, true, this.#buffer, listener)),
      get bufferedBytes() { return socket.bufferedAmount; },
      send: (frame, sent = ignore, alone = false) => {
        if (!alone && !corked && socket.readyState === openState) {
          corked = true;
          socket._socket?.cork();
          process.nextTick(uncork);
        }
        write(this.#wire(frame), sent);
      },
      batches: { headBytes: (length) => headBytes(length, false), putHead: (to, at, length) => putHead(to, at, length, false), send: write },
    };
  }

  #wire(frame: Uint8Array): Uint8Array {
    for (const known of this.#recent) if (known.frame === frame) return known.wire;
    const wire = withHead(frame, false);
    if (this.#recent.push({ frame, wire }) > remembered) this.#recent.shift();
    return wire;
  }
}

const basis = (socket: WebSocketLike, listening: FrameSocket['listen']): Pick<FrameSocket, 'listen' | 'pause' | 'resume' | 'close' | 'destroy'> => ({
  listen: listening,
  pause: () => socket.pause(),
  resume: () => socket.resume(),
  close: () => socket.close(1000),
  destroy: () => socket.terminate(),
});

function withHead(payload: Uint8Array, masked: boolean): Uint8Array {
  const head = headBytes(payload.length, masked);
  const wire = Buffer.allocUnsafe(head + payload.length);
  putHead(wire, 0, payload.length, masked);
  wire.set(payload, head);
  return wire;
}

/** `masked`: the other side is a client. */
function listen(socket: Inner, masked: boolean, buffer: Buffer, listener: SocketListener): void {
  let why = '';
  // `ws` always emits close after error.
  socket.on('error', (error) => { why = error.message; });
  socket.on('close', (code, reason) => listener.end(why || Buffer.from(reason).toString('utf8') || `connection closed (${code})`));
  // A text frame is no frame of ours; an empty one fails as such where frames are decoded.
  socket.on('message', (data, isBinary) => listener.frame(isBinary && data instanceof Uint8Array ? data : new Uint8Array(0)));
  if (!socket._socket || !socket._receiver) return;
  readDirectly(socket._socket, socket._receiver, masked, buffer, (bytes) => { if (socket.readyState === openState) listener.frame(bytes); });
}
