import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Clock } from '../../shared/clock.ts';
import type { Balancer } from './balancer.ts';
import type { Descriptors } from './descriptors.ts';
import type { Backend } from './routes.ts';

export interface UdpOptions {
  readonly clock: Clock;
  readonly descriptors: Descriptors;
  /** How long a flow that was never answered, or carried one packet only, lives without a packet. */
  readonly newFlowIdleMs: number;
  /** How long any other flow lives without a packet. */
  readonly flowIdleMs: number;
  /** Per listener; the one that is idle longest makes room. */
  readonly maxFlows: number;
}

/** What a listener's flows need to know. */
export interface UdpTarget {
  readonly balancer: Balancer;
  /** A packet was dropped because descriptors ran out. */
  shed(): void;
  /** The listening socket failed and is closed. */
  failed(error: NodeJS.ErrnoException): void;
}

/** Asked of the kernel, which gives what `net.core.rmem_max` and `wmem_max` allow. */
const bufferBytes = 4 << 20;
const sweepMs = 5_000;
/** Packets that a flow holds while its socket is being connected: one event-loop turn. */
const maxWaiting = 64;

/** Addresses here are numbers already; Node's own lookup would cost a turn of the event loop per packet. */
const lookup: NonNullable<Parameters<typeof createSocket>[0]['lookup']> = (address, _options, done) => done(null, address, isIPv6(address) ? 6 : 4);

/**
 * One UDP listener and its flows: a connected socket to a backend for each client, so that replies find their way
 * and a dead backend answers with an error. The listener is bound to the service's own address, from which replies
 * are then sent.
 */
export class UdpListener {
  readonly #options: UdpOptions;
  readonly #target: UdpTarget;
  readonly #flows = new Map<string, Flow>();
  readonly #socket: Socket;
  #cancel: (() => void) | undefined;
  #tick = 0;

  private constructor(options: UdpOptions, target: UdpTarget, socket: Socket) {
    this.#options = options;
    this.#target = target;
    this.#socket = socket;
  }

  /** @throws an error with `code` (EADDRINUSE, EADDRNOTAVAIL, EACCES, EMFILE, …) when it cannot bind */
  static async open(address: string, port: number, options: UdpOptions, target: UdpTarget): Promise<UdpListener> {
    // Lets a listener on one address stand beside one on the wildcard; the more specific one gets the packets.
    const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', reuseAddr: true, ipv6Only: isIPv6(address), lookup, recvBufferSize: bufferBytes, sendBufferSize: bufferBytes });
    const listener = new UdpListener(options, target, socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => { closeQuietly(socket); reject(error); }).bind({ address, port, exclusive: true }, resolve);
    });
    socket.removeAllListeners('error').on('error', (error) => { listener.close(); target.failed(error); });
    socket.on('message', (packet, from) => listener.#receive(packet, from));
    return listener;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  get flows(): number {
    return this.#flows.size;
  }

  /** Drops the flows to backends that the balancer no longer has: their clients' next packet goes elsewhere. */
  dropRemoved(): void {
    for (const flow of [...this.#flows.values()]) if (!this.#target.balancer.has(flow.backend)) this.#drop(flow);
  }

  close(): void {
    this.#cancel?.();
    for (const flow of [...this.#flows.values()]) this.#drop(flow);
    closeQuietly(this.#socket);
  }

  #receive(packet: Buffer, from: RemoteInfo): void {
    const key = `${from.address}:${from.port}`;
    const flow = this.#flows.get(key) ?? this.#start(key, from);
    if (!flow) return;
    flow.tick = this.#tick;
    flow.sent++;
    if (!flow.waiting) flow.socket.send(packet);
    else if (flow.waiting.length < maxWaiting) flow.waiting.push(packet);
  }

  #start(key: string, from: RemoteInfo): Flow | undefined {
    const backend = this.#target.balancer.pick(from.address);
    if (!backend) return undefined;
    if (this.#flows.size >= this.#options.maxFlows || !this.#options.descriptors.take(1)) {
      this.#evict();
      if (!this.#options.descriptors.take(1)) {
        this.#target.shed();
        return undefined;
      }
    }
    const flow = new Flow(key, from, backend);
    this.#flows.set(key, flow);
    this.#connect(flow);
    this.#arm();
    return flow;
  }

  #connect(flow: Flow): void {
    const { socket, backend } = flow;
    socket.on('error', (error) => this.#backendFailed(flow, error));
    socket.on('message', (packet) => {
      flow.tick = this.#tick;
      flow.received++;
      this.#socket.send(packet, flow.from.port, flow.from.address);
    });
    socket.connect(backend.port, backend.address, (error?: Error) => {
      if (error) return this.#backendFailed(flow, error);
      const waiting = flow.waiting ?? [];
      flow.waiting = undefined;
      for (const packet of waiting) socket.send(packet);
    });
  }

  /** Nobody listens there, or no way leads there: the client's next packet tries another backend. */
  #backendFailed(flow: Flow, error: NodeJS.ErrnoException): void {
    if (!this.#drop(flow)) return;
    if (error.code === 'EMFILE' || error.code === 'ENFILE') this.#target.shed();
    else if (error.code !== 'EMSGSIZE') this.#target.balancer.failed(flow.backend);
  }

  /** Makes room for one: the idlest of the oldest flows. */
  #evict(): void {
    let idlest: Flow | undefined;
    let seen = 0;
    for (const flow of this.#flows.values()) {
      if (!idlest || flow.tick < idlest.tick) idlest = flow;
      if (++seen === 16) break;
    }
    if (idlest) this.#drop(idlest);
  }

  #drop(flow: Flow): boolean {
    if (this.#flows.get(flow.key) !== flow) return false;
    this.#flows.delete(flow.key);
    this.#options.descriptors.give(1);
    closeQuietly(flow.socket);
    return true;
  }

  /** Packets only note the tick, so that none has to touch a timer. */
  #arm(): void {
    this.#cancel ??= this.#options.clock.after(sweepMs, () => this.#sweep());
  }

  #sweep(): void {
    this.#cancel = undefined;
    this.#tick++;
    for (const flow of [...this.#flows.values()]) {
      const limitMs = flow.sent > 1 && flow.received > 0 ? this.#options.flowIdleMs : this.#options.newFlowIdleMs;
      if ((this.#tick - flow.tick) * sweepMs > limitMs) this.#drop(flow);
    }
    if (this.#flows.size > 0) this.#arm();
  }
}

class Flow {
  readonly key: string;
  readonly from: RemoteInfo;
  readonly backend: Backend;
  readonly socket: Socket;
  /** Packets that came before the socket was connected; undefined afterwards. */
  waiting: Buffer[] | undefined = [];
  tick = 0;
  sent = 0;
  received = 0;

  constructor(key: string, from: RemoteInfo, backend: Backend) {
    this.key = key;
    this.from = from;
    this.backend = backend;
    this.socket = createSocket({ type: isIPv6(backend.address) ? 'udp6' : 'udp4', lookup, recvBufferSize: bufferBytes, sendBufferSize: bufferBytes });
  }
}

/** Closing a socket that is closed throws. */
function closeQuietly(socket: Socket): void {
  socket.on('error', () => {});
  try {
    socket.close();
  } catch {
    // Closed already.
  }
}
