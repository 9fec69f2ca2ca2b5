import type { Clock } from '../../shared/clock.ts';
import type { Backend } from './routes.ts';

/** How a connection to a backend is to be tried: straight, through the master, or both, the straight way with a head start. */
export type Way = 'direct' | 'relay' | 'race';

export interface ReachOptions {
  readonly clock: Clock;
  readonly nodeName: string;
  /**
   * Whether an address is of a network inside this host, so that another node's pod of that address is not the one that
   * is met there: engines number their bridges alike.
   */
  readonly isInside: (address: string) => boolean;
  /** How long a node is taken to be out of direct reach before that is tried again. Default 30 s. */
  readonly forgetMs?: number;
}

/**
 * Which nodes can be reached without the master, as connections to them have shown. Behind an address translation, or on
 * another site, none can; that is learnt once in a while by one connection, which waits out the head start, and not by each.
 *
 * ```
 * open ──relay was quicker, or the only one──▶ closed ──after a while, for one connection──▶ probing
 *   ▲                                            ▲─────────────relay again─────────────────────┤
 *   └──────────────────────────────────────────direct ◀────────────────────────────────────────┘
 * ```
 */
export class Reach {
  readonly #options: ReachOptions;
  /** Nodes out of direct reach, and until when that is believed, on the monotonic clock. */
  readonly #closedUntilMs = new Map<string, number>();

  constructor(options: ReachOptions) {
    this.#options = options;
  }

  /** `linked`: there is a master to ask. Without one, all is tried straight but what would meet another pod. */
  way(backend: Backend, linked: boolean): Way {
    const { clock, nodeName, isInside, forgetMs = 30_000 } = this.#options;
    const node = backend.nodeName;
    if (!node || node === nodeName || !backend.slice) return 'direct';
    if (isInside(backend.address)) return 'relay';
    if (!linked) return 'direct';
    const untilMs = this.#closedUntilMs.get(node);
    if (untilMs === undefined) return 'race';
    if (untilMs > clock.monotonic()) return 'relay';
    // This connection finds out; those beside it go the way that works.
    this.#closedUntilMs.set(node, clock.monotonic() + forgetMs);
    return 'race';
  }

  connected(backend: Backend, way: 'direct' | 'relay'): void {
    const { clock, isInside, forgetMs = 30_000 } = this.#options;
    if (!backend.nodeName || isInside(backend.address)) return;
    if (way === 'direct') this.#closedUntilMs.delete(backend.nodeName);
    else if (!((this.#closedUntilMs.get(backend.nodeName) ?? 0) > clock.monotonic())) this.#closedUntilMs.set(backend.nodeName, clock.monotonic() + forgetMs);
  }

  /** Routes have changed: what was learnt may not hold. */
  forget(): void {
    this.#closedUntilMs.clear();
  }
}
