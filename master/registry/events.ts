import type { Clock } from '../../shared/clock.ts';
import { events } from '../../shared/kinds/event.ts';
import type { ObjectReference } from '../../shared/kinds/references.ts';
import type { Log } from '../../shared/log.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { isNotFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import { EventCorrelator, touch } from './event-correlator.ts';
import type { Registry } from './registry.ts';

export interface EventRecorderOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  /** Events waiting to be written; more are dropped. Default 5,000. */
  readonly maxPending?: number;
}

/** Writes under way at a time. They share commits, so this bounds memory and not the rate. */
const concurrency = 64;

interface Pending {
  readonly regarding: ObjectReference;
  readonly component: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly firstMs: number;
  lastMs: number;
  count: number;
}

/**
 * Records events beside the work that causes them: {@link EventRecorder.event} never waits and never throws, equal
 * events are counted in one object, floods are dropped.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #correlator = new EventCorrelator();
  readonly #pending = new Map<string, Pending>();
  readonly #writing = new Set<string>();
  /** Names of the event objects that were written, by correlation key. */
  readonly #names = new Map<string, string>();
  #running = false;
  #dropped = 0;
  #serial = 0;
  #idle: (() => void) | undefined;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Notes that something happened to an object. `component` is who says so, such as `default-scheduler`. */
  event(regarding: KubeObject | ObjectReference, type: 'Normal' | 'Warning', reason: string, message: string, component: string): void {
    const reference = 'metadata' in regarding ? referenceTo(regarding) : regarding;
    const now = this.#options.clock.now();
    const correlated = this.#correlator.correlate({ component, object: identity(reference), type, reason, message }, now);
    if (!correlated) return;
    const waiting = this.#pending.get(correlated.key);
    if (waiting) {
      waiting.count += 1;
      waiting.lastMs = now;
      return;
    }
    if (this.#pending.size >= (this.#options.maxPending ?? 5000)) return this.#drop();
    this.#pending.set(correlated.key, { regarding: reference, component, type, reason, message: correlated.message, firstMs: now, lastMs: now, count: 1 });
    this.#pump();
  }

  /** Writes what is noted until `signal` aborts and the writes under way have ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#running = true;
    this.#pump();
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#running = false;
    if (this.#writing.size > 0) await new Promise<void>((resolve) => { this.#idle = resolve; });
  }

  #drop(): void {
    this.#dropped += 1;
    if (this.#dropped % 1000 === 1) this.#options.log.warn('too many events at once, some are not recorded', { dropped: this.#dropped });
  }

  #pump(): void {
    if (!this.#running) return;
    for (const [key, pending] of this.#pending) {
      if (this.#writing.size >= concurrency) return;
      if (this.#writing.has(key)) continue;
      this.#pending.delete(key);
      this.#writing.add(key);
      void this.#write(key, pending);
    }
  }

  async #write(key: string, pending: Pending): Promise<void> {
    try {
      const name = this.#names.get(key);
      if (!name || !await this.#count(name, pending)) await this.#create(key, pending);
    } catch (error) {
      // A namespace that is ending takes no events; nothing here is worth a retry.
      this.#options.log.debug('event not recorded', { reason: pending.reason, object: pending.regarding.name, error });
    } finally {
      this.#writing.delete(key);
      this.#pump();
      if (this.#writing.size === 0) this.#idle?.();
    }
  }

  /** Counts a repetition; false when the event is no more. */
  async #count(name: string, pending: Pending): Promise<boolean> {
    try {
      await this.#options.registry.modify(events, namespaceOf(pending.regarding), name, (event) => {
        event.count = (event.count ?? 1) + pending.count;
        event.lastTimestamp = toTime(pending.lastMs);
        event.message = pending.message;
        return event;
      });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  async #create(key: string, pending: Pending): Promise<void> {
    const { regarding, component, type, reason, message, count } = pending;
    const name = `${(regarding.name ?? '').slice(0, 230)}.${this.#unique(pending.firstMs)}`;
    const namespace = namespaceOf(regarding);
    await this.#options.registry.create(events, namespace, {
      metadata: { name, namespace }, involvedObject: regarding, reason, message, type, count,
      firstTimestamp: toTime(pending.firstMs), lastTimestamp: toTime(pending.lastMs),
      source: { component }, reportingComponent: component,
    });
    touch(this.#names, key, name);
  }

  /** Nanoseconds since 1970 in hexadecimal, as client-go names events; never twice the same. */
  #unique(nowMs: number): string {
    this.#serial = (this.#serial + 1) % 1_000_000;
    return (BigInt(Math.floor(nowMs)) * 1_000_000n + BigInt(this.#serial)).toString(16);
  }
}

/** A reference to an object, as events carry it. */
export function referenceTo({ apiVersion, kind, metadata }: KubeObject): ObjectReference {
  const { namespace, name, uid, resourceVersion } = metadata;
  return {
    apiVersion, kind, name: name ?? '', uid: uid ?? '',
    ...(namespace ? { namespace } : {}), ...(resourceVersion ? { resourceVersion } : {}),
  };
}

/** Events of cluster-scoped objects live in `default`. */
const namespaceOf = (regarding: ObjectReference): string => regarding.namespace || 'default';

const identity = ({ apiVersion, kind, namespace, name, uid, fieldPath }: ObjectReference): string =>
  [apiVersion, kind, namespace, name, uid, fieldPath].join('\0');
