import type { Clock } from '../../shared/clock.ts';
import type { Balancer } from './balancer.ts';
import { Deadlines } from './deadlines.ts';
import type { Descriptors } from './descriptors.ts';
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
}

/** What a listener's connections need to know. */
export interface TcpTarget {
  readonly balancer: Balancer;
  /** A connection was refused because descriptors ran out. */
  shed(): void;
}

/** Running totals since the start. */
export interface TcpCounts { accepted: number; refused: number; failedConnects: number; shed: number }

/** Takes accepted connections to a backend of their listener and keeps them until they end. */
export class TcpForwarder {
  readonly counts: TcpCounts = { accepted: 0, refused: 0, failedConnects: 0, shed: 0 };
  readonly options: TcpForwarderOptions;
  readonly dials: Deadlines<Dial>;
  readonly #established = new Set<TcpForwarding>();

  constructor(options: TcpForwarderOptions) {
    this.options = options;
    this.dials = new Deadlines(options.clock, options.connectTimeoutMs, (dial) => dial.timedOut());
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

/** One client's way to a backend: tries another one when a connection fails or takes too long. */
class Dial {
  readonly #forwarder: TcpForwarder;
  readonly #client: TcpConnection;
  readonly #target: TcpTarget;
  readonly #address: string;
  #upstream: TcpConnection | undefined;
  #tried: Backend[] | undefined;
  #backend: Backend | undefined;

  constructor(forwarder: TcpForwarder, client: TcpConnection, target: TcpTarget) {
    this.#forwarder = forwarder;
    this.#client = client;
    this.#target = target;
    this.#address = target.balancer.sticky ? client.remoteAddress() : '';
  }

  next(): void {
    const { options, dials } = this.#forwarder;
    const enough = this.#tried !== undefined && this.#tried.length >= options.maxAttempts;
    const backend = enough ? undefined : this.#target.balancer.pick(this.#address, this.#tried);
    if (!backend) return this.giveUp();
    this.#backend = backend;
    this.#upstream = options.engine.connect(backend.address, backend.port, (error) => this.#done(error));
    dials.add(this);
  }

  timedOut(): void {
    this.#upstream?.reset();
    this.#failed();
  }

  giveUp(): void {
    this.#forwarder.dials.delete(this);
    this.#forwarder.counts.refused++;
    this.#forwarder.options.descriptors.give(2);
    this.#upstream?.reset();
    this.#client.reset();
  }

  #done(error?: NodeJS.ErrnoException): void {
    this.#forwarder.dials.delete(this);
    if (!error) return this.#forwarder.keep(this.#client, this.#upstream!);
    this.#upstream!.reset();
    if (!isExhaustion(error)) return this.#failed();
    this.#forwarder.counts.shed++;
    this.giveUp();
    this.#target.shed();
  }

  #failed(): void {
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
