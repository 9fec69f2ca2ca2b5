import type { Pod } from '../../shared/kinds/pod.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventReport } from '../../shared/protocol.ts';

export type InvolvedObject = EventReport['involvedObject'];

/** Where pods say what happens to them. Never throws and never waits. */
export interface EventSink {
  /** `reason` is the kubelet's word for it: Pulling, Created, BackOff, …. */
  event(involved: InvolvedObject, type: 'Normal' | 'Warning', reason: string, message: string): void;
}

/** A pod, or with `container` one of its containers, as an event names it. */
export function involvedPod(pod: Pod, container?: string): InvolvedObject {
  const has = (list: readonly { readonly name: string }[] | undefined): boolean => list?.some(({ name }) => name === container) ?? false;
  const list = has(pod.spec.initContainers) ? 'initContainers' : has(pod.spec.ephemeralContainers) ? 'ephemeralContainers' : 'containers';
  return {
    apiVersion: 'v1', kind: 'Pod', namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '', uid: pod.metadata.uid ?? '',
    ...(container === undefined ? {} : { fieldPath: `spec.${list}{${container}}` }),
  };
}

export interface EventLogOptions {
  readonly clock: Clock;
  /** Receives each event, and it again with a raised count when it repeats; of one key the latest counts. */
  readonly report: (event: EventReport) => void;
  /** Events remembered for counting; the least recently seen are forgotten. */
  readonly capacity?: number;
}

// client-go's spam filter: 25 events of one object at once, then one in five minutes.
const burst = 25;
const refillMs = 300_000;

interface Bucket { tokens: number; atMs: number }

/** Counts repeated events instead of repeating them, and stops an object that does nothing else. */
export class EventLog implements EventSink {
  readonly #options: EventLogOptions;
  readonly #known = new Map<string, EventReport>();
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: EventLogOptions) {
    this.#options = options;
  }

  event(involved: InvolvedObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const now = this.#options.clock.now();
    if (!this.#admit(`${involved.kind}/${involved.uid ?? involved.name}`, this.#options.clock.monotonic())) return;
    const text = message.slice(0, 1024);
    const id = [involved.kind, involved.namespace, involved.name, involved.uid, involved.fieldPath, type, reason, text].join('\n');
    const known = this.#known.get(id);
    const report: EventReport = known ? { ...known, count: known.count + 1, lastMs: Math.max(known.lastMs, now) } : {
      namespace: involved.namespace || 'default', key: `${involved.name}.${this.#suffix(now)}`, involvedObject: involved, reason, message: text, type,
      component: 'kubelet', count: 1, firstMs: now, lastMs: now,
    };
    this.#known.delete(id);
    this.#known.set(id, report);
    this.#forget(this.#known);
    this.#options.report(report);
  }

  // Like the names that client-go gives events: the object's, and a time that no other event of this agent has.
  #last = 0;
  #suffix(now: number): string {
    this.#last = Math.max(this.#last + 1, now * 1000);
    return this.#last.toString(16);
  }

  #admit(source: string, now: number): boolean {
    const old = this.#buckets.get(source) ?? { tokens: burst, atMs: now };
    const tokens = Math.min(burst, old.tokens + Math.max(0, now - old.atMs) / refillMs);
    this.#buckets.delete(source);
    this.#buckets.set(source, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: now });
    this.#forget(this.#buckets);
    return tokens >= 1;
  }

  #forget(map: Map<string, unknown>): void {
    const oldest = map.keys().next();
    if (map.size > (this.#options.capacity ?? 1000) && !oldest.done) map.delete(oldest.value);
  }
}
