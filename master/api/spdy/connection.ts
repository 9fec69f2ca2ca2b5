import type { Piece } from '../../../shared/paced-writer.ts';
import type { Transport } from '../streams/transport.ts';
import { dataHead, goAwayCode, growData, goAwayFrame, pingFrame, resetCode, rstStreamFrame, SpdyError, SpdyParser, synReplyFrame, type SpdyEvent } from './frames.ts';
import { HeaderCodec, type Headers } from './headers.ts';

/** Bytes of one stream that wait for its reader before nothing more is read from the connection. */
const maxUnread = 256 * 1024;
const maxStreams = 1024;


export interface SpdyOptions {
  readonly transport: Transport;
  /** How often the client is pinged: one that is gone is noticed so even while nothing of it is read. */
  readonly pingMs: number;
  /** Takes a stream that the client opened; one that it does not want it resets. */
  readonly onStream: (stream: SpdyStream) => void;
}

/**
 * The server's end of a SPDY/3.1 connection as `docker/spdystream`, which Kubernetes' clients use, speaks it: the client
 * opens streams, either side ends its direction or resets. That library knows no flow control of streams: it sends and
 * heeds no WINDOW_UPDATE, so neither is done here. What a stream's reader does not take holds up the connection.
 */
export class SpdyConnection {
  readonly #options: SpdyOptions;
  readonly #codec = new HeaderCodec();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #port: StreamPort;
  #lastId = 0;
  #closing = false;

  constructor(options: SpdyOptions) {
    this.#options = options;
    const { transport } = options;
    this.#port = {
      send: (...parts) => transport.write(...parts),
      data: (piece) => transport.piece(piece),
      over: (stream) => { if (this.#streams.get(stream.id) === stream) this.#streams.delete(stream.id); },
    };
  }

  /** Reads until the connection is over; then all streams are too. Never rejects. */
  async run(): Promise<void> {
    const { transport, pingMs } = this.#options;
    const parser = new SpdyParser();
    const beat = setInterval(() => void transport.write(pingFrame(2)), pingMs);
    // Reading may be held up by a stream that nobody empties any more.
    transport.onClose(() => this.#failAll());
    try {
      for await (const chunk of transport.chunks) {
        for (const event of parser.push(chunk)) {
          const taken = this.#take(event);
          if (taken) await taken;
        }
      }
    } catch (error) {
      void transport.write(goAwayFrame(this.#lastId, error instanceof SpdyError ? goAwayCode.protocolError : goAwayCode.internalError));
    } finally {
      clearInterval(beat);
      this.#failAll();
      this.#codec.close();
      transport.end();
    }
  }

  /** Says that no more is to be expected, and closes once what was written has left. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    void this.#options.transport.write(goAwayFrame(this.#lastId, goAwayCode.ok));
    this.#options.transport.end();
  }

  #failAll(): void {
    for (const stream of [...this.#streams.values()]) stream.fail('the connection is over');
  }

  #take(event: SpdyEvent): Promise<void> | undefined {
    switch (event.type) {
      case 'synStream': return this.#opened(event.id, event.fin, event.block);
      // Nobody needs them, but the blocks after it need it to have been read.
      case 'headers': return this.#codec.unpack(event.block).then(() => { if (event.fin) this.#streams.get(event.id)?.receivedEnd(); });
      case 'data': return this.#data(event);
      case 'rstStream': this.#streams.get(event.id)?.fail('the client reset the stream'); return undefined;
      // Odd ones are the client's; even ones answer ours.
      case 'ping': if (event.id % 2 === 1) void this.#options.transport.write(pingFrame(event.id)); return undefined;
      case 'synReply': throw new SpdyError('a reply to a stream that nobody opened');
      case 'goAway': case 'windowUpdate': return undefined;
    }
  }

  #data({ id, bytes, fin }: Extract<SpdyEvent, { type: 'data' }>): Promise<void> | undefined {
    const stream = this.#streams.get(id);
    const room = bytes.length > 0 ? stream?.received(bytes) : undefined;
    if (fin) stream?.receivedEnd();
    return room;
  }

  async #opened(id: number, fin: boolean, block: Uint8Array): Promise<void> {
    const headers = await this.#codec.unpack(block);
    if (id % 2 === 0 || id <= this.#lastId) throw new SpdyError(`stream ${id} is not the client's to open`);
    this.#lastId = id;
    if (this.#streams.size >= maxStreams) return void this.#options.transport.write(rstStreamFrame(id, resetCode.refused));
    const stream = new SpdyStream(id, headers, this.#port);
    this.#streams.set(id, stream);
    const reply = synReplyFrame(id, await this.#codec.pack(new Map()));
    void this.#options.transport.write(reply);
    if (fin) stream.receivedEnd();
    this.#options.onStream(stream);
  }
}

interface StreamPort {
  send(...parts: readonly Uint8Array[]): Promise<void> | undefined;
  data(piece: Piece): Promise<void> | undefined;
  over(stream: SpdyStream): void;
}

/** A stream that the client opened. */
export class SpdyStream {
  readonly id: number;
  readonly headers: Headers;
  readonly #port: StreamPort;
  readonly #unread: Uint8Array[] = [];
  #size = 0;
  #remoteEnded = false;
  #ended = false;
  #failure: SpdyError | undefined;
  #wake: (() => void) | undefined;
  #room: (() => void) | undefined;

  constructor(id: number, headers: Headers, port: StreamPort) {
    this.id = id;
    this.headers = headers;
    this.#port = port;
  }

  /** The next bytes, or undefined at the end. @throws SpdyError when the stream was reset or the connection is over */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const bytes = this.#unread.shift();
      if (bytes) {
        this.#size -= bytes.length;
        if (this.#size < maxUnread / 2) this.#makeRoom();
        return bytes;
      }
      if (this.#failure) throw this.#failure;
      if (this.#remoteEnded) return undefined;
      await new Promise<void>((resolve) => { this.#wake = resolve; });
    }
  }

  /** Bytes are the caller's again. A promise asks to wait until the connection has room for more. Nothing after the end. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#ended || this.#failure || bytes.length === 0) return undefined;
    return this.#port.data({ key: this.id, head: dataHead(this.id, bytes.length, false), bytes, grow: growData });
  }

  /** Ends this side's direction. */
  end(): void {
    if (this.#ended || this.#failure) return;
    this.#ended = true;
    void this.#port.send(dataHead(this.id, 0, true));
    if (this.#remoteEnded) this.#port.over(this);
  }

  /** Ends both directions now. */
  reset(code: number): void {
    if (this.#failure || (this.#ended && this.#remoteEnded)) return;
    void this.#port.send(rstStreamFrame(this.id, code));
    this.fail('the stream was reset');
  }

  // ---- called by the connection

  /** Resolves when the reader has taken enough; undefined if it has. */
  received(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#remoteEnded || this.#failure) return undefined;
    this.#unread.push(bytes);
    this.#size += bytes.length;
    this.#notify();
    return this.#size < maxUnread ? undefined : new Promise((resolve) => { this.#room = resolve; });
  }

  receivedEnd(): void {
    this.#remoteEnded = true;
    this.#notify();
    if (this.#ended) this.#port.over(this);
  }

  fail(why: string): void {
    if (this.#failure) return;
    this.#failure = new SpdyError(why);
    this.#unread.length = 0;
    this.#notify();
    this.#makeRoom();
    this.#port.over(this);
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #makeRoom(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.();
  }
}
