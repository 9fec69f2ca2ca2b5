import type { Node } from '../../shared/kinds/node.ts';
import { encodeMessage, maxFrameBytes, type EventReport, type PodReport } from '../../shared/protocol.ts';

const maxPods = 32;
const maxEvents = 32;

/** Something sent and not yet acknowledged. */
interface Flight { readonly seq: number; readonly versions: ReadonlyMap<string, number>; readonly sentMs: number }
interface Versioned<T> { readonly value: T; readonly version: number }

export interface OutboxOptions {
  /** Events kept while they cannot be sent; the oldest are dropped first. */
  readonly maxEvents: number;
  /** What is not acknowledged for so long is sent again. */
  readonly resendMs: number;
  /** Pause between two node reports when nothing urgent changed. */
  readonly nodePauseMs: number;
  /** Whether the agent still holds this pod; the last report of one that it does not is forgotten once acknowledged. */
  readonly holds: (pod: PodReport) => boolean;
}

/**
 * What the master is yet to learn: the latest status per pod, the node object, events. Each kind has at most one
 * message under way; what changes meanwhile waits for its acknowledgement, so a slow master coalesces by itself.
 *
 * In memory only: after a restart the pod manager reports every pod again, ended ones included, for as long as the
 * state holds them. So a restart loses nothing, and statuses cost no flash writes.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  /** The latest report of each pod, kept after its acknowledgement in case the master asks again. */
  readonly #pods = new Map<string, Versioned<PodReport>>();
  readonly #duePods = new Set<string>();
  readonly #events = new Map<string, Versioned<EventReport>>();
  #node: Versioned<Node> | undefined;
  #nodeDue = false;
  #nodeDueMs = 0;
  #lastUrgent = '';
  #lastNode = '';
  #flights: { status?: Flight | undefined; node?: Flight | undefined; events?: Flight | undefined } = {};
  #version = 0;
  #seq = 0;
  #dropped = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Reports waiting for an acknowledgement, and events dropped so far. */
  get stats(): { readonly pods: number; readonly events: number; readonly eventsDropped: number } {
    return { pods: this.#duePods.size, events: this.#events.size, eventsDropped: this.#dropped };
  }

  /** The latest report of a pod (by uid) replaces earlier ones. */
  report(pod: PodReport): void {
    this.#pods.set(pod.uid, this.#versioned(pod));
    this.#duePods.add(pod.uid);
  }

  /** An event with the key of one that waits replaces it. */
  event(event: EventReport): void {
    this.#events.delete(event.key);
    this.#events.set(event.key, this.#versioned(event));
    if (this.#events.size <= this.#options.maxEvents) return;
    const [oldest] = this.#events.keys();
    this.#events.delete(oldest!);
    this.#dropped++;
  }

  /** Events that wait for an acknowledgement. */
  *waitingEvents(): Generator<EventReport> {
    for (const { value } of this.#events.values()) yield value;
  }

  /** Takes the node object; a change of condition, address or allocatable is due now, others after a pause. */
  setNode(node: Node, nowMs: number): void {
    const whole = JSON.stringify(withoutHeartbeats(node));
    if (whole === this.#lastNode) return;
    this.#lastNode = whole;
    const urgent = JSON.stringify([node.status.addresses, node.status.allocatable, node.status.conditions?.map(({ type, status }) => [type, status]), node.metadata.labels]);
    if (urgent !== this.#lastUrgent) this.#nodeDueMs = nowMs;
    this.#lastUrgent = urgent;
    this.#node = this.#versioned(node);
    this.#nodeDue = true;
  }

  /** A new session: everything unacknowledged is due again. */
  restart(): void {
    this.#flights = {};
    this.#nodeDueMs = 0;
    for (const [uid, { value }] of this.#pods) if (!this.#duePods.has(uid) && !this.#options.holds(value)) this.#pods.delete(uid);
  }

  /** The master asks for everything, acknowledged or not. */
  reportAgain(): void {
    this.restart();
    for (const uid of this.#pods.keys()) this.#duePods.add(uid);
    this.#nodeDue = this.#node !== undefined;
  }

  /** Frames to send now. `nowMs` is monotonic. */
  *take(nowMs: number): Generator<Buffer> {
    for (const kind of ['status', 'node', 'events'] as const) {
      const flight = this.#flights[kind];
      if (flight && nowMs - flight.sentMs >= this.#options.resendMs) this.#flights[kind] = undefined;
    }
    if (this.#node && this.#nodeDue && !this.#flights.node && nowMs >= this.#nodeDueMs) yield this.#takeNode(this.#node, nowMs);
    if (this.#duePods.size > 0 && !this.#flights.status) yield* this.#takeStatus(nowMs, maxPods);
    if (this.#events.size > 0 && !this.#flights.events) yield this.#takeEvents(nowMs);
  }

  /** Milliseconds until {@link take} may have something that it has not now; undefined: not before something changes. */
  nextMs(nowMs: number): number | undefined {
    const due = Object.values(this.#flights).filter((flight) => flight !== undefined).map((flight) => flight.sentMs + this.#options.resendMs);
    if (this.#nodeDue && !this.#flights.node) due.push(this.#nodeDueMs);
    return due.length > 0 ? Math.max(0, Math.min(...due) - nowMs) : undefined;
  }

  /** The master has taken message `seq`. Older acknowledgements are ignored. */
  acknowledged(kind: 'status' | 'node' | 'events', seq: number): void {
    const flight = this.#flights[kind];
    if (flight?.seq !== seq) return;
    this.#flights[kind] = undefined;
    for (const [key, version] of flight.versions) this.#settled[kind](key, version);
  }

  readonly #settled: Record<'status' | 'node' | 'events', (key: string, version: number) => void> = {
    status: (uid, version) => {
      const pod = this.#pods.get(uid);
      if (pod?.version !== version) return;
      this.#duePods.delete(uid);
      if (pod.value.gone || !this.#options.holds(pod.value)) this.#pods.delete(uid);
    },
    node: (_, version) => { if (this.#node?.version === version) this.#nodeDue = false; },
    events: (key, version) => { if (this.#events.get(key)?.version === version) this.#events.delete(key); },
  };

  #versioned<T>(value: T): Versioned<T> {
    return { value, version: ++this.#version };
  }

  #fly(kind: 'status' | 'node' | 'events', entries: readonly (readonly [string, Versioned<unknown>])[], sentMs: number): number {
    const seq = ++this.#seq;
    this.#flights[kind] = { seq, sentMs, versions: new Map(entries.map(([key, { version }]) => [key, version])) };
    return seq;
  }

  #takeNode(node: Versioned<Node>, nowMs: number): Buffer {
    this.#nodeDueMs = nowMs + this.#options.nodePauseMs;
    return encodeMessage('node', { seq: this.#fly('node', [['node', node]], nowMs), node: node.value });
  }

  *#takeStatus(nowMs: number, max: number): Generator<Buffer> {
    const entries = [...this.#duePods].slice(0, max).map((uid) => [uid, this.#pods.get(uid)!] as const);
    if (entries.length === 0) return;
    const frame = encodeMessage('status', { seq: this.#fly('status', entries, nowMs), pods: entries.map(([, { value }]) => value) });
    if (frame.length <= maxFrameBytes.fromAgent) yield frame;
    else if (entries.length > 1) yield* this.#takeStatus(nowMs, entries.length >> 1);
    else {
      // No pod's status is legitimately that large; keeping it would block all others.
      this.#flights.status = undefined;
      this.#duePods.delete(entries[0]![0]);
      yield* this.#takeStatus(nowMs, max);
    }
  }

  #takeEvents(nowMs: number): Buffer {
    const entries = [...this.#events].slice(0, maxEvents);
    return encodeMessage('events', { seq: this.#fly('events', entries, nowMs), events: entries.map(([, { value }]) => value) });
  }
}

/** Heartbeat times change with every look and say nothing that the link does not. */
function withoutHeartbeats(node: Node): unknown {
  const conditions = node.status.conditions?.map((condition) => ({ ...condition, lastHeartbeatTime: undefined }));
  return { ...node, status: { ...node.status, conditions } };
}
