import { connect, type TLSSocket } from 'node:tls';

/** What a load client needs to speak to a master. All PEM. */
export interface Target { readonly host: string; readonly port: number; readonly ca: string; readonly cert: string; readonly key: string }

export interface Answer { readonly status: number; readonly body: Buffer }

/**
 * One keep-alive HTTP/1.1 connection over TLS, one request at a time: as little client as possible, so that the server
 * is what gets measured.
 */
export class Connection {
  readonly #socket: TLSSocket;
  #buffer: Buffer[] = [];
  #size = 0;
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => { this.#buffer.push(chunk); this.#size += chunk.length; this.#tryFinish(); });
    socket.on('error', (error) => this.#waiting?.reject(error));
    socket.on('close', () => this.#waiting?.reject(new Error('connection closed')));
  }

  static open({ host, port, ca, cert, key }: Target): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, ca, cert, key, noDelay: true } as Parameters<typeof connect>[0] & object, () => resolve(new Connection(socket)));
      socket.once('error', reject);
    });
  }

  request(method: string, path: string, body: string | undefined = undefined, accept = 'application/json'): Promise<Answer> {
    const length = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nhost: bench\r\naccept: ${accept}\r\n${length}\r\n${body ?? ''}`);
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #tryFinish(): void {
    // Joined only when an end is possible: a large list arrives in thousands of pieces.
    const first = this.#buffer[0]!;
    const head = this.#buffer.length === 1 ? first.indexOf('\r\n\r\n') : (first.indexOf('\r\n\r\n') >= 0 ? first.indexOf('\r\n\r\n') : -1);
    if (head < 0) { this.#buffer = [Buffer.concat(this.#buffer)]; if (this.#buffer[0]!.indexOf('\r\n\r\n') < 0) return; this.#tryFinish(); return; }
    const headers = first.subarray(0, head).toString('latin1');
    const length = /content-length: (\d+)/i.exec(headers)?.[1];
    if (length !== undefined) {
      if (this.#size >= head + 4 + Number(length)) this.#finish(headers, head + 4);
      return;
    }
    const last = this.#buffer[this.#buffer.length - 1]!;
    if (last.subarray(-5).toString('latin1') === '0\r\n\r\n' || (last.length < 5 && Buffer.concat(this.#buffer).subarray(-5).toString('latin1') === '0\r\n\r\n')) this.#finish(headers, head + 4);
  }

  #finish(headers: string, start: number): void {
    const body = Buffer.concat(this.#buffer).subarray(start);
    this.#buffer = [];
    this.#size = 0;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ status: Number(headers.slice(9, 12)), body });
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
