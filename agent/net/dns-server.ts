import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { framed, MessageReader } from './dns-stream.ts';

export interface DnsServerOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly port: number;
  /** What to answer, if anything. Must not throw. */
  readonly answer: (message: Buffer, transport: 'udp' | 'tcp') => Buffer | undefined | Promise<Buffer | undefined>;
  /** A socket cannot be opened: called once until it is well again or fails otherwise. `socket` is `UDP/10.96.0.10:53`. */
  readonly onProblem?: (socket: string, error: NodeJS.ErrnoException) => void;
}

const firstRetryMs = 1_000;
const maxRetryMs = 30_000;
const socketBufferBytes = 1 << 20;
const idleConnectionMs = 10_000;
const maxConnections = 256;
/** Questions of one connection that are being answered; more are read when some are. */
const maxPerConnection = 64;

type Protocol = 'UDP' | 'TCP';
interface Open { close(): void }

/** Holds a UDP and a TCP socket open at one address, and tries again for as long as one cannot be. */
export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #open = new Map<Protocol, Open>();
  readonly #reported = new Map<Protocol, string>();
  #address: string | undefined;
  #wake = new AbortController();

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /** `UDP/10.96.0.10:53` for each socket that is open. */
  get listening(): string[] {
    return [...this.#open.keys()].map((protocol) => this.#nameOf(protocol));
  }

  /** The address to serve at from now on. */
  listen(address: string): void {
    if (address === this.#address) return;
    this.#address = address;
    this.#closeAll();
    this.retry();
  }

  retry(): void {
    this.#wake.abort();
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all((['UDP', 'TCP'] as const).map((protocol) => this.#keepOpen(protocol, signal)));
    this.#closeAll();
  }

  async #keepOpen(protocol: Protocol, signal: AbortSignal): Promise<void> {
    for (let attempts = 0; !signal.aborted;) {
      if (this.#wake.signal.aborted) this.#wake = new AbortController();
      const woken = this.#wake.signal;
      const well = this.#address === undefined || this.#open.has(protocol) || await this.#tryOpen(protocol, this.#address);
      attempts = well ? 0 : attempts + 1;
      const ms = well ? 2 ** 31 - 1 : Math.min(maxRetryMs, firstRetryMs * 2 ** (attempts - 1));
      await sleep(this.#options.clock, ms, AbortSignal.any([signal, woken]));
      if (woken.aborted) attempts = 0;
    }
  }

  async #tryOpen(protocol: Protocol, address: string): Promise<boolean> {
    const { log, port, onProblem } = this.#options;
    const name = this.#nameOf(protocol);
    const failed = (error: NodeJS.ErrnoException): void => {
      this.#open.get(protocol)?.close();
      this.#open.delete(protocol);
      const code = error.code ?? error.message;
      if (this.#reported.get(protocol) !== code) onProblem?.(name, explained(name, error));
      this.#reported.set(protocol, code);
      log.debug('cannot serve DNS', { socket: name, error });
    };
    try {
      const open = await (protocol === 'UDP' ? this.#openUdp(address, port, failed) : this.#openTcp(address, port, failed));
      if (address !== this.#address) { open.close(); return false; }
      this.#open.set(protocol, open);
      log.info('serving DNS', { socket: name });
      this.#reported.delete(protocol);
      return true;
    } catch (error) {
      failed(error as NodeJS.ErrnoException);
      return false;
    }
  }

  async #openUdp(address: string, port: number, failed: (error: NodeJS.ErrnoException) => void): Promise<Open> {
    // Beside a server on the wildcard address, which must allow it: this one gets the packets, as it says more exactly where.
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', reuseAddr: true, recvBufferSize: socketBufferBytes, sendBufferSize: socketBufferBytes });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => { socket.on('error', () => {}); try { socket.close(); } catch { /* Closed already. */ } reject(error); });
      socket.bind({ address, port, exclusive: true }, resolve);
    });
    const close = (): void => { socket.removeAllListeners('message'); socket.on('error', () => {}); try { socket.close(); } catch { /* Closed already. */ } };
    socket.removeAllListeners('error').on('error', (error) => { failed(error); this.retry(); });
    socket.on('message', (message, { address: to, port: at }) => {
      const send = (bytes: Buffer | undefined): void => {
        // Its client may be gone, or the socket closed meanwhile; neither is anybody's to mend.
        try { if (bytes) socket.send(bytes, at, to, () => {}); } catch { /* Closed. */ }
      };
      const answer = this.#options.answer(message, 'udp');
      if (answer instanceof Promise) void answer.then(send);
      else send(answer);
    });
    return { close };
  }

  async #openTcp(address: string, port: number, failed: (error: NodeJS.ErrnoException) => void): Promise<Open> {
    const connections = new Set<Socket>();
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      connections.add(socket);
      socket.on('close', () => connections.delete(socket));
      serveConnection(socket, this.#options.answer);
    });
    server.maxConnections = maxConnections;
    await new Promise<void>((resolve, reject) => { server.once('error', reject).listen({ host: address, port, exclusive: true }, resolve); });
    server.removeAllListeners('error').on('error', (error) => { failed(error); this.retry(); });
    return { close: () => { server.close(); for (const socket of connections) socket.destroy(); } };
  }

  #closeAll(): void {
    for (const open of this.#open.values()) open.close();
    this.#open.clear();
  }

  #nameOf(protocol: Protocol): string {
    return `${protocol}/${this.#address ?? ''}:${this.#options.port}`;
  }
}

/** Answers the questions of one connection, each when it can be; the client may end its side and still gets them. */
function serveConnection(socket: Socket, answer: DnsServerOptions['answer']): void {
  const reader = new MessageReader();
  let waiting = 0;
  let ended = false;
  socket.setTimeout(idleConnectionMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  const send = (bytes: Buffer | undefined): void => {
    waiting--;
    if (bytes && socket.writable) socket.write(framed(bytes));
    if (ended && waiting === 0) socket.end();
    if (waiting < maxPerConnection && !socket.writableNeedDrain) socket.resume();
  };
  socket.on('drain', () => socket.resume());
  socket.on('end', () => { ended = true; if (waiting === 0) socket.end(); });
  socket.on('data', (chunk: Buffer) => {
    for (const message of reader.push(chunk)) {
      waiting++;
      const made = answer(message, 'tcp');
      if (made instanceof Promise) void made.then(send);
      else send(made);
    }
    if (waiting >= maxPerConnection || socket.writableNeedDrain) socket.pause();
  });
}

function explained(socket: string, error: NodeJS.ErrnoException): NodeJS.ErrnoException {
  const why = error.code === 'EADDRINUSE' ? 'the port is already taken on this node, by a DNS server that listens on all addresses: let it listen on its own'
    : error.code === 'EADDRNOTAVAIL' ? 'the address is not local to this node: the route for the service range is missing'
      : error.code === 'EACCES' ? 'ports below 1024 need root or CAP_NET_BIND_SERVICE' : error.message;
  return Object.assign(new Error(`cannot serve cluster DNS on ${socket}: ${why}`, { cause: error }), error.code === undefined ? {} : { code: error.code });
}
