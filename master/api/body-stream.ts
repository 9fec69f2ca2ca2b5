import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { constants, createGzip, type Gzip } from 'node:zlib';
import type { Exchange } from './exchange.ts';
import { answerHeaders } from './headers.ts';
import { Slab } from './slab.ts';

/** Bytes gathered before they are written. */
const slabBytes = 128 * 1024;

/** Longest stretch of work on one answer before others get their turn. */
const sliceMs = 8;

/** Pieces looked at between two looks at the clock. */
const piecesPerLook = 16;

/**
 * The body of an answer of any size, written in slabs with back-pressure. A body that fits into one slab is sent with
 * its length; a longer one goes out in chunks, compressed (on another thread) when the client takes that.
 */
export class BodyStream {
  /** Size from which answers are compressed, as the apiserver's. */
  static readonly compressFrom = slabBytes;

  readonly #x: Exchange;
  readonly #code: number;
  readonly #contentType: string;
  #slab = new Slab();
  /** One that is written and can be filled again. */
  #spare: Slab | undefined;
  #gzip: Gzip | undefined;
  /** The connection, where chunks may go to it ready-made, which spares a copy of every one. */
  #socket: Socket | undefined;
  #started = false;
  #blocked = false;
  #looks = 0;
  #since = performance.now();

  constructor(x: Exchange, code: number, contentType = 'application/json') {
    this.#x = x;
    this.#code = code;
    this.#contentType = contentType;
  }

  static compresses(x: Exchange): boolean {
    return /\bgzip\b/.test(x.header('accept-encoding'));
  }

  /** True once the client is gone: nobody reads what is pushed. */
  get closed(): boolean {
    return this.#x.res.destroyed;
  }

  /** Takes a copy of a piece. */
  push(piece: Uint8Array): void {
    this.#slab.push(piece);
    if (this.#slab.size >= slabBytes) this.#flush();
  }

  /** True when the producer should {@link pause}: the client reads slowly, or others have waited long enough. */
  get due(): boolean {
    if (this.#blocked) return true;
    return ++this.#looks % piecesPerLook === 0 && performance.now() - this.#since > sliceMs;
  }

  /** Lets others run, and waits until the client has room or is gone. */
  async pause(): Promise<void> {
    await nextTurn();
    if (this.#blocked && !this.closed) await this.#drained();
    this.#since = performance.now();
  }

  end(): void {
    const { res } = this.#x;
    if (this.#started) {
      this.#flush();
      if (this.#gzip) this.#gzip.end();
      else res.end();
      return;
    }
    const headers = answerHeaders(this.#x, this.#contentType);
    headers.push('Content-Length', String(this.#slab.size));
    res.writeHead(this.#code, headers);
    res.end(this.#slab.bytes);
  }

  #flush(): void {
    if (!this.#started) this.#start();
    const slab = this.#slab;
    if (slab.size === 0) return;
    this.#slab = this.#spare ?? new Slab(slabBytes + slabBytes / 8);
    this.#spare = undefined;
    this.#blocked = !this.#target.write(this.#socket ? slab.chunk : slab.bytes, () => {
      slab.clear();
      this.#spare = slab;
    });
  }

  get #target(): Writable {
    return this.#gzip ?? this.#socket ?? this.#x.res;
  }

  #start(): void {
    this.#started = true;
    const headers = answerHeaders(this.#x, this.#contentType);
    const { res } = this.#x;
    if (BodyStream.compresses(this.#x)) {
      headers.push('Content-Encoding', 'gzip', 'Vary', 'Accept-Encoding');
      this.#gzip = createGzip({ level: constants.Z_BEST_SPEED, chunkSize: slabBytes / 2 });
      this.#gzip.pipe(res);
      res.once('close', () => this.#gzip?.destroy());
    }
    res.writeHead(this.#code, headers);
    if (this.#gzip || this.#x.method === 'HEAD') return;
    res.flushHeaders();
    // No connection yet: an answer before this one is still on its way.
    if (res.socket && res.chunkedEncoding) this.#socket = res.socket;
  }

  #drained(): Promise<void> {
    const target = this.#target;
    if (!target.writableNeedDrain) {
      this.#blocked = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const done = (): void => {
        target.off('drain', done);
        this.#x.res.off('close', done);
        this.#blocked = false;
        resolve();
      };
      target.once('drain', done);
      this.#x.res.once('close', done);
    });
  }
}
