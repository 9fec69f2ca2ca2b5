import type { Duplex } from 'node:stream';
import { dataHead, pingFrame, rstStreamFrame, SpdyParser, synStreamFrame, type SpdyEvent } from '../../master/api/spdy/frames.ts';
import { HeaderCodec } from '../../master/api/spdy/headers.ts';

/** A client's end of SPDY/3.1, as far as tests need it: it opens streams and notes what it gets. */
export class SpdyClient {
  readonly #socket: Duplex;
  readonly #codec = new HeaderCodec();
  readonly #events: SpdyEvent[] = [];
  #nextId = 1;
  #wake = (): void => {};
  /** The server closed the connection. */
  closed = false;
  /** Splits what is sent into chunks. */
  cut: (bytes: Uint8Array) => Iterable<Uint8Array> = (bytes) => [bytes];

  constructor(socket: Duplex, head: Uint8Array = new Uint8Array(0)) {
    this.#socket = socket;
    const parser = new SpdyParser();
    const take = (chunk: Uint8Array): void => { this.#events.push(...parser.push(Uint8Array.from(chunk))); this.#wake(); };
    take(head);
    socket.on('data', take);
    socket.on('close', () => { this.closed = true; this.#wake(); });
    socket.on('error', () => {});
  }

  async open(headers: Readonly<Record<string, string>>, fin = false): Promise<number> {
    const id = this.#nextId;
    this.#nextId += 2;
    this.#send(synStreamFrame(id, await this.#codec.pack(new Map(Object.entries(headers))), fin));
    return id;
  }

  write(id: number, text: string | Uint8Array, fin = false): void {
    const bytes = Buffer.from(text as Uint8Array);
    this.#send(Buffer.concat([dataHead(id, bytes.length, fin), bytes]));
  }

  reset(id: number): void {
    this.#send(rstStreamFrame(id, 5));
  }

  ping(id: number): void {
    this.#send(pingFrame(id));
  }

  raw(bytes: Uint8Array): void {
    this.#send(bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Resolves when `found` gives something for what has come so far. */
  async until<T>(found: (events: readonly SpdyEvent[]) => T | undefined | false, timeoutMs = 10_000): Promise<T> {
    const late = Date.now() + timeoutMs;
    for (;;) {
      const value = found(this.#events);
      if (value !== undefined && value !== false) return value;
      if (Date.now() > late || this.closed) throw new Error(`not found${this.closed ? ', and the connection is closed' : ''}: ${JSON.stringify(this.#events.map(({ type }) => type))}`);
      await new Promise<void>((resolve) => { this.#wake = resolve; setTimeout(resolve, 200); });
    }
  }

  /** Everything that came on a stream, once the server has ended it. */
  async whole(id: number): Promise<string> {
    const parts = await this.until((events) => events.some((event) => event.type === 'data' && event.id === id && event.fin) && this.#data(id));
    return Buffer.concat(parts).toString();
  }

  #data(id: number): Uint8Array[] {
    return this.#events.flatMap((event) => (event.type === 'data' && event.id === id ? [event.bytes] : []));
  }

  #send(bytes: Uint8Array): void {
    for (const chunk of this.cut(bytes)) this.#socket.write(chunk);
  }
}
