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

interface Pending { bytes: Uint8Array; readonly done: () => void; readonly failed: (error: Error) => void }

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
  readonly #unread: Uint8Array[] = [];
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
      const bytes = this.#unread.shift();
      if (bytes) {
        this.#consume(bytes.length);
        return bytes;
      }
      if (this.#failure) throw this.#failure;
      if (this.#remoteEnded || this.#discarding) return undefined;
      await this.#arrival();
    }
  }

  /** Nobody reads any more: what has come and will come is dropped, and a reader is told that this is the end. */
  discard(): void {
    if (this.#discarding) return;
    this.#discarding = true;
    for (const bytes of this.#unread.splice(0)) this.#consume(bytes.length);
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

  /** The next bytes to send, at most `max` and the credit; undefined if there are none to send now. */
  take(max: number): Uint8Array | undefined {
    const first = this.#writes[0];
    const count = Math.min(max, this.#credit, first?.bytes.length ?? 0);
    if (!first || count === 0) return undefined;
    this.#credit -= count;
    const chunk = first.bytes.subarray(0, count);
    first.bytes = first.bytes.subarray(count);
    if (first.bytes.length === 0) {
      this.#writes.shift();
      first.done();
    }
    return chunk;
  }

  /** True once, when all is written and the end is due. */
  takeEnd(): boolean {
    if (this.#ending !== 'asked' || this.#writes.length > 0) return false;
    this.#ending = 'sent';
    this.#closeIfOver();
    return true;
  }

  received(bytes: Uint8Array): void {
    if (this.#remoteEnded) throw new ProtocolError(`data after the end of stream ${this.id}`);
    this.#uncredited += bytes.length;
    if (this.#uncredited > this.#window) throw new ProtocolError(`stream ${this.id} sent more than its credit`);
    if (this.#discarding) return this.#consume(bytes.length);
    if (bytes.length > 0) this.#unread.push(bytes);
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
  }
}
