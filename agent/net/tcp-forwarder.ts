import type { Clock } from '../../shared/clock.ts';
import type { Balancer } from './balancer.ts';
import { Deadlines } from './deadlines.ts';
import type { Descriptors } from './descriptors.ts';
import type { Reach } from './reach.ts';
import { RelayedConnection, type OpenRelay } from './relay.ts';
import type { Backend } from './routes.ts';
import type { TcpConnection, TcpEngine, TcpForwarding } from './tcp.ts';

export interface TcpForwarderOptions {
  readonly engine: TcpEngine;
  readonly clock: Clock;
  readonly descriptors: Descriptors;
  /** How long one backend may take to accept. */
  readonly connectTimeoutMs: number;
  /** Backends to try for one connection. */
  readonly maxAttempts: number;
  /** Ways through the master to pods of other nodes; without them, all is dialled straight. */
  readonly relays?: Relays | undefined;
}

export interface Relays {
  readonly reach: Reach;
  /** Whether there is a master to ask. */
  readonly linked: () => boolean;
  readonly open: OpenRelay;
  /** How long a straight way may take before the master is asked besides. Default 300 ms. */
  readonly headStartMs?: number;
}

/** What a listener's connections need to know. */
export interface TcpTarget {
  readonly balancer: Balancer;
  /** A connection was refused because descriptors ran out. */
  shed(): void;
}

/** Running totals since the start. */
export interface TcpCounts { accepted: number; refused: number; failedConnects: number; shed: number; relayed: number }

/** Takes accepted connections to a backend of their listener and keeps them until they end. */
export class TcpForwarder {
  readonly counts: TcpCounts = { accepted: 0, refused: 0, failedConnects: 0, shed: 0, relayed: 0 };
  readonly options: TcpForwarderOptions;
  readonly dials: Deadlines<Dial>;
  readonly headStarts: Deadlines<Dial>;
  readonly #established = new Set<TcpForwarding>();

  constructor(options: TcpForwarderOptions) {
    this.options = options;
    this.dials = new Deadlines(options.clock, options.connectTimeoutMs, (dial) => dial.timedOut());
    this.headStarts = new Deadlines(options.clock, options.relays?.headStartMs ?? 300, (dial) => dial.askMaster());
  }

  get established(): number {
    return this.#established.size;
  }

  accept(client: TcpConnection, target: TcpTarget): void {
    this.counts.accepted++;
    if (this.options.descriptors.take(2)) return new Dial(this, client, target).next();
    this.counts.shed++;
    client.reset();
    target.shed();
  }

  keep(client: TcpConnection, upstream: TcpConnection): void {
    this.#established.add(this.options.engine.forward(client, upstream, this.#ended));
  }

  keepRelayed(client: TcpConnection, relayed: RelayedConnection): void {
    this.counts.relayed++;
    this.#established.add(relayed.forward(client, this.#ended));
  }

  readonly #ended = (forwarding: TcpForwarding): void => {
    this.#established.delete(forwarding);
    this.options.descriptors.give(2);
  };

  /** Resets everything, established or not. */
  destroy(): void {
    for (const dial of [...this.dials.items]) dial.giveUp();
    for (const forwarding of [...this.#established]) forwarding.destroy();
  }
}

/**
 * One client's way to a backend: straight, through the master, or whichever is there first; tries another backend when
 * all ways fail or take too long.
 */
class Dial {
  readonly #forwarder: TcpForwarder;
  readonly #client: TcpConnection;
  readonly #target: TcpTarget;
  readonly #address: string;
  #direct: TcpConnection | undefined;
  #relayed: RelayedConnection | undefined;
  /** The master has been asked for this backend, or cannot be. */
  #asked = false;
  #tried: Backend[] | undefined;
  #backend: Backend | undefined;

  constructor(forwarder: TcpForwarder, client: TcpConnection, target: TcpTarget) {
    this.#forwarder = forwarder;
    this.#client = client;
    this.#target = target;
    this.#address = target.balancer.sticky ? client.remoteAddress() : '';
  }

  next(): void {
    const { options, dials, headStarts } = this.#forwarder;
    const enough = this.#tried !== undefined && this.#tried.length >= options.maxAttempts;
    const backend = enough ? undefined : this.#target.balancer.pick(this.#address, this.#tried);
    if (!backend) return this.giveUp();
    this.#backend = backend;
    const way = options.relays?.reach.way(backend, options.relays.linked()) ?? 'direct';
    this.#asked = way === 'direct';
    dials.add(this);
    if (way === 'relay') return this.askMaster();
    if (way === 'race') headStarts.add(this);
    this.#direct = options.engine.connect(backend.address, backend.port, (error) => this.#directDone(error));
  }

  /** The straight way is closed, or takes longer than its head start. */
  askMaster(): void {
    const { relays } = this.#forwarder.options;
    this.#forwarder.headStarts.delete(this);
    if (this.#asked || !relays) return;
    this.#asked = true;
    try {
      this.#relayed = new RelayedConnection(relays.open, this.#backend!, (error) => this.#relayDone(error));
    } catch {
      if (!this.#direct) queueMicrotask(() => { if (!this.#direct && !this.#relayed) this.#failed(); });
    }
  }

  timedOut(): void {
    this.#failed();
  }

  giveUp(): void {
    this.#clear();
    this.#forwarder.counts.refused++;
    this.#forwarder.options.descriptors.give(2);
    this.#client.reset();
  }

  #directDone(error?: NodeJS.ErrnoException): void {
    const direct = this.#direct!;
    this.#direct = undefined;
    if (!error) {
      this.#clear();
      this.#forwarder.options.relays?.reach.connected(this.#backend!, 'direct');
      return this.#forwarder.keep(this.#client, direct);
    }
    direct.reset();
    if (isExhaustion(error)) {
      this.#forwarder.counts.shed++;
      this.giveUp();
      return this.#target.shed();
    }
    this.askMaster();
    if (!this.#relayed) this.#failed();
  }

  #relayDone(error?: Error): void {
    const relayed = this.#relayed!;
    this.#relayed = undefined;
    if (error) return this.#direct ? undefined : this.#failed();
    this.#clear();
    this.#forwarder.options.relays!.reach.connected(this.#backend!, 'relay');
    this.#forwarder.keepRelayed(this.#client, relayed);
  }

  /** What is still under way is of no use any more. */
  #clear(): void {
    this.#forwarder.dials.delete(this);
    this.#forwarder.headStarts.delete(this);
    this.#direct?.reset();
    this.#relayed?.reset();
    this.#direct = this.#relayed = undefined;
    this.#asked = true;
  }

  #failed(): void {
    this.#clear();
    this.#forwarder.counts.failedConnects++;
    this.#target.balancer.failed(this.#backend!);
    (this.#tried ??= []).push(this.#backend!);
    this.next();
  }
}

/** The host's or the process's want, not the backend's fault. */
export function isExhaustion(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EMFILE' || error.code === 'ENFILE' || error.code === 'ENOBUFS' || error.code === 'ENOMEM';
}
