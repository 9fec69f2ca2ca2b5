import { ProtocolError } from './protocol.ts';
import { ByteStream, StreamReset, type StreamPort, type Window } from './byte-stream.ts';
import type { FrameBatches } from './socket.ts';

/** Bytes that one side may send on a stream before the other has consumed any. Part of the protocol: both ends start from it. */
export const streamWindow = 256 * 1024;
const wholeWindow: Window = { initial: streamWindow, most: streamWindow };
/**
 * The same of a relayed connection, of which there may be many that nobody reads: little at first, and more as its reader
 * proves to read, while the channel has some of {@link ChannelOptions.growthBytes} left.
 */
export const relayWindow: Window = { initial: 32 * 1024, most: streamWindow };
/**
 * Largest data frame's payload: what one stream may send before others get their turn. With this channel's head and the
 * longest of a WebSocket's it fills a TLS record, so that a receiver need not put frames together from two.
 */
export const maxChunk = 16 * 1024 - 13;
const recordBytes = 16 * 1024;
/** Data frames that leave together come to at most this. */
const batchBytes = 4 * recordBytes;
/** Data is sent in that amount even when much else waits in the connection. */
const leastBytes = recordBytes;
/** A record's rest that is smaller is not worth a frame of its own. */
const leastChunk = 512;

/** First bytes of a channel's frames; 0 is a control message. Layout: type, stream id (u32 BE), payload. */
const frameType = { data: 1, credit: 2, end: 3, reset: 4 } as const;
const headerBytes = 5;

export interface ChannelOptions {
  /** The master opens even ids, the agent odd ones. */
  readonly side: 'master' | 'agent';
  /** Sends a frame; `sent` once it left this process. A frame's bytes change after that. */
  readonly send: (frame: Uint8Array, sent?: () => void) => void;
  /** Bytes given to `send` that have not left yet; stream data waits while there are {@link highWaterBytes} of them. */
  readonly bufferedBytes: () => number;
  /** Takes several frames at once; without it, `send` gets each. */
  readonly batches?: FrameBatches;
  readonly highWaterBytes?: number;
  /** Streams with a whole window open at a time; each holds at most that of unread bytes. Default 256. */
  readonly maxStreams?: number;
  /** Streams that start with a {@link relayWindow}. Default 512: 16 MiB at most. */
  readonly maxRelays?: number;
  /** What windows may grow by in all. Default 8 MiB. */
  readonly growthBytes?: number;
}

/**
 * Many byte streams over one connection that also carries control messages. Data is handed to the connection only
 * while little of it is queued there, so that a control message never waits behind a full stream.
 *
 * ```
 * data   1 id bytes…        at most as many as the credit left: 256 KiB at first, 32 KiB of a relayed connection
 * credit 2 id count(u32)    the reader consumed that many, or lets the window grow
 * end    3 id               no more data from this side; the other may go on
 * reset  4 id code(u16) text   the stream is over, both ways
 * ```
 */
export class Channel {
  readonly #options: ChannelOptions;
  readonly #streams = new Map<number, ByteStream>();
  /** Streams with data to send, in the order of their turns. */
  readonly #waiting = new Set<ByteStream>();
  /** For data on its way, again and again while streams are open: fresh buffers would keep the garbage collector busy. */
  #batch: Buffer | undefined;
  /** A batch is under way: the next is made when it has left. */
  #sending = false;
  #nextId: number;
  /** Highest id opened by the other side. */
  #highest = -1;
  /** Open streams that started with less than a whole window. */
  #relays = 0;
  /** Bytes by which windows have grown. */
  #growth = 0;
  #closed: string | undefined;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#nextId = options.side === 'master' ? 2 : 1;
  }

  /** Streams open now. */
  get size(): number {
    return this.#streams.size;
  }

  /**
   * Opens a stream of this side. The other side must be told its id by a control message, sent before any of its data.
   * @throws StreamReset when the channel is closed or full
   */
  open(window: Window = wholeWindow): ByteStream {
    const id = this.#nextId;
    const stream = this.#add(id, window);
    this.#nextId += 2;
    return stream;
  }

  /**
   * Takes up a stream that the other side has opened.
   * @throws ProtocolError for an id that is not the other side's next, StreamReset when the channel is closed or full
   */
  accept(id: number, window: Window = wholeWindow): ByteStream {
    this.#opened(id);
    return this.#add(id, window);
  }

  /** Resets a stream that the other side has opened, instead of accepting it. @throws ProtocolError */
  refuse(id: number, why: StreamReset): void {
    if (id > this.#highest) this.#opened(id);
    this.#options.send(resetFrame(id, why.code, why.message));
  }

  #opened(id: number): void {
    if (id % 2 === this.#nextId % 2 || id <= this.#highest || id > 0xffff_ffff) throw new ProtocolError(`stream ${id} is not the other side's to open`);
    this.#highest = id;
  }

  /** Takes a frame whose first byte is not that of a control message. @throws ProtocolError */
  receive(frame: Uint8Array): void {
    if (frame.length < headerBytes) throw new ProtocolError(`stream frame of ${frame.length} bytes`);
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const id = view.getUint32(1);
    const stream = this.#streams.get(id);
    // What was under way when a stream ended here is no fault of the peer's.
    if (!stream && !this.#known(id)) throw new ProtocolError(`frame for stream ${id}, which was never opened`);
    switch (frame[0]) {
      case frameType.data: return stream?.received(frame.subarray(headerBytes));
      case frameType.end: return stream?.receivedEnd();
      case frameType.credit:
        if (frame.length !== headerBytes + 4) throw new ProtocolError('credit frame of a wrong length');
        return stream?.credited(view.getUint32(headerBytes));
      case frameType.reset:
        if (frame.length < headerBytes + 2) throw new ProtocolError('reset frame of a wrong length');
        return stream?.receivedReset(new StreamReset(view.getUint16(headerBytes), Buffer.from(frame.subarray(headerBytes + 2)).toString('utf8')));
      default: throw new ProtocolError(`frame of unknown type ${frame[0]}`);
    }
  }

  /** Resets every stream on this side: the connection is gone. */
  close(why: string): void {
    this.#closed = why;
    for (const stream of [...this.#streams.values()]) stream.receivedReset(new StreamReset(503, why));
  }

  #known(id: number): boolean {
    return id % 2 === this.#nextId % 2 ? id < this.#nextId : id <= this.#highest;
  }

  #add(id: number, window: Window): ByteStream {
    if (this.#closed !== undefined) throw new StreamReset(503, this.#closed);
    const { maxStreams = 256, maxRelays = 512 } = this.#options;
    const relay = window.initial < streamWindow;
    const alike = relay ? this.#relays : this.#streams.size - this.#relays;
    if (alike >= (relay ? maxRelays : maxStreams)) throw new StreamReset(429, `too many streams are open (${alike})`);
    const stream = new ByteStream(id, window, this.#port(id, relay));
    if (relay) this.#relays++;
    this.#streams.set(id, stream);
    return stream;
  }

  #port(id: number, relay: boolean): StreamPort {
    const { send, growthBytes = 8 * 1024 * 1024 } = this.#options;
    let grown = 0;
    return {
      widen: (by) => {
        const more = Math.min(by, growthBytes - this.#growth);
        grown += more;
        this.#growth += more;
        return more;
      },
      ready: (stream) => { this.#waiting.add(stream); this.#pump(); },
      credit: (bytes) => send(frameOf(frameType.credit, id, u32(bytes))),
      reset: (code, text) => send(resetFrame(id, code, text)),
      closed: (stream) => {
        this.#waiting.delete(stream);
        if (!this.#streams.delete(id)) return;
        if (relay) this.#relays--;
        this.#growth -= grown;
        if (this.#streams.size === 0) this.#batch = undefined;
      },
    };
  }

  /**
   * Sends a batch of what waits, a chunk of each stream in turn, once the last batch has left: so little of it is ever
   * before a control message, and what has come together meanwhile leaves in one piece.
   */
  #pump(): void {
    if (this.#sending || this.#waiting.size === 0) return;
    this.#sending = true;
    const { bufferedBytes, highWaterBytes = 64 * 1024, batches } = this.#options;
    const room = Math.min(batchBytes, Math.max(leastBytes, highWaterBytes - bufferedBytes()));
    const left = (): void => { this.#sending = false; this.#pump(); };
    if (batches) this.#sendBatch(batches, room, left);
    else this.#sendEach(room, left);
  }

  #sendBatch(batches: FrameBatches, room: number, left: () => void): void {
    const buffer = this.#batch ?? Buffer.allocUnsafeSlow(batchBytes);
    this.#batch = undefined;
    let at = 0;
    for (const stream of this.#waiting) {
      if (at > 0 && at + leastChunk > room) break;
      this.#waiting.delete(stream);
      at = this.#put(stream, batches, buffer, at, room);
      if (stream.hasWork) this.#waiting.add(stream);
    }
    const sent = (): void => {
      if (this.#streams.size > 0) this.#batch = buffer;
      left();
    };
    if (at > 0) batches.send(buffer.subarray(0, at), sent);
    else sent();
  }

  /** Puts a stream's next frame at a place of a batch; returns where it ends. Records of TLS begin where the batch does. */
  #put(stream: ByteStream, batches: FrameBatches, buffer: Buffer, at: number, room: number): number {
    const ofRecord = recordBytes - at % recordBytes;
    const most = Math.min(room - at, ofRecord < leastChunk ? ofRecord + recordBytes : ofRecord);
    const chunk = stream.take(most - batches.headBytes(recordBytes) - headerBytes);
    if (!chunk && !stream.takeEnd()) return at;
    const length = headerBytes + (chunk?.length ?? 0);
    batches.putHead(buffer, at, length);
    const start = at + batches.headBytes(length);
    buffer[start] = chunk ? frameType.data : frameType.end;
    buffer.writeUInt32BE(stream.id, start + 1);
    if (chunk) buffer.set(chunk, start + headerBytes);
    stream.taken();
    return start + length;
  }

  #sendEach(room: number, left: () => void): void {
    const { send } = this.#options;
    let under = 1;
    const sent = (): void => { if (--under === 0) left(); };
    let size = 0;
    for (const stream of this.#waiting) {
      if (size >= room) break;
      this.#waiting.delete(stream);
      const chunk = stream.take(maxChunk);
      if (chunk || stream.takeEnd()) {
        const frame = frameOf(chunk ? frameType.data : frameType.end, stream.id, chunk ?? new Uint8Array(0));
        stream.taken();
        size += frame.length;
        under++;
        send(frame, sent);
      }
      if (stream.hasWork) this.#waiting.add(stream);
    }
    sent();
  }
}

function frameOf(type: number, id: number, payload: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(headerBytes + payload.length);
  frame[0] = type;
  frame.writeUInt32BE(id, 1);
  frame.set(payload, headerBytes);
  return frame;
}

const resetFrame = (id: number, code: number, text: string): Uint8Array =>
  frameOf(frameType.reset, id, Buffer.concat([u16(code), Buffer.from(text, 'utf8').subarray(0, 4096)]));

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
