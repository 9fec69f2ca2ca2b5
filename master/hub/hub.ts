import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import { sleep, type Clock } from '../../shared/clock.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import type { Log } from '../../shared/log.ts';
import { maxFrameBytes, type Payload, type StreamRequest } from '../../shared/protocol.ts';
import { Scope } from '../../shared/scope.ts';
import { ServerSockets, type FrameSocket } from '../../shared/socket.ts';
import { toTime } from '../../shared/time.ts';
import type { EventRecorder } from '../registry/events.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange, User } from '../registry/types.ts';
import { Assignments } from './assignments.ts';
import { answerEnrolment, renewCertificate, type Enroller } from './enrolment.ts';
import { writeEvents } from './event-reports.ts';
import { FrameDecoder } from './frame-decoder.ts';
import { Gate } from './gate.ts';
import { renewLeases } from './leases.ts';
import { NetworkIndex } from './network-index.ts';
import { writeNode } from './node-status.ts';
import { PeerTable } from './peers.ts';
import { relay, type RelayRequest } from './relay.ts';
import { writePodReports } from './pod-status.ts';
import type { ReportHandlers } from './report-intake.ts';
import { Session, type ClusterSettings } from './session.ts';
import { tellWithheld } from './withheld.ts';
import { nodeOf } from './writer.ts';

export interface HubOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  readonly enroller: Enroller;
  readonly masterVersion: string;
  /** Whether a node belongs to the cluster. One that does not (any more) has no session and writes nothing; without it, any node does. */
  readonly admits?: (node: string) => boolean;
  /** Told how far upgrades of agents are; see upgrade-roll.ts. */
  readonly onUpgradeStatus?: (node: string, status: Payload<'upgradeStatus'>) => void;
  /** Makes a token for a pod of a node; rejects when the node may not have it. */
  readonly podToken?: (node: string, request: Payload<'token'>) => Promise<string>;
  /** Told of pods that wait for a newer agent. */
  readonly recorder?: Pick<EventRecorder, 'event'>;
  /** What welcome tells a node; asked again when its Node object changes. */
  readonly settings: (node: string) => ClusterSettings;
  /** Silence after which a node counts as lost. Default 40 s. */
  readonly graceMs?: number;
  /** How often an agent that has nothing to say gives a sign of life. Default: 24 s with the default grace. */
  readonly heartbeatMs?: number;
  /** Changes within this time go out together. Default 5 ms. */
  readonly coalesceMs?: number;
}

/** Sessions served between two turns of the event loop. */
const sessionsPerTurn = 256;

/** Agents that wait to be sent much, beyond which no more are let in for a while. */
const maxWaiting = 512;

/** Connections of one node within {@link arrivalsMs}, beyond which more are refused: each may ask for a snapshot. */
const maxArrivals = 30;
const arrivalsMs = 10_000;

/** Path of an agent's WebSocket. */
export const sessionPath = '/agent/v1/session';

/**
 * Where agents meet the master: accepts their sessions, sends each what its node must know, writes what they report.
 * One session per node; a newer one replaces the older.
 */
export class Hub {
  readonly #options: HubOptions;
  readonly #graceMs: number;
  readonly #sessions = new Map<string, { readonly session: Session; readonly done: Promise<void> }>();
  /** When nodes that are not connected were last heard of, on the monotonic clock. */
  readonly #lastSeen = new Map<string, number>();
  readonly #sockets = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: maxFrameBytes.fromAgent, skipUTF8Validation: true });
  readonly #wrapper = new ServerSockets();
  /** Connections that nodes have made since the count was last cleared. */
  readonly #arrivals = new Map<string, number>();
  readonly #sending = new Gate(32);
  readonly #decoder = new FrameDecoder();
  readonly #reports: ReportHandlers;
  readonly #peers = new PeerTable();
  /** Networks that connected agents want to know the nodes of. */
  readonly #near = new NetworkIndex();
  #assignments: Assignments | undefined;
  #scope: Scope | undefined;
  /** Revision of the last frames that all sessions shared: the next ones fit whoever holds it or a later one. */
  #sharedAt = 0;
  #flushing: Promise<void> | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#graceMs = options.graceMs ?? 40_000;
    const { registry, log } = options;
    const writing = new Gate(256);
    this.#reports = {
      status: (node, pods) => writePodReports({ registry, log, writing }, node, pods),
      node: (node, object) => writing.run(async () => {
        // Writing would make the Node again.
        if (options.admits?.(node) === false) throw new Error(`node "${node}" was deleted`);
        await writeNode(registry, log, node, object, toTime(options.clock.now()), (about, type, reason, message) => options.recorder?.event(about, type, reason, message, 'kubelet'));
      }),
      events: (node, reports) => writing.run(() => writeEvents(registry, log, node, reports)),
    };
  }

  /** Serves until `signal` aborts and all sessions have ended. Sessions that come before it has read the store are refused. */
  async run(signal: AbortSignal): Promise<void> {
    const { registry, clock, log, recorder } = this.#options;
    const scope = this.#scope = new Scope(signal);
    const telling = new Gate(32);
    const assignments = new Assignments(registry, (node, pod, types) => {
      const version = this.#sessions.get(node)?.session.about?.agentVersion ?? '';
      scope.start(() => telling.run(() => tellWithheld({ registry, log, recorder, now: () => clock.now() }, node, version, pod, types)));
    });
    await Promise.all([this.#peers.load(registry, scope.signal), assignments.load(() => sleep(clock, 0, signal), (changes) => this.#changed(changes), scope.signal)]);
    this.#sharedAt = assignments.revision;
    assignments.services.take(0, 0);
    this.#assignments = assignments;
    scope.start((inner) => this.#watchSilence(inner));
    scope.start((inner) => renewLeases({ ...this.#options, graceMs: this.#graceMs, alive: () => this.#alive() }, inner));
    try {
      await scope.wait();
    } finally {
      this.#assignments = undefined;
      for (const { session } of this.#sessions.values()) session.bye('the master is stopping', true);
      await Promise.all([...this.#sessions.values()].map(({ done }) => done));
      await this.#flushing;
    }
  }

  /** Whether agents can be served now: what is stored has been read, and not too many wait for much to be sent. */
  get isReady(): boolean {
    return this.#assignments !== undefined && this.#sending.waiting < maxWaiting;
  }

  /** Answers `GET /agent/v1/ca` and `POST /agent/v1/enrol`, which need no authentication. Never rejects. */
  answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    return answerEnrolment(this.#options.enroller, this.#options.log, req, res);
  }

  /** Takes over an upgrade request to {@link sessionPath} of an authenticated user. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, user: User): void {
    const node = nodeOf(user);
    if (node === undefined) return refuse(socket, 403, 'Forbidden', `user ${JSON.stringify(user.name)} is no node`);
    if (!this.#assignments) return refuse(socket, 503, 'Service Unavailable', 'the master is starting', 2);
    const arrivals = (this.#arrivals.get(node) ?? 0) + 1;
    this.#arrivals.set(node, arrivals);
    if (arrivals > maxArrivals) return refuse(socket, 429, 'Too Many Requests', `node ${JSON.stringify(node)} connects too often`, arrivalsMs / 1000);
    this.#sockets.handleUpgrade(req, socket, head, (webSocket) => this.accept(node, this.#wrapper.wrap(webSocket)));
  }

  /** Starts a session of a node over a connection that has authenticated it. */
  accept(node: string, socket: FrameSocket): void {
    const assignments = this.#assignments;
    if (!assignments) return socket.destroy();
    const { clock, log, masterVersion, heartbeatMs = heartbeatFor(this.#graceMs), settings, podToken } = this.#options;
    const older = this.#sessions.get(node);
    older?.session.bye('replaced by a newer session of this node', true);
    const session = new Session({
      node, socket, clock, log, assignments, decoder: this.#decoder, masterVersion, heartbeatMs, leaseMs: this.#graceMs, sending: this.#sending, reports: this.#reports,
      settings: () => settings(node),
      admitted: () => this.#options.admits?.(node) ?? true,
      ...(this.#options.enroller.renew ? { renew: (request) => renewCertificate(this.#options.enroller, node, request) } : {}),
      lacksReports: () => lacksReports(this.#options.registry.find(nodes, '', node)),
      ...(podToken ? { podToken: (request) => podToken(node, request) } : {}),
      relay: (stream, wish) => relay(stream, wish, { registry: this.#options.registry, open: (target, request) => this.#openRelay(target, request) }),
      peers: (networks) => {
        this.#near.set(node, networks);
        return this.#peers.within(networks);
      },
      upgrading: (status) => this.#options.onUpgradeStatus?.(node, status),
    });
    const done = session.run(older?.done ?? Promise.resolve()).finally(() => this.#ended(node, session));
    this.#sessions.set(node, { session, done });
  }

  /** When a node gave its last sign of life since the master started, in ms of the monotonic clock; undefined: not yet. */
  lastSeen(node: string): number | undefined {
    return this.#sessions.get(node)?.session.receivedMs ?? this.#lastSeen.get(node);
  }

  isConnected(node: string): boolean {
    return this.#sessions.get(node)?.session.isOpen ?? false;
  }

  /** How the link to a node stands; undefined when nothing was heard of it since the master started. Times are monotonic. */
  link(node: string): { connected: boolean; sinceMs: number; seenMs: number; lag: number; version: string | undefined } | undefined {
    const session = this.#sessions.get(node)?.session;
    if (session?.isOpen) return { connected: true, sinceMs: session.about?.openedMs ?? 0, seenMs: session.receivedMs, lag: session.lag, version: session.about?.agentVersion };
    const seenMs = this.lastSeen(node);
    return seenMs === undefined ? undefined : { connected: false, sinceMs: seenMs, seenMs, lag: 0, version: undefined };
  }

  /** What a connected node's agent is; undefined while it is not connected. `upgrades`: its architecture, if it can be upgraded. */
  agentOf(node: string): { readonly version: string; readonly upgrades: string | undefined } | undefined {
    const session = this.#sessions.get(node)?.session;
    return session?.isOpen ? session.agent : undefined;
  }

  /** Asks a node's agent to replace its program; nothing happens when it is not connected. */
  askUpgrade(node: string, wanted: Payload<'upgrade'>): void {
    this.#sessions.get(node)?.session.upgrade(wanted);
  }

  /** Tells a node's agent that the end of its upgrade is known. */
  upgradeSeen(node: string, sha256: string): void {
    this.#sessions.get(node)?.session.upgradeSeen(sha256);
  }

  /** Opens a byte stream of a node. @throws StreamReset 503 when it is not connected, 429 when it has too many */
  openStream(node: string, request: StreamRequest): ByteStream {
    const session = this.#sessions.get(node)?.session;
    if (!session?.isOpen) throw new StreamReset(503, `node "${node}" is not connected`);
    return session.openStream(request);
  }

  #openRelay(node: string, request: RelayRequest): ByteStream {
    const session = this.#sessions.get(node)?.session;
    if (!session?.isOpen) throw new StreamReset(503, `node "${node}" is not connected`);
    return session.openRelay(request);
  }

  /** For metrics and tests: sessions, agents that hold less than the newest revision sent to them, agents waiting for a snapshot. */
  stats(): { readonly sessions: number; readonly unacknowledged: number; readonly waiting: number; readonly revision: number } {
    const all = [...this.#sessions.values()];
    return {
      sessions: all.length, unacknowledged: all.filter(({ session: { revision } }) => revision.acknowledged < revision.sent).length,
      waiting: this.#sending.waiting, revision: this.#assignments?.revision ?? 0,
    };
  }

  *#alive(): Generator<{ node: string; seenMs: number }> {
    for (const [node, { session }] of this.#sessions) if (session.isOpen) yield { node, seenMs: session.receivedMs };
  }

  #ended(node: string, session: Session): void {
    this.#lastSeen.set(node, Math.max(session.receivedMs, this.#lastSeen.get(node) ?? -Infinity));
    if (this.#sessions.get(node)?.session !== session) return;
    this.#sessions.delete(node);
    this.#near.remove(node);
  }

  /** Drops connections that nothing was heard of for the grace, and starts to count arrivals anew. */
  async #watchSilence(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let countedMs = clock.monotonic();
    while (!signal.aborted) {
      await sleep(clock, Math.min(1000, this.#graceMs / 4), signal);
      const now = clock.monotonic();
      if (now - countedMs >= arrivalsMs) {
        countedMs = now;
        this.#arrivals.clear();
      }
      for (const { session } of this.#sessions.values()) {
        if (now - session.receivedMs >= this.#graceMs) session.drop(`no sign of life from the agent for ${this.#graceMs / 1000} s`);
      }
    }
  }

  #changed(changes: readonly KindChange[]): void {
    for (const change of changes) if (change.kind.prefix === nodes.prefix) this.#nodeChanged(change);
    this.#flushing ??= this.#flush().finally(() => { this.#flushing = undefined; });
  }

  #nodeChanged(change: KindChange): void {
    const peers = this.#peers.apply(change);
    for (const node of peers ? this.#near.at(peers.before?.[1], peers.after?.[1]) : []) this.#sessions.get(node)?.session.peerChanged(peers!);
    const session = this.#sessions.get(change.name)?.session;
    if (change.type === 'DELETED') {
      this.#lastSeen.delete(change.name);
      if (this.#options.admits) return session?.revoke();
    }
    session?.refreshSettings();
    if (change.type === 'DELETED' || lacksReports(change.object as Node)) session?.askForReports();
  }

  /** Sends what changed to whom it concerns, a number of sessions per turn, until nothing is left. */
  async #flush(): Promise<void> {
    const { clock, coalesceMs = 5 } = this.#options;
    const signal = this.#scope!.signal;
    let served = -1;
    while (!signal.aborted) {
      await sleep(clock, coalesceMs, signal);
      const assignments = this.#assignments;
      if (!assignments || assignments.revision === served) return;
      served = assignments.revision;
      await this.#send(assignments, signal);
    }
  }

  async #send(assignments: Assignments, signal: AbortSignal): Promise<void> {
    const { revision } = assignments;
    const own = assignments.take((node) => this.isConnected(node));
    const shared = assignments.services.take(this.#sharedAt, revision);
    if (shared.length > 0) this.#sharedAt = revision;
    const concerned = shared.length > 0 ? [...this.#sessions.keys()] : [...own.keys()];
    for (const [index, node] of concerned.entries()) {
      this.#sessions.get(node)?.session.update(own.get(node), shared, revision);
      if ((index + 1) % sessionsPerTurn === 0) await sleep(this.#options.clock, 0, signal);
    }
  }
}

/** Time that a sign of life may be late before the grace is over, and the part of a short grace that it may take up. */
const slackMs = 16_000;
const shortShare = 3 / 8;
/** Each sign of life costs an idle link its bytes, so they are as rare as the grace allows. */
const heartbeatFor = (graceMs: number): number => Math.round(Math.max(graceMs * shortShare, graceMs - slackMs));

/** The master knows nothing of the node, or has written it off: its agent must say again how it is. */
const lacksReports = (node: Node | undefined): boolean =>
  node === undefined || !node.status.conditions?.some(({ type, status }) => type === 'Ready' && status !== 'Unknown');

function refuse(socket: Duplex, code: number, status: string, why: string, afterSeconds?: number): void {
  const again = afterSeconds === undefined ? '' : `\r\nRetry-After: ${afterSeconds}`;
  socket.end(`HTTP/1.1 ${code} ${status}${again}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(why)}\r\n\r\n${why}`);
}
