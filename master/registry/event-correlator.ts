/** What is said to have happened, before it is known whether it is new. */
export interface Occurrence {
  readonly component: string;
  /** Identity of the object: kind, namespace, name, uid, … joined. */
  readonly object: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** How an occurrence is to be recorded: events of one key are one object with a count. */
export interface Correlated {
  readonly key: string;
  readonly message: string;
}

/** The numbers of client-go's `EventCorrelator`. */
const maxSimilar = 10;
const similarForMs = 600_000;
const burst = 25;
const refillMs = 300_000;
const remembered = 4096;

interface Similar { readonly messages: Set<string>; atMs: number }
interface Bucket { tokens: number; atMs: number }

/**
 * Folds similar events together and drops floods, as client-go does: equal events share a key; from the tenth message
 * that differs only in its text within ten minutes, all share one; one component may report one object 25 times at
 * once and once in five minutes after that.
 */
export class EventCorrelator {
  readonly #similar = new Map<string, Similar>();
  readonly #buckets = new Map<string, Bucket>();

  /** Undefined when the occurrence is to be dropped. */
  correlate(occurrence: Occurrence, nowMs: number): Correlated | undefined {
    const { component, object, type, reason, message } = occurrence;
    const group = [component, object, type, reason].join('\0');
    const similar = this.#similarTo(group, nowMs);
    similar.messages.add(message);
    const combined = similar.messages.size >= maxSimilar;
    if (combined) similar.messages.delete(similar.messages.values().next().value!);
    if (!this.#allowed(`${component}\0${object}`, nowMs)) return undefined;
    return combined ? { key: group, message: `(combined from similar events): ${message}` } : { key: `${group}\0${message}`, message };
  }

  #similarTo(group: string, nowMs: number): Similar {
    const known = this.#similar.get(group);
    const similar = known && nowMs - known.atMs <= similarForMs ? known : { messages: new Set<string>(), atMs: nowMs };
    similar.atMs = nowMs;
    touch(this.#similar, group, similar);
    return similar;
  }

  #allowed(source: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(source) ?? { tokens: burst, atMs: nowMs };
    bucket.tokens = Math.min(burst, bucket.tokens + (nowMs - bucket.atMs) / refillMs);
    bucket.atMs = nowMs;
    touch(this.#buckets, source, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }
}

/** Sets a key as the most recently used one and forgets the least recently used beyond {@link remembered}. */
export function touch<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > remembered) map.delete(map.keys().next().value!);
}
