import { connect, type TLSSocket } from 'node:tls';

/** What a load client needs to speak to a master. All PEM. */
export interface Target { readonly host: string; readonly port: number; readonly ca: string; readonly cert: string; readonly key: string }

export interface Answer { readonly status: number; readonly body: Buffer }

/** Opens a TLS connection as the target's client certificate. */
export function connectTo({ host, port, ca, cert, key }: Target): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, ca, cert, key });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** Receives the pieces of an answer's body as they come, without its chunks' heads and tails. */
export type OnBody = (piece: Buffer) => void;

/** Where the reader of an answer is. `size` and `tail` wait for the rest of a line that belongs to the chunks. */
type Phase = 'head' | 'body' | 'size' | 'chunk' | 'tail';

/**
 * Reads HTTP/1.1 answers off a connection, piece by piece and without joining anything, so that a list of many megabytes
 * and a watch without end cost the generator next to nothing.
 */
export class AnswerReader {
  /** Of the answer that is being read. */
  status = 0;
  #phase: Phase = 'head';
  #left = 0;
  #line = '';
  readonly #onBody: OnBody;
  readonly #onEnd: () => void;

  constructor(onBody: OnBody, onEnd: () => void) {
    this.#onBody = onBody;
    this.#onEnd = onEnd;
  }

  read(piece: Buffer): void {
    for (let at = 0; at < piece.length;) at = this.#phase === 'body' || this.#phase === 'chunk' ? this.#readBody(piece, at) : this.#readLine(piece, at);
  }

  #readBody(piece: Buffer, at: number): number {
    const end = Math.min(piece.length, at + this.#left);
    this.#left -= end - at;
    this.#onBody(at === 0 && end === piece.length ? piece : piece.subarray(at, end));
    if (this.#left === 0 && this.#phase === 'body') this.#end();
    else if (this.#left === 0) this.#next('tail');
    return end;
  }

  /** Takes the rest of a head, or of a line about chunks; what it ends with may come in two pieces. */
  #readLine(piece: Buffer, at: number): number {
    const mark = this.#phase === 'head' ? '\r\n\r\n' : '\r\n';
    const before = this.#line.length;
    const text = this.#line + piece.toString('latin1', at, Math.min(piece.length, at + (this.#phase === 'head' ? 2048 : 16)));
    const end = text.indexOf(mark);
    if (end < 0) {
      this.#line = text;
      return at + text.length - before;
    }
    this.#line = '';
    this.#begin(text.slice(0, end));
    return at + end + mark.length - before;
  }

  #begin(line: string): void {
    if (this.#phase === 'head') this.#readHead(line);
    else if (this.#phase === 'tail' && this.#left < 0) this.#end();
    else if (this.#phase === 'tail') this.#next('size');
    else if ((this.#left = Number.parseInt(line, 16)) > 0) this.#phase = 'chunk';
    else { this.#left = -1; this.#phase = 'tail'; }
  }

  #readHead(head: string): void {
    this.status = Number(head.slice(9, 12));
    const length = /content-length: *(\d+)/i.exec(head)?.[1];
    this.#left = Number(length ?? 0);
    if (length === undefined) this.#next('size');
    else if (this.#left === 0) this.#end();
    else this.#phase = 'body';
  }

  #next(phase: Phase): void {
    this.#phase = phase;
    this.#left = 0;
  }

  #end(): void {
    this.#next('head');
    this.#onEnd();
  }
}

/**
 * One keep-alive HTTP/1.1 connection over TLS, one request at a time: as little client as possible, so that the server
 * is what gets measured.
 */
export class Connection {
  readonly #socket: TLSSocket;
  readonly #reader = new AnswerReader((piece) => this.#pieces.push(piece), () => this.#finish());
  #pieces: Buffer[] = [];
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (piece: Buffer) => this.#reader.read(piece));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  static async open(target: Target): Promise<Connection> {
    return new Connection(await connectTo(target));
  }

  request(method: string, path: string, body: string | undefined = undefined, accept = 'application/json'): Promise<Answer> {
    const length = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
    return new Promise((resolve, reject) => {
      if (this.#failure) return void reject(this.#failure);
      this.#waiting = { resolve, reject };
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nhost: bench\r\naccept: ${accept}\r\n${length}\r\n${body ?? ''}`);
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  /** Also for requests to come: they would wait for ever. */
  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }

  #finish(): void {
    const pieces = this.#pieces;
    const waiting = this.#waiting;
    this.#pieces = [];
    this.#waiting = undefined;
    waiting?.resolve({ status: this.#reader.status, body: pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces) });
  }
}

/** Runs `work` on `width` lanes for `durationMs`; returns completions per second. */
export async function rate(width: number, durationMs: number, work: (lane: number, turn: number) => Promise<void>): Promise<number> {
  const started = performance.now();
  let done = 0;
  await Promise.all(Array.from({ length: width }, async (_, lane) => {
    for (let turn = 0; performance.now() - started < durationMs; turn++) {
      await work(lane, turn);
      done++;
    }
  }));
  return done / ((performance.now() - started) / 1000);
}
