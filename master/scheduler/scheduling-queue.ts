import type { Clock } from '../../shared/clock.ts';
import type { Shape } from './shape.ts';

/** A pod that waits for a node. */
export interface Waiting {
  /** `namespace/name`. */
  readonly key: string;
  readonly uid: string;
  readonly priority: number;
  readonly shape: Shape;
  /** Failed binds in a row. */
  failures: number;
}

/** First wait after a failed bind; doubles to ten seconds, as in Kubernetes. */
const backoffMs = 1000;
const maxBackoffMs = 10_000;

/** First come, first served, with constant cost also when very many wait (a Map's front gets slow to find). */
class Line {
  readonly #present = new Set<Waiting>();
  #order: Waiting[] = [];
  #head = 0;

  join(pod: Waiting): void {
    this.#present.add(pod);
    this.#order.push(pod);
  }

  leave(pod: Waiting): void {
    this.#present.delete(pod);
  }

  take(): Waiting | undefined {
    while (this.#head < this.#order.length) {
      const next = this.#order[this.#head++]!;
      if (this.#head > 1024 && this.#head * 2 > this.#order.length) {
        this.#order = this.#order.slice(this.#head);
        this.#head = 0;
      }
      if (this.#present.delete(next)) return next;
    }
    this.#order = [];
    this.#head = 0;
    return undefined;
  }
}

/**
 * Pods that wait to be placed, in one of these states:
 *
 * ```
 *   add ──► active ──take──► being placed ──done──► (gone)
 *             ▲                 │    │
 *             │◄──backoff── retry    park ──► parked, with others of its shape
 *             └──────────wake───────────────────┘
 * ```
 *
 * Active pods are taken by priority, then in order. Parked ones fit nowhere: they wait until some node has room for
 * their shape, and then come back one at a time, since the room may be for one.
 */
export class SchedulingQueue {
  readonly #clock: Clock;
  readonly #onActive: () => void;
  readonly #pods = new Map<string, Waiting>();
  /** By priority, highest first. */
  #active: { readonly priority: number; readonly line: Line }[] = [];
  readonly #parked = new Map<Shape, Map<string, Waiting>>();
  readonly #backoffs = new Map<string, () => void>();

  /** `onActive` is called whenever a pod has become active. */
  constructor(clock: Clock, onActive: () => void) {
    this.#clock = clock;
    this.#onActive = onActive;
  }

  get(key: string): Waiting | undefined {
    return this.#pods.get(key);
  }

  /** Shapes of parked pods. */
  get parkedShapes(): Iterable<Shape> {
    return this.#parked.keys();
  }

  get size(): number {
    return this.#pods.size;
  }

  /** Takes a pod in, or in its new form. One of the same uid and shape stays in the state that it is in. */
  add(pod: Waiting): void {
    const known = this.#pods.get(pod.key);
    if (known?.uid === pod.uid && known.shape === pod.shape && known.priority === pod.priority) return;
    if (known) this.remove(pod.key);
    this.#pods.set(pod.key, pod);
    this.#activate(pod);
  }

  /** Forgets a pod in any state. */
  remove(key: string): void {
    const pod = this.#pods.get(key);
    if (!pod) return;
    this.#pods.delete(key);
    for (const { line } of this.#active) line.leave(pod);
    this.#unpark(pod);
    this.#backoffs.get(key)?.();
    this.#backoffs.delete(key);
  }

  /** The next pod to place; it is being placed until {@link park}, {@link retry} or {@link remove}. */
  take(): Waiting | undefined {
    for (const { line } of this.#active) {
      const next = line.take();
      if (next) return next;
    }
    return undefined;
  }

  /** It fits nowhere for now. */
  park(pod: Waiting): void {
    if (this.#pods.get(pod.key) !== pod) return;
    const parked = this.#parked.get(pod.shape);
    if (parked) parked.set(pod.key, pod);
    else this.#parked.set(pod.shape, new Map([[pod.key, pod]]));
  }

  /** It could not be bound, for a reason that may pass. */
  retry(pod: Waiting): void {
    if (this.#pods.get(pod.key) !== pod) return;
    const delayMs = Math.min(maxBackoffMs, backoffMs * 2 ** pod.failures++);
    this.#backoffs.set(pod.key, this.#clock.after(delayMs, () => {
      this.#backoffs.delete(pod.key);
      if (this.#pods.get(pod.key) === pod) this.#activate(pod);
    }));
  }

  /** Lets the most important parked pod of a shape try again. */
  wake(shape: Shape): void {
    let first: Waiting | undefined;
    for (const pod of this.#parked.get(shape)?.values() ?? []) if (!first || pod.priority > first.priority) first = pod;
    if (!first) return;
    this.#unpark(first);
    this.#activate(first);
  }

  /** Lets all parked pods try again. */
  wakeAll(): void {
    const all = [...this.#parked.values()].flatMap((pods) => [...pods.values()]);
    this.#parked.clear();
    for (const pod of all) this.#activate(pod);
  }

  #unpark(pod: Waiting): void {
    const parked = this.#parked.get(pod.shape);
    if (parked?.delete(pod.key) && parked.size === 0) this.#parked.delete(pod.shape);
  }

  #activate(pod: Waiting): void {
    let level = this.#active.find(({ priority }) => priority === pod.priority);
    if (!level) {
      level = { priority: pod.priority, line: new Line() };
      this.#active = [...this.#active, level].sort((a, b) => b.priority - a.priority);
    }
    level.line.join(pod);
    this.#onActive();
  }
}
