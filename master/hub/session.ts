import type { ByteStream } from '../../shared/byte-stream.ts';
import { StreamReset } from '../../shared/byte-stream.ts';
import { Channel, relayWindow } from '../../shared/channel.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EnrolAnswer } from '../../shared/enrolment.ts';
import type { Log } from '../../shared/log.ts';
import { agentKnows, agentLabels, decodeMessage, encodeMessage, isControl, ProtocolError, protocolVersion, type Handlers, type MessageName, type Payload, type StreamRequest } from '../../shared/protocol.ts';
import { networkTest, peersDigest, type Peer } from '../../shared/peers.ts';
import type { FrameSocket } from '../../shared/socket.ts';
import type { Assignments, NodeItems, Resumption } from './assignments.ts';
import type { Gate } from './gate.ts';
import type { PeerChange } from './peers.ts';
import type { RelayRequest, RelayWish } from './relay.ts';
import { syncFrames } from './service-table.ts';
import { Throttle } from './throttle.ts';

/** Cluster settings that welcome tells an agent. */
export interface ClusterSettings {
  readonly serviceCIDR: string;
  readonly clusterDomain: string;
  readonly clusterDNS: string;
  /** Of this node; `''` while it has none. */
  readonly podCIDR: string;
  /** Of all nodes. */
  readonly clusterCIDR?: string;
  /** Of the Node, beside those that are its agent's alone; absent while there is none. */
  readonly nodeLabels?: Record<string, string>;
}

/** What to tell an agent of its Node's labels, in a lasting order. */
export function labelsForAgent(labels: Readonly<Record<string, string>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => !agentLabels.includes(key)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export interface SessionOptions {
  readonly node: string;
  readonly socket: FrameSocket;
  readonly clock: Clock;
  readonly log: Log;
  readonly assignments: Assignments;
  readonly masterVersion: string;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly settings: () => ClusterSettings;
  /** Whether the node belongs to the cluster. Default: it does. */
  readonly admitted?: () => boolean;
  /** Makes a certificate for another key of the node; without it there is no renewal. */
  readonly renew?: (request: Payload<'renew'>) => Promise<EnrolAnswer>;
  /** Makes a token for a pod of the node; rejects when it may not have it. Without it there are none. */
  readonly podToken?: (request: Payload<'token'>) => Promise<string>;
  /** Takes a stream of this agent's to an endpoint on another node. */
  readonly relay?: (stream: ByteStream, wish: RelayWish) => void;
  /** Nodes whose addresses are in some networks. */
  readonly peers?: (networks: readonly string[]) => Peer[];
  /** Told how far an upgrade of this agent is. */
  readonly upgrading?: (status: Payload<'upgradeStatus'>) => void;
  /** Whether the agent has to report everything anew although it thinks that the master knows. */
  readonly lacksReports: () => boolean;
  /** Limits how many agents are sent much at a time. */
  readonly sending: Gate;
  readonly reports: ReportHandlers;
}

/** Where an agent's reports go. A rejection means "not taken, send it again". */
export interface ReportHandlers {
  status(node: string, pods: Payload<'status'>['pods']): Promise<void>;
  node(node: string, object: Payload<'node'>['node']): Promise<void>;
  events(node: string, events: Payload<'events'>['events']): Promise<void>;
}

/** Syncs sent and not acknowledged, and bytes not taken by the network, beyond which a session is left behind for a while. */
const maxUnacknowledged = 32;
const maxBufferedBytes = 256 * 1024;
/** Reports waiting to be written, beyond which nothing more is read from the agent. */
const maxReports = 8;
/** Tokens being made for one agent, beyond which nothing more is read from it. */
const maxMaking = 8;
/** Pause between two renewals of a certificate: signing is dear. */
const renewPauseMs = 1000;
/** Tokens for frames: one each, and one for each so many bytes. A flood of tiny or giant ones gets a tenth of a core. */
const frameLimits = { perSecond: 5_000, burst: 20_000 };
const bytesPerToken = 256;
const leastPauseMs = 250;
/** Objects that one agent may have written: all of a full node's pods several times over, then some per second. */
const writeLimits = { perSecond: 50, burst: 1_000 };
/** Time between two snapshots that an agent asks for. */
const resyncPauseMs = 5_000;
/** Connections that one agent may have relayed: each is looked up. */
const relayLimits = { perSecond: 500, burst: 2_000 };
/** Whether a stream request is one that not every agent knows. */
const isLater = (type: StreamRequest['type']): boolean => (agentKnows as readonly string[]).includes(type);
const heartbeatAck = encodeMessage('heartbeatAck', {});
/** Time in which an agent that was asked for its reports should have sent them. */
const askPauseMs = 5000;

/**
 * One agent's connection.
 *
 * ```
 * greeting ──hello──▶ current ◀──────▶ behind      (behind: nothing is sent until the agent has caught up, then it is
 *     │                  │               │          resumed from what it was last sent, as after a reconnect)
 *     └──────────────────┴───────────────┴──▶ ended
 * ```
 */
export class Session {
  readonly node: string;
  readonly channel: Channel;
  readonly #options: SessionOptions;
  readonly #socket: FrameSocket;
  #hello: Payload<'hello'> | undefined;
  /** Revision that the agent holds once it has applied all that was sent. */
  #sent = 0;
  #acknowledged = 0;
  #unacknowledged = 0;
  #behind = true;
  #sending = false;
  #expected: { readonly revision: number; readonly items: number } | undefined;
  #receivedMs: number;
  #openedMs = 0;
  #settings = '';
  #askedMs = -Infinity;
  #askAgain: (() => void) | undefined;
  #reports = 0;
  readonly #frames: Throttle;
  readonly #writes: Throttle;
  readonly #relays: Throttle;
  /** Whether an address is of a network that the agent wants to know the nodes of. */
  #isNear: ((address: string) => boolean) | undefined;
  #throttled = false;
  #pauses = 0;
  #resyncMs = -Infinity;
  #work: Promise<void> = Promise.resolve();
  #renewing: Promise<void> | undefined;
  #renewedMs = -Infinity;
  #making = 0;
  #why: string | undefined;
  readonly #closed: Promise<void>;
  #close: () => void = () => {};
  #wake: (() => void) | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.node = options.node;
    this.#socket = options.socket;
    this.#receivedMs = options.clock.monotonic();
    this.#frames = new Throttle(frameLimits, this.#receivedMs);
    this.#writes = new Throttle(writeLimits, this.#receivedMs);
    this.#relays = new Throttle(relayLimits, this.#receivedMs);
    this.#closed = new Promise((resolve) => { this.#close = resolve; });
    this.channel = new Channel({ side: 'master', send: (frame, sent) => this.#send(frame, sent), bufferedBytes: () => options.socket.bufferedBytes });
  }

  /** Monotonic time of the last sign of life. */
  get receivedMs(): number {
    return this.#receivedMs;
  }

  /** Hello was answered. */
  get isOpen(): boolean {
    return this.#hello !== undefined && this.#why === undefined;
  }

  /** What the agent says that it is, and when its session began on the monotonic clock; undefined before hello. */
  get about(): { readonly agentVersion: string; readonly openedMs: number } | undefined {
    return this.#hello && { agentVersion: this.#hello.agentVersion, openedMs: this.#openedMs };
  }

  /** Revisions between what the agent should hold and what it has acknowledged. */
  get lag(): number {
    const { assignments } = this.#options;
    const came = this.#hello?.epoch === assignments.epoch ? this.#hello.revision : 0;
    return Math.max(0, (this.#behind ? assignments.revision : this.#sent) - Math.max(this.#acknowledged, came));
  }

  get revision(): { readonly sent: number; readonly acknowledged: number } {
    return { sent: this.#sent, acknowledged: this.#acknowledged };
  }

  /** Serves until the connection is over and the reports that came over it are written. `before` ends first. */
  async run(before: Promise<void>): Promise<void> {
    this.#work = before;
    this.#socket.listen({ frame: (bytes) => this.#frame(bytes), end: (why) => this.#end(why) });
    await this.#closed;
    await this.#work;
    await this.#renewing;
  }

  /** Sends what changed: `own` of this node, `shared` frames for every session, which bring it to `revision`. */
  update(own: NodeItems | undefined, shared: readonly Uint8Array[], revision: number): void {
    if (!this.isOpen || revision <= this.#sent) return;
    if (!own && shared.length === 0) return;
    const full = this.#unacknowledged >= maxUnacknowledged || this.#socket.bufferedBytes > maxBufferedBytes;
    if (this.#behind || full) { this.#behind = true; return; }
    const { epoch } = this.#options.assignments;
    const frames = own ? syncFrames({ epoch, from: this.#sent, revision, removed: own.removed, more: shared.length > 0 }, own.items) : [];
    for (const frame of [...frames, ...shared]) this.#send(frame);
    this.#sent = revision;
    this.#unacknowledged++;
  }

  /** Tells the agent when its settings changed. */
  refreshSettings(): void {
    if (this.isOpen) this.#sendWelcome();
  }

  /** Asks for everything that the agent has reported before. */
  askForReports(): void {
    const { clock } = this.#options;
    const waitMs = this.#askedMs + askPauseMs - clock.monotonic();
    if (!this.isOpen) return;
    if (waitMs > 0) {
      this.#askAgain ??= clock.after(waitMs, () => {
        this.#askAgain = undefined;
        if (this.#options.lacksReports()) this.askForReports();
      });
      return;
    }
    this.#askedMs = clock.monotonic();
    this.#control('report', {});
  }

  /** Opens a stream of the node. @throws StreamReset when there are too many, or the session is over */
  openStream(request: StreamRequest): ByteStream {
    if (!this.isOpen) throw new StreamReset(503, `node "${this.node}" is not connected`);
    if (request.type === 'usage' && !this.#hello?.usage) throw new StreamReset(501, `the agent of node "${this.node}" measures nothing`);
    if (request.type === 'kubelet' && !this.#hello?.kubelet) throw new StreamReset(501, `the agent of node "${this.node}" serves no paths of its own`);
    if (isLater(request.type) && !this.#hello?.knows?.includes(request.type)) throw new StreamReset(501, `the agent of node "${this.node}" (${this.#hello?.agentVersion}) is too old for it: upgrade it`);
    const stream = this.channel.open();
    this.#control('open', { id: stream.id, request });
    return stream;
  }

  /** Opens a stream for a connection from another node. @throws StreamReset when it cannot be had now */
  openRelay(request: RelayRequest): ByteStream {
    if (!this.isOpen) throw new StreamReset(503, `node "${this.node}" is not connected`);
    if (!this.#hello?.relays) throw new StreamReset(501, `the agent of node "${this.node}" takes no relayed connections`);
    const stream = this.channel.open(relayWindow);
    this.#control('open', { id: stream.id, request });
    return stream;
  }

  /** A node came, changed or went. */
  peerChanged({ before, after }: PeerChange): void {
    if (!this.isOpen || !this.#isNear || (after ?? before)?.[0] === this.node) return;
    if (after && this.#isNear(after[1])) this.#control('peers', [false, [[...after]], []]);
    else if (before && this.#isNear(before[1])) this.#control('peers', [false, [], [before[0]]]);
  }

  /** What the agent is; undefined before hello. `upgrades`: Docker's name of its architecture, if it can be upgraded. */
  get agent(): { readonly version: string; readonly upgrades: string | undefined } | undefined {
    return this.#hello && { version: this.#hello.agentVersion, upgrades: this.#hello.upgrades };
  }

  /** Asks the agent to replace its program. */
  upgrade(wanted: Payload<'upgrade'>): void {
    if (this.isOpen) this.#control('upgrade', wanted);
  }

  upgradeSeen(sha256: string): void {
    this.#control('upgradeSeen', { sha256 });
  }

  /** Ends the session, telling the agent why. */
  bye(reason: string, retry: boolean): void {
    if (this.#why !== undefined) return;
    this.#control('bye', { reason, retry });
    this.#end(reason, true);
  }

  /** The node was deleted: it is out until it enrols again. */
  revoke(): void {
    this.#options.log.info('node was deleted; its session is over', { node: this.node });
    this.bye(`node "${this.node}" was deleted from the cluster`, false);
  }

  /** Drops a connection that nothing was heard of for too long. */
  drop(why: string): void {
    this.#end(why);
  }

  readonly #handlers: Handlers<'agent'> = {
    hello: (hello) => this.#greet(hello),
    ack: (ack) => this.#acked(ack),
    resync: ({ reason }) => {
      const { clock, log } = this.#options;
      if (clock.monotonic() - this.#resyncMs < resyncPauseMs) throw new ProtocolError('resync again at once');
      this.#resyncMs = clock.monotonic();
      log.warn('agent asks for a snapshot', { node: this.node, reason });
      this.#sent = 0;
      this.#behind = true;
      this.#catchUp();
    },
    status: ({ seq, pods }) => this.#take('statusAck', seq, pods.length, () => this.#options.reports.status(this.node, pods)),
    node: ({ seq, node }) => this.#take('nodeAck', seq, 1, () => this.#options.reports.node(this.node, node)),
    events: ({ seq, events }) => this.#take('eventsAck', seq, events.length, () => this.#options.reports.events(this.node, events)),
    heartbeat: () => this.#send(heartbeatAck),
    renew: (request) => this.#renew(request),
    token: (request) => this.#token(request),
    upgradeStatus: (status) => this.#options.upgrading?.(status),
    relay: ({ id, ...wish }) => this.#relay(id, wish),
    peersWanted: ({ networks, held }) => this.#tellPeers(networks, held),
  };

  #frame(bytes: Uint8Array): void {
    if (this.#why !== undefined) return;
    this.#receivedMs = this.#options.clock.monotonic();
    this.#charge(bytes);
    try {
      if (!this.#hello && !isControl(bytes)) throw new ProtocolError('stream data before hello');
      if (!isControl(bytes)) return this.channel.receive(bytes);
      const message = decodeMessage(bytes, 'agent');
      if (!this.#hello !== (message.name === 'hello')) throw new ProtocolError(`${message.name} ${this.#hello ? 'in an open session' : 'before hello'}`);
      (this.#handlers[message.name] as (payload: unknown) => void)(message.payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) this.#options.log.error('handling a frame of an agent failed', { node: this.node, error });
      else this.#options.log.warn('agent broke the protocol', { node: this.node, error });
      this.bye(error instanceof ProtocolError ? error.message : 'internal error', true);
    }
  }

  #greet(hello: Payload<'hello'>): void {
    const { assignments } = this.#options;
    if (hello.node !== this.node) return this.bye(`node ${JSON.stringify(hello.node)} came with the certificate of ${JSON.stringify(this.node)}`, false);
    if (this.#options.admitted?.() === false) return this.revoke();
    if (hello.protocol !== protocolVersion) return this.bye(`the agent speaks protocol ${hello.protocol}, this master ${protocolVersion}`, false);
    if (assignments.revision === 0) return this.bye('the cluster is not set up yet', true);
    if (hello.epoch === assignments.epoch && hello.revision > assignments.revision) {
      return this.bye(`the agent holds revision ${hello.revision}, and this master is at ${assignments.revision}: it has lost writes`, true);
    }
    this.#hello = hello;
    this.#openedMs = this.#options.clock.monotonic();
    this.#sendWelcome();
    assignments.knownTo(this.node, hello.knows ?? []);
    const kept = hello.revision === assignments.revision && hello.items !== undefined && hello.items !== assignments.expected(this.node);
    this.#sent = hello.epoch === assignments.epoch && !kept ? hello.revision : 0;
    if (this.#sent === assignments.revision) this.#nothingNew();
    this.#catchUp();
    if (hello.epoch !== assignments.epoch || this.#options.lacksReports()) this.askForReports();
  }

  #sendWelcome(): void {
    const { assignments, clock, masterVersion, heartbeatMs, leaseMs } = this.#options;
    const settings = this.#options.settings();
    if (JSON.stringify(settings) === this.#settings) return;
    this.#settings = JSON.stringify(settings);
    this.#control('welcome', { protocol: protocolVersion, masterVersion, epoch: assignments.epoch, nowMs: clock.now(), heartbeatMs, leaseMs, ...(this.#options.renew ? { renews: true } : {}), ...(this.#options.podToken ? { tokens: true } : {}), ...settings });
  }

  #acked({ epoch, revision, items }: Payload<'ack'>): void {
    if (epoch !== this.#options.assignments.epoch || revision > this.#sent) return;
    this.#acknowledged = revision;
    this.#unacknowledged = revision === this.#sent ? 0 : Math.max(0, this.#unacknowledged - 1);
    const expected = this.#expected;
    this.#expected = undefined;
    if (items !== undefined && expected?.revision === revision && expected.items !== items) {
      this.#options.log.info('agent holds what was removed long ago; sending it everything', { node: this.node, items, expected: expected.items });
      this.#sent = 0;
      this.#behind = true;
    }
    if (this.#behind) this.#catchUp();
  }

  /** Tells an agent that it knows all there is, which it must not think before: pods that it stopped may be another's now. */
  #nothingNew(): void {
    const { epoch, revision } = this.#options.assignments;
    for (const frame of syncFrames({ epoch, from: revision, revision, removed: [], more: false }, [])) this.#send(frame);
  }

  /** Brings an agent that missed something up to date, unless that is under way. */
  #catchUp(): void {
    if (this.#sending || this.#why !== undefined) return;
    const { assignments, sending, log } = this.#options;
    if (this.#sent === assignments.revision) { this.#behind = false; return; }
    this.#sending = true;
    const done = sending.run(async () => {
      if (this.#why !== undefined) return;
      // All of it is of this moment; what changes while it is being sent makes the session fall behind again.
      const resumption = assignments.resume(this.node, { epoch: assignments.epoch, revision: this.#sent });
      await this.#sendAll(resumption);
    });
    done.catch((error: unknown) => { log.error('bringing an agent up to date failed', { node: this.node, error }); this.bye('internal error', true); })
      .finally(() => {
        this.#sending = false;
        // The agent's answer may have come before the network's.
        if (this.#behind && (this.#unacknowledged === 0 || this.#sent === 0)) this.#catchUp();
      });
  }

  async #sendAll({ from, revision, items, removed, expected }: Resumption): Promise<void> {
    const { assignments } = this.#options;
    const own = syncFrames({ epoch: assignments.epoch, from, revision, removed: [...removed], more: false }, items);
    const frames = from === 0 ? [...assignments.services.snapshot(revision), ...own] : own;
    this.#sent = revision;
    this.#unacknowledged = 1;
    this.#behind = false;
    this.#expected = { revision, items: expected };
    for (const frame of frames) {
      this.#behind ||= frames.length > 1;
      await this.#sendAndWait(frame);
      if (this.#why !== undefined) return;
    }
  }

  /** Resolves when the network has taken the frame, or the session is over. */
  #sendAndWait(frame: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#send(frame, resolve);
    });
  }

  /** Stops reading for a while from an agent that sends more than any honest one would. Large stream data has its credit. */
  #charge(bytes: Uint8Array): void {
    const { clock } = this.#options;
    const waitMs = isControl(bytes) || bytes.length < bytesPerToken ? this.#frames.take(1 + bytes.length / bytesPerToken, this.#receivedMs) : 0;
    if (waitMs === 0 || this.#throttled) return;
    this.#throttled = true;
    this.#pause(1);
    // Long enough that stopping and starting again costs nothing.
    clock.after(Math.max(waitMs, leastPauseMs), () => { this.#throttled = false; this.#pause(-1); });
  }

  /** Counts reasons not to read from the agent. */
  #pause(by: 1 | -1): void {
    this.#pauses += by;
    if (this.#why !== undefined) return;
    if (by === 1 && this.#pauses === 1) this.#socket.pause();
    if (this.#pauses === 0) this.#socket.resume();
  }

  /** Has a report written after those before it, and acknowledges it. `cost`: objects to be written. */
  #take(ack: 'statusAck' | 'nodeAck' | 'eventsAck', seq: number, cost: number, write: () => Promise<void>): void {
    const { clock, log } = this.#options;
    if (++this.#reports === maxReports) this.#pause(1);
    const waitMs = this.#writes.take(cost, clock.monotonic());
    this.#work = this.#work.then(async () => {
      try {
        if (waitMs > 0) await this.#later(waitMs);
        if (this.#why === undefined) {
          await write();
          this.#control(ack, { seq });
        }
      } catch (error) {
        log.warn('a report could not be written; the agent will send it again', { node: this.node, error });
      }
      if (this.#reports-- === maxReports) this.#pause(-1);
    });
  }

  /** Resolves after some time, or at the end of the session. */
  async #later(ms: number): Promise<void> {
    let cancel = (): void => {};
    await Promise.race([this.#closed, new Promise<void>((resolve) => { cancel = this.#options.clock.after(ms, resolve); })]);
    cancel();
  }

  #relay(id: number, wish: RelayWish): void {
    const { relay, clock } = this.#options;
    try {
      if (!relay) throw new StreamReset(501, 'this master relays nothing');
      if (this.#relays.take(1, clock.monotonic()) > 0) throw new StreamReset(429, 'too many connections at a time');
      relay(this.channel.accept(id, relayWindow), wish);
    } catch (error) {
      if (!(error instanceof StreamReset)) throw error;
      this.channel.refuse(id, error);
    }
  }

  #tellPeers(networks: readonly string[], held: string): void {
    const { peers, clock } = this.#options;
    if (!peers) return;
    // A look at many nodes costs as much as some connections do.
    if (this.#relays.take(50, clock.monotonic()) > 0) throw new ProtocolError('peersWanted too often');
    this.#isNear = networkTest(networks);
    const found = peers(networks).filter(([name]) => name !== this.node);
    if (peersDigest(found) !== held) this.#control('peers', [true, found.map((peer) => [...peer]), []]);
  }

  /** Answers one renewal at a time. */
  #renew(request: Payload<'renew'>): void {
    const { renew, clock, log } = this.#options;
    if (!renew || this.#renewing) throw new ProtocolError(renew ? 'renew while another is under way' : 'this master renews no certificates');
    if (clock.monotonic() - this.#renewedMs < renewPauseMs) return this.#control('notRenewed', { reason: 'too soon after another' });
    this.#renewedMs = clock.monotonic();
    this.#renewing = renew(request)
      .then((answer) => this.#control('certificate', answer), (error: unknown) => {
        log.warn('a certificate could not be renewed', { node: this.node, error });
        this.#control('notRenewed', { reason: (error as Error).message.slice(0, 1024) });
      })
      .finally(() => { this.#renewing = undefined; });
  }

  #token(request: Payload<'token'>): void {
    const { podToken, log } = this.#options;
    if (!podToken) throw new ProtocolError('this master makes no tokens');
    const { id } = request;
    this.#making++;
    // As with reports: who asks for more than can be made is not listened to for a while.
    if (this.#making === maxMaking) this.#pause(1);
    podToken(request).then((token) => this.#control('podToken', { id, token }), (error: unknown) => {
      log.warn('no token for a pod', { node: this.node, pod: `${request.namespace}/${request.pod}`, error });
      this.#control('noPodToken', { id, reason: (error as Error).message.slice(0, 1024) });
    }).finally(() => {
      if (this.#making-- === maxMaking) this.#pause(-1);
    }).catch(() => {});
  }

  #control<N extends MessageName>(name: N, payload: Payload<N>): void {
    this.#send(encodeMessage(name, payload));
  }

  #send(frame: Uint8Array, sent?: () => void): void {
    if (this.#why === undefined) this.#socket.send(frame, sent);
    else sent?.();
  }

  #end(why: string, gently = false): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    this.channel.close(why.startsWith('node ') ? why : `node "${this.node}" is not connected any more`);
    if (gently) this.#socket.close();
    else this.#socket.destroy();
    this.#wake?.();
    this.#askAgain?.();
    this.#close();
  }
}
