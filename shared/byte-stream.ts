import { ProtocolError } from './protocol.ts';

/** A stream ended before its end: by the other side, by this one, or with the connection. `code` is an HTTP status. */
export class StreamReset extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'StreamReset';
    this.code = code;
  }
}

/** What a stream needs of its channel. */
export interface StreamPort {
  /** The stream has data or its end to send. */
  ready(stream: ByteStream): void;
  credit(bytes: number): void;
  /** Bytes by which the other side's window may grow beyond `bytes` now, at most `by`. They come back when the stream is closed. */
  widen(by: number): number;
  reset(code: number, text: string): void;
  /** Nothing more will come of this stream. */
  closed(stream: ByteStream): void;
}

/** What both ends of a stream start from; part of the protocol. */
export interface Window {
  /** Bytes that one side may send before the other has consumed any. */
  readonly initial: number;
  /** What a reader may let that grow to. */
  readonly most: number;
}

interface Pending {
  bytes: Uint8Array;
  /** The stream's own buffer that `bytes` are in, to be used again. */
  buffer?: Buffer;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

/** Received, and not yet read. */
interface Unread { readonly bytes: Uint8Array; readonly buffer?: Buffer }

/** Takes bytes that are good until it returns; gives a promise to be spared the next until it resolves. */
export type Sink = (bytes: Uint8Array) => Promise<void> | undefined;

interface Flow { readonly sink: Sink; readonly done: () => void; readonly failed: (error: unknown) => void; busy: boolean }

/** Pieces between these sizes are copied into buffers that are used again. */
const pooled = { least: 4 * 1024, most: 16 * 1024 };
const maxSpare = 8;
/** Bytes of {@link ByteStream.pass} that may wait before it says so. */
const passedWait = 64 * 1024;

/**
 * One stream of bytes in each direction. Open until both directions ended or either side reset it.
 *
 * Reading: `for await (const bytes of stream)`; leaving the loop early resets the stream. One reader at a time.
 */
export class ByteStream {
  readonly id: number;
  /** Bytes that the other side may have under way. */
  #window: number;
  readonly #mostWindow: number;
  readonly #port: StreamPort;
  readonly #writes: Pending[] = [];
  readonly #unread: Unread[] = [];
  /** Buffers for what waits. */
  readonly #spare: Buffer[] = [];
  #flow: Flow | undefined;
  /** A buffer whose last bytes are being taken. */
  #leaving: Pending | undefined;
  /** Bytes that may still be sent. */
  #credit: number;
  /** Bytes received and not yet credited back; at most the window. */
  #uncredited = 0;
  /** Bytes consumed and not yet credited back. */
  #consumed = 0;
  #ending: 'open' | 'asked' | 'sent' = 'open';
  #remoteEnded = false;
  #failure: StreamReset | undefined;
  #wake: (() => void) | undefined;
  #discarding = false;
  #onReset: ((why: StreamReset) => void) | undefined;

  constructor(id: number, window: Window, port: StreamPort) {
    this.id = id;
    this.#window = this.#credit = window.initial;
    this.#mostWindow = window.most;
    this.#port = port;
  }

  /** Why the stream was reset, if it was. */
  get failure(): StreamReset | undefined {
    return this.#failure;
  }

  // ---- sending

  /**
   * Resolves when the connection has taken the bytes: await it before the next write, and memory stays bounded by what
   * is in flight. The bytes must not change until then.
   * @throws StreamReset
   */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#ending !== 'open') return Promise.reject(new StreamReset(500, 'write after the end of the stream'));
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((done, failed) => {
      this.#writes.push({ bytes, done, failed });
      if (this.#credit > 0) this.#port.ready(this);
    });
  }

  /**
   * Sends bytes that are the caller's again when this returns: what cannot leave now is copied. A promise, which never
   * rejects, asks to wait: it resolves when little waits.
   */
  pass(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#failure || this.#ending !== 'open' || bytes.length === 0) return undefined;
    let wake = (): void => {};
    const write: Pending = { bytes, done: () => wake(), failed: () => wake() };
    this.#writes.push(write);
    if (this.#credit > 0) this.#port.ready(this);
    if (write.bytes.length === 0 || this.#failure) return undefined;
    const { bytes: kept, buffer } = this.#kept(write.bytes);
    write.bytes = kept;
    if (buffer) write.buffer = buffer;
    let waiting = 0;
    for (const { bytes: { length } } of this.#writes) waiting += length;
    return waiting < passedWait ? undefined : new Promise((resolve) => { wake = resolve; });
  }

  /** Ends this direction after what was written. */
  end(): void {
    if (this.#ending !== 'open' || this.#failure) return;
    this.#ending = 'asked';
    if (this.#writes.length === 0) this.#port.ready(this);
  }

  /** Ends both directions now and tells the other side why. */
  reset(code: number, text: string): void {
    if (this.#failure || this.#isOver()) return;
    this.#port.reset(code, text);
    this.#fail(new StreamReset(code, text));
  }

  /** Sets who is told, once, when either side resets the stream; at once if that has happened. */
  onReset(run: (why: StreamReset) => void): void {
    if (this.#failure) run(this.#failure);
    else this.#onReset = run;
  }

  // ---- reading

  /** The next bytes, or undefined at the end. One reader at a time. @throws StreamReset */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const next = this.#unread.shift();
      if (next) {
        this.#consume(next.bytes.length);
        return next.bytes;
      }
      if (this.#failure) throw this.#failure;
      if (this.#remoteEnded || this.#discarding) return undefined;
      await this.#arrival();
    }
  }

  /**
   * Hands what comes to `sink` as it comes, instead of to {@link read}: without a copy, if it can take it. Resolves at the
   * end; what the sink throws ends it too. @throws StreamReset
   */
  flow(sink: Sink): Promise<void> {
    return new Promise((done, failed) => {
      this.#flow = { sink, done, failed, busy: false };
      this.#flowOn();
    });
  }

  /** Nobody reads any more: what has come and will come is dropped, and a reader is told that this is the end. */
  discard(): void {
    if (this.#discarding) return;
    this.#discarding = true;
    for (const { bytes } of this.#unread.splice(0)) this.#consume(bytes.length);
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    let finished = false;
    try {
      for (let bytes = await this.read(); bytes; bytes = await this.read()) yield bytes;
      finished = true;
    } finally {
      if (!finished) this.reset(499, 'the reader went away');
    }
  }

  /** Resolves when bytes, the end or a reset have arrived, or had before. Never rejects. */
  async arrived(): Promise<void> {
    while (this.#unread.length === 0 && !this.#remoteEnded && !this.#failure) await this.#arrival();
  }

  #arrival(): Promise<void> {
    const before = this.#wake;
    return new Promise((resolve) => { this.#wake = () => { before?.(); resolve(); }; });
  }

  /** Hands over what waits, until the sink is busy; and says how it ended. */
  #flowOn(): void {
    const flow = this.#flow;
    if (!flow || flow.busy) return;
    for (let next = this.#unread.shift(); next; next = this.#unread.shift()) {
      const handed = this.#hand(flow, next.bytes);
      if (next.buffer) this.#giveBack(next.buffer);
      if (!handed || this.#flow !== flow) return;
    }
    if (!this.#failure && !this.#remoteEnded && !this.#discarding) return;
    this.#flow = undefined;
    if (this.#failure) flow.failed(this.#failure);
    else flow.done();
  }

  /** True if the sink takes more at once. */
  #hand(flow: Flow, bytes: Uint8Array): boolean {
    const { length } = bytes;
    const failed = (error: unknown): void => { this.#flow = undefined; flow.failed(error); };
    try {
      const held = flow.sink(bytes);
      if (!held) {
        this.#consume(length);
        return true;
      }
      flow.busy = true;
      held.then(() => {
        flow.busy = false;
        this.#consume(length);
        this.#flowOn();
      }, failed);
    } catch (error) {
      failed(error);
    }
    return false;
  }

  /** A copy, in a buffer that is used again if it is worth it. */
  #kept(bytes: Uint8Array): Unread {
    if (bytes.length < pooled.least || bytes.length > pooled.most) return { bytes: Buffer.from(bytes) };
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(pooled.most);
    buffer.set(bytes);
    return { bytes: buffer.subarray(0, bytes.length), buffer };
  }

  #giveBack(buffer: Buffer): void {
    if (this.#spare.length < maxSpare) this.#spare.push(buffer);
  }

  #consume(count: number): void {
    this.#consumed += count;
    if (this.#failure || this.#remoteEnded || this.#consumed < this.#window / 4) return;
    const more = this.#window < this.#mostWindow ? this.#port.widen(this.#mostWindow - this.#window) : 0;
    this.#window += more;
    this.#uncredited -= this.#consumed;
    this.#port.credit(this.#consumed + more);
    this.#consumed = 0;
  }

  // ---- called by the channel

  /** Whether a turn would send something. */
  get hasWork(): boolean {
    if (this.#failure) return false;
    return this.#writes.length > 0 ? this.#credit > 0 : this.#ending === 'asked';
  }

  /** The next bytes to send, at most `max` and the credit, good until {@link taken}; undefined if there are none to send now. */
  take(max: number): Uint8Array | undefined {
    const first = this.#writes[0];
    const count = Math.min(max, this.#credit, first?.bytes.length ?? 0);
    if (!first || count === 0) return undefined;
    this.#credit -= count;
    const chunk = first.bytes.subarray(0, count);
    first.bytes = first.bytes.subarray(count);
    if (first.bytes.length === 0) {
      this.#writes.shift();
      this.#leaving = first;
    }
    return chunk;
  }

  /** What {@link take} gave was copied. */
  taken(): void {
    const leaving = this.#leaving;
    this.#leaving = undefined;
    if (leaving?.buffer) this.#giveBack(leaving.buffer);
    leaving?.done();
  }

  /** True once, when all is written and the end is due. */
  takeEnd(): boolean {
    if (this.#ending !== 'asked' || this.#writes.length > 0) return false;
    this.#ending = 'sent';
    this.#closeIfOver();
    return true;
  }

  /** The bytes are good until this returns. */
  received(bytes: Uint8Array): void {
    if (this.#remoteEnded) throw new ProtocolError(`data after the end of stream ${this.id}`);
    this.#uncredited += bytes.length;
    if (this.#uncredited > this.#window) throw new ProtocolError(`stream ${this.id} sent more than its credit`);
    if (this.#discarding) return this.#consume(bytes.length);
    if (bytes.length === 0) return;
    const flow = this.#flow;
    if (flow && !flow.busy && this.#unread.length === 0) return void this.#hand(flow, bytes);
    this.#unread.push(flow ? this.#kept(bytes) : { bytes: Buffer.from(bytes) });
    this.#notify();
  }

  credited(count: number): void {
    this.#credit += count;
    if (this.#credit > this.#mostWindow) throw new ProtocolError(`stream ${this.id} was given more credit than it used`);
    if (this.hasWork) this.#port.ready(this);
  }

  receivedEnd(): void {
    this.#remoteEnded = true;
    this.#notify();
    this.#closeIfOver();
  }

  receivedReset(error: StreamReset): void {
    if (!this.#failure) this.#fail(error);
  }

  #isOver(): boolean {
    return this.#ending === 'sent' && this.#remoteEnded;
  }

  #closeIfOver(): void {
    if (this.#isOver()) this.#port.closed(this);
  }

  #fail(error: StreamReset): void {
    this.#failure = error;
    this.#onReset?.(error);
    for (const write of this.#writes.splice(0)) write.failed(error);
    this.#notify();
    this.#port.closed(this);
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
    this.#flowOn();
  }
}
