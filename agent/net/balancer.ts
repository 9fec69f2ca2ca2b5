import type { Clock } from '../../shared/clock.ts';
import type { Backend } from './routes.ts';

export interface BalancerOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly backends: readonly Backend[];
  readonly affinitySeconds: number;
}

/** How long a backend that failed is asked last, unless nothing else is left. */
const coolingMs = 5_000;
/** Clients remembered per listener; the one longest away is forgotten first. */
const maxClients = 8_192;

interface Affinity { readonly key: string; readonly untilMs: number }

/**
 * Picks a backend for each new connection or flow of one listener: in turn, from a random start, so that many nodes
 * do not all begin with the same one. With affinity, a client keeps its backend until it stays away too long.
 */
export class Balancer {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #clients = new Map<string, Affinity>();
  readonly #coolUntilMs = new Map<string, number>();
  #backends: readonly Backend[] = [];
  #byKey = new Map<string, Backend>();
  #affinityMs = 0;
  #next = 0;

  constructor(options: BalancerOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.update(options.backends, options.affinitySeconds);
  }

  /** Says whether `pick` needs to know the client. */
  get sticky(): boolean {
    return this.#affinityMs > 0;
  }

  update(backends: readonly Backend[], affinitySeconds: number): void {
    this.#backends = backends;
    this.#byKey = new Map(backends.map((backend) => [backendKey(backend), backend]));
    this.#affinityMs = affinitySeconds * 1_000;
    this.#next = Math.floor(this.#random() * backends.length);
    if (affinitySeconds === 0) this.#clients.clear();
    for (const key of this.#coolUntilMs.keys()) if (!this.#byKey.has(key)) this.#coolUntilMs.delete(key);
  }

  has(backend: Backend): boolean {
    return this.#byKey.has(backendKey(backend));
  }

  /** A backend that is not among `tried`; undefined when none is left. `client` is its address, without port. */
  pick(client: string, tried: readonly Backend[] = []): Backend | undefined {
    if (!this.sticky) return this.#inTurn(tried);
    const chosen = this.#remembered(client, tried) ?? this.#inTurn(tried);
    if (chosen) this.#remember(client, chosen);
    return chosen;
  }

  /** A connection to it failed: others are asked first for a while. */
  failed(backend: Backend): void {
    if (this.has(backend)) this.#coolUntilMs.set(backendKey(backend), this.#clock.monotonic() + coolingMs);
  }

  #inTurn(tried: readonly Backend[]): Backend | undefined {
    const count = this.#backends.length;
    let last: number | undefined;
    for (let step = 0; step < count; step++) {
      const index = (this.#next + step) % count;
      const backend = this.#backends[index]!;
      if (tried.includes(backend)) continue;
      if (!this.#cooling(backend)) return this.#take(index);
      last ??= index;
    }
    return last === undefined ? undefined : this.#take(last);
  }

  #take(index: number): Backend {
    this.#next = (index + 1) % this.#backends.length;
    return this.#backends[index]!;
  }

  #cooling(backend: Backend): boolean {
    if (this.#coolUntilMs.size === 0) return false;
    const key = backendKey(backend);
    const untilMs = this.#coolUntilMs.get(key);
    if (untilMs === undefined) return false;
    if (untilMs > this.#clock.monotonic()) return true;
    this.#coolUntilMs.delete(key);
    return false;
  }

  #remembered(client: string, tried: readonly Backend[]): Backend | undefined {
    const affinity = this.#clients.get(client);
    if (!affinity || affinity.untilMs <= this.#clock.monotonic()) return undefined;
    const backend = this.#byKey.get(affinity.key);
    return backend && !tried.includes(backend) ? backend : undefined;
  }

  /** Re-inserting keeps the map in order of last use. */
  #remember(client: string, backend: Backend): void {
    this.#clients.delete(client);
    this.#clients.set(client, { key: backendKey(backend), untilMs: this.#clock.monotonic() + this.#affinityMs });
    if (this.#clients.size <= maxClients) return;
    for (const oldest of this.#clients.keys()) { this.#clients.delete(oldest); break; }
  }
}

export function backendKey(backend: Backend): string {
  return `${backend.address}:${backend.port}`;
}
