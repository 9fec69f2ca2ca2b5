import { connect, type Socket } from 'node:net';

/**
 * A unary gRPC client over one HTTP/2 connection without TLS, one call at a time. It writes ready-made frames and looks at
 * no more of the answer than it must: a full client costs more than the server that it measures (grpc-js: a tenth of a
 * millisecond and more per call).
 */
export class GrpcConnection {
  readonly #socket: Socket;
  #stream = 1;
  #unread: Buffer = Buffer.alloc(0);
  #message: Buffer = Buffer.alloc(0);
  #waiting: { resolve: (message: Buffer) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (piece) => this.#read(piece));
    socket.on('error', (error) => this.#waiting?.reject(error));
    socket.on('close', () => this.#waiting?.reject(new Error('the server closed the connection')));
  }

  static open(port: number, host = '127.0.0.1'): Promise<GrpcConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true }, () => {
        socket.off('error', reject);
        socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(FrameType.settings, 0, 0, Buffer.alloc(0)), windowOf(0, 2 ** 30)]));
        resolve(new GrpcConnection(socket));
      });
      socket.once('error', reject);
    });
  }

  /** Calls a method such as `/etcdserverpb.KV/Txn`; resolves with the answer's message. @throws Error for any gRPC status but OK */
  call(headers: Buffer, message: Buffer): Promise<Buffer> {
    const stream = this.#stream;
    this.#stream += 2;
    const body = Buffer.allocUnsafe(5 + message.length);
    body[0] = 0;
    body.writeUInt32BE(message.length, 1);
    message.copy(body, 5);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(Buffer.concat([frame(FrameType.headers, Flag.endHeaders, stream, headers), frame(FrameType.data, Flag.endStream, stream, body)]));
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #read(piece: Buffer): void {
    const bytes = this.#unread.length > 0 ? Buffer.concat([this.#unread, piece]) : piece;
    let at = 0;
    for (; bytes.length - at >= 9; ) {
      const end = at + 9 + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      this.#frame(bytes[at + 3]!, bytes[at + 4]!, bytes.subarray(at + 9, end));
      at = end;
    }
    this.#unread = bytes.subarray(at);
  }

  #frame(type: number, flags: number, payload: Buffer): void {
    switch (type) {
      case FrameType.data: this.#message = Buffer.concat([this.#message, payload]); break;
      case FrameType.settings: if (!(flags & Flag.ack)) this.#socket.write(frame(FrameType.settings, Flag.ack, 0, Buffer.alloc(0))); break;
      case FrameType.ping: if (!(flags & Flag.ack)) this.#socket.write(frame(FrameType.ping, Flag.ack, 0, payload)); break;
      case FrameType.reset: case FrameType.goAway: this.#finish(new Error(`HTTP/2 frame ${type}: ${payload.toString('latin1')}`)); break;
    }
    if ((type === FrameType.headers || type === FrameType.data) && flags & Flag.endStream) this.#finish();
  }

  /** A failed call ends with headers and without a message, so that these need not be decoded. */
  #finish(error?: Error): void {
    const message = this.#message;
    const waiting = this.#waiting;
    this.#message = Buffer.alloc(0);
    this.#waiting = undefined;
    if (error || message.length < 5) waiting?.reject(error ?? new Error('the call was refused'));
    else waiting?.resolve(message.subarray(5));
  }
}

/** RFC 9113, section 6; what {@link GrpcConnection} has a use for. */
const FrameType = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, window: 8 } as const;
const Flag = { ack: 1, endStream: 1, endHeaders: 4 } as const;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, 9);
  return bytes;
}

function windowOf(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(FrameType.window, 0, stream, payload);
}

/** The header block of every call of one method: plain literals (RFC 7541, 6.2.2), which keep no state on either side. */
export function headersOf(method: string, authority: string): Buffer {
  const pairs = [[':method', 'POST'], [':scheme', 'http'], [':path', method], [':authority', authority], ['content-type', 'application/grpc'], ['te', 'trailers']] as const;
  const text = (value: string): Buffer => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

// Protobuf, as far as requests need it.

const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
};

/** A field of bytes, or of an embedded message. */
export const bytesField = (number: number, value: Buffer): Buffer => Buffer.concat([varint(number * 8 + 2), varint(value.length), value]);
export const numberField = (number: number, value: number): Buffer => Buffer.concat([varint(number * 8), varint(value)]);
