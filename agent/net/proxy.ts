import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { Balancer } from './balancer.ts';
import { Descriptors, proxyDescriptors } from './descriptors.ts';
import { ListenerSlot } from './listener-slot.ts';
import type { OpenListener } from './listener-slot.ts';
import { listenerKey } from './routes.ts';
import type { Listener } from './routes.ts';
import { isExhaustion, TcpForwarder, type Relays } from './tcp-forwarder.ts';
import type { TcpEngine } from './tcp.ts';
import { UdpListener } from './udp.ts';

export interface ProxyOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly tcp: TcpEngine;
  /**
   * A listener cannot be opened, or sheds load (EMFILE): called once until it is well again or fails otherwise. The
   * error has `code` and a text for users.
   */
  readonly onProblem?: (listener: Listener, error: NodeJS.ErrnoException) => void;
  /** File descriptors that the proxy may use; by default what the process's limit leaves. */
  readonly maxDescriptors?: number;
  /** How long one backend may take to accept a connection; 3 s by default. */
  readonly connectTimeoutMs?: number;
  /** Backends to try for one connection; 4 by default. */
  readonly maxAttempts?: number;
  /** Ways to pods of other nodes through the master. */
  readonly relays?: Relays;
  /** 30 s by default; see `UdpOptions`. */
  readonly newFlowIdleMs?: number;
  /** 120 s by default. */
  readonly flowIdleMs?: number;
  /** UDP flows per listener; 4,096 by default. */
  readonly maxFlows?: number;
}

export interface ProxyStats {
  /** Listeners by what has become of them; `empty` ones have no backends and are closed. */
  readonly listeners: { readonly open: number; readonly opening: number; readonly failing: number; readonly empty: number };
  /** TCP connections: on their way to a backend, and established. */
  readonly dialing: number;
  readonly established: number;
  readonly udpFlows: number;
  readonly descriptors: number;
  /** Totals since the start. `refused` connections found no backend; `shed` ones no descriptor. */
  readonly accepted: number;
  readonly refused: number;
  readonly failedConnects: number;
  readonly shed: number;
  /** Went through the master. */
  readonly relayed: number;
}

export interface Proxy {
  /** Makes the open listeners those of the plan. Works in the background; call it as often as the plan changes. */
  apply(listeners: readonly Listener[]): void;
  /** Tries all failed listeners again now, as when the route for the service range is back. */
  retry(): void;
  /** Resolves when nothing of the last `apply` is still being opened (failed listeners go on being retried). */
  settled(): Promise<void>;
  /** Serves until the abort, then closes everything and resets what is established. */
  run(signal: AbortSignal): Promise<void>;
  stats(): ProxyStats;
  /** Each listener that is wanted, in no order, and what has become of it. */
  listeners(): ListenerState[];
}

export interface ListenerState {
  readonly listener: Listener;
  /** `empty`: closed, as it has no backends. */
  readonly state: 'open' | 'opening' | 'failing' | 'empty';
  /** Why it fails. */
  readonly error: Error | undefined;
}

/** Holds the sockets of the services that this node proxies. */
export function createProxy(options: ProxyOptions): Proxy {
  return new ServiceProxy(options);
}

/** Shedding is told again when it begins anew after so long without any. */
const shedQuietMs = 60_000;

class ServiceProxy implements Proxy {
  readonly #options: ProxyOptions;
  readonly #log: Log;
  readonly #descriptors: Descriptors;
  readonly #forwarder: TcpForwarder;
  readonly #slots = new Map<string, ListenerSlot>();
  readonly #udp = new Set<UdpListener>();
  readonly #shedAtMs = new Map<string, number>();
  #udpShed = 0;
  #stopped = false;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#log = options.log.named('proxy');
    this.#descriptors = new Descriptors(options.maxDescriptors ?? proxyDescriptors());
    this.#forwarder = new TcpForwarder({
      engine: options.tcp, clock: options.clock, descriptors: this.#descriptors,
      connectTimeoutMs: options.connectTimeoutMs ?? 3_000, maxAttempts: options.maxAttempts ?? 4, relays: options.relays,
    });
  }

  apply(listeners: readonly Listener[]): void {
    if (this.#stopped) return;
    const wanted = new Map(listeners.map((listener) => [listenerKey(listener), listener]));
    // Closing first frees addresses that new listeners may need.
    for (const [key, slot] of this.#slots) {
      if (wanted.has(key)) continue;
      this.#slots.delete(key);
      this.#shedAtMs.delete(key);
      slot.close();
    }
    for (const [key, listener] of wanted) {
      const slot = this.#slots.get(key);
      if (slot) slot.set(listener);
      else this.#slots.set(key, this.#slot(listener));
    }
  }

  retry(): void {
    for (const slot of this.#slots.values()) slot.retry();
  }

  async settled(): Promise<void> {
    await Promise.all([...this.#slots.values()].map((slot) => slot.settled));
  }

  async run(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#stopped = true;
    const slots = [...this.#slots.values()];
    this.#slots.clear();
    for (const slot of slots) slot.close();
    this.#forwarder.destroy();
    await Promise.all(slots.map((slot) => slot.settled));
  }

  stats(): ProxyStats {
    const states = [...this.#slots.values()].map((slot) => (slot.elsewhere ? 'empty' : slot.state));
    const count = (state: string): number => states.filter((one) => one === state).length;
    let udpFlows = 0;
    for (const listener of this.#udp) udpFlows += listener.flows;
    const { accepted, refused, failedConnects, shed, relayed } = this.#forwarder.counts;
    return {
      listeners: { open: count('open'), opening: count('opening'), failing: count('waiting'), empty: count('empty') },
      dialing: this.#forwarder.dials.size, established: this.#forwarder.established,
      udpFlows, descriptors: this.#descriptors.used,
      accepted, refused, failedConnects, shed: shed + this.#udpShed, relayed,
    };
  }

  listeners(): ListenerState[] {
    const states = { open: 'open', opening: 'opening', waiting: 'failing', empty: 'empty', closed: 'empty' } as const;
    return [...this.#slots.values()].map((slot) => (slot.elsewhere ? { listener: slot.listener, state: 'empty', error: undefined }
      : { listener: slot.listener, state: states[slot.state], error: slot.error }));
  }

  #slot(listener: Listener): ListenerSlot {
    return new ListenerSlot(listener, {
      clock: this.#options.clock, random: this.#options.random,
      open: (wanted, failed) => this.#open(wanted, failed),
      onProblem: (failing, error) => this.#problem(failing, error),
      onRecovered: (well) => this.#log.info('listening after all', { socket: listenerKey(well), service: well.service }),
    });
  }

  async #open(listener: Listener, failed: (error: NodeJS.ErrnoException) => void): Promise<OpenListener> {
    if (!this.#descriptors.take(1)) throw Object.assign(new Error('no descriptor is left for the proxy'), { code: 'EMFILE' });
    try {
      return await (listener.protocol === 'TCP' ? this.#openTcp(listener) : this.#openUdp(listener, failed));
    } catch (error) {
      this.#descriptors.give(1);
      throw error;
    }
  }

  async #openTcp(listener: Listener): Promise<OpenListener> {
    const balancer = this.#balancer(listener);
    const target = { balancer, shed: () => this.#shed(listener) };
    const server = await this.#options.tcp.listen(listener.address, listener.port, {
      accept: (client) => this.#forwarder.accept(client, target),
      failed: (error) => { if (isExhaustion(error)) this.#shed(listener); },
    });
    return {
      update: (changed) => balancer.update(changed.backends, changed.affinitySeconds),
      close: () => { server.close(); this.#descriptors.give(1); },
    };
  }

  async #openUdp(listener: Listener, failed: (error: NodeJS.ErrnoException) => void): Promise<OpenListener> {
    const balancer = this.#balancer(listener);
    const close = (): void => { if (this.#udp.delete(open)) this.#descriptors.give(1); };
    const open: UdpListener = await UdpListener.open(listener.address, listener.port, {
      clock: this.#options.clock, descriptors: this.#descriptors,
      newFlowIdleMs: this.#options.newFlowIdleMs ?? 30_000, flowIdleMs: this.#options.flowIdleMs ?? 120_000,
      maxFlows: this.#options.maxFlows ?? 4_096,
    }, {
      balancer,
      shed: () => { this.#udpShed++; this.#shed(listener); },
      failed: (error) => { close(); failed(error); },
    });
    this.#udp.add(open);
    return {
      update: (changed) => { balancer.update(changed.backends, changed.affinitySeconds); open.dropRemoved(); },
      close: () => { open.close(); close(); },
    };
  }

  #balancer(listener: Listener): Balancer {
    const { clock, random } = this.#options;
    return new Balancer({ clock, random, backends: listener.backends, affinitySeconds: listener.affinitySeconds });
  }

  #shed(listener: Listener): void {
    const key = listenerKey(listener);
    const lastMs = this.#shedAtMs.get(key);
    const nowMs = this.#options.clock.monotonic();
    this.#shedAtMs.set(key, nowMs);
    if (lastMs !== undefined && nowMs - lastMs < shedQuietMs) return;
    const text = `service ${listener.service} turns clients away on ${listener.address}:${listener.port}/${listener.protocol}: `
      + `the limit of open files is reached (${this.#descriptors.used} used by the service proxy); raise the agent's limit (nofile)`;
    this.#problem(listener, Object.assign(new Error(text), { code: 'EMFILE' }));
  }

  #problem(listener: Listener, error: NodeJS.ErrnoException): void {
    this.#log.warn(error.message, { code: error.code });
    this.#options.onProblem?.(listener, error);
  }
}
