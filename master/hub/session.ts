import type { ByteStream } from '../../shared/byte-stream.ts';
import { StreamReset } from '../../shared/byte-stream.ts';
import { Channel, relayWindow } from '../../shared/channel.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EnrolAnswer } from '../../shared/enrolment.ts';
import type { Log } from '../../shared/log.ts';
import { agentKnows, agentLabels, encodeMessage, isControl, ProtocolError, protocolVersion, type Handlers, type NodeTaint, type Payload, type StreamRequest } from '../../shared/protocol.ts';
import type { Taint } from '../../shared/kinds/node.ts';
import { networkTest, peersDigest, type Peer } from '../../shared/peers.ts';
import type { FrameSocket } from '../../shared/socket.ts';
import type { Assignments, NodeItems } from './assignments.ts';
import { Delivery } from './delivery.ts';
import type { FrameDecoder } from './frame-decoder.ts';
import type { Gate } from './gate.ts';
import type { PeerChange } from './peers.ts';
import { Reading } from './reading.ts';
import type { RelayRequest, RelayWish } from './relay.ts';
import { Renewals } from './renewals.ts';
import { ReportIntake, type ReportHandlers } from './report-intake.ts';
import { SessionLink } from './session-link.ts';
import { Throttle } from './throttle.ts';
import { TokenAnswers } from './token-answers.ts';

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
  /** Of the Node, those that its agent heeds; absent without any. */
  readonly nodeTaints?: NodeTaint[];
}

/** What to tell an agent of its Node's labels, in a lasting order. */
export function labelsForAgent(labels: Readonly<Record<string, string>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => !agentLabels.includes(key)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What to tell an agent of its Node's taints, in a lasting order. */
export function taintsForAgent(taints: readonly Taint[] | undefined): Pick<ClusterSettings, 'nodeTaints'> {
  const heeded = (taints ?? []).filter(({ effect }) => effect === 'NoExecute').sort((a, b) => (a.key < b.key ? -1 : 1));
  return heeded.length === 0 ? {} : { nodeTaints: heeded.map(({ key, value, effect }) => ({ key, ...(value ? { value } : {}), effect })) };
}

export interface SessionOptions {
  readonly node: string;
  readonly socket: FrameSocket;
  readonly clock: Clock;
  readonly log: Log;
  readonly assignments: Assignments;
  /** One for all sessions. */
  readonly decoder: FrameDecoder;
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

/** Connections that one agent may have relayed: each is looked up. */
const relayLimits = { perSecond: 500, burst: 2_000 };
/** Whether a stream request is one that not every agent knows. */
const isLater = (type: StreamRequest['type']): boolean => (agentKnows as readonly string[]).includes(type);
const heartbeatAck = encodeMessage('heartbeatAck', {});

/**
 * One agent's connection: who it is, what is told and asked over it, and its end. Its parts are {@link Delivery} (what the
 * agent must know), {@link ReportIntake} (what it reports), {@link Renewals} and {@link TokenAnswers}.
 *
 * ```
 * greeting ──hello──▶ current ◀──────▶ behind      (behind: see Delivery)
 *     │                  │               │
 *     └──────────────────┴───────────────┴──▶ ended
 * ```
 */
export class Session {
  readonly node: string;
  readonly channel: Channel;
  readonly #options: SessionOptions;
  readonly #link: SessionLink;
  readonly #reading: Reading;
  readonly #delivery: Delivery;
  readonly #intake: ReportIntake;
  readonly #renewals: Renewals;
  readonly #tokens: TokenAnswers;
  #hello: Payload<'hello'> | undefined;
  #receivedMs: number;
  #openedMs = 0;
  #settings = '';
  readonly #relays: Throttle;
  /** Whether an address is of a network that the agent wants to know the nodes of. */
  #isNear: ((address: string) => boolean) | undefined;

  constructor(options: SessionOptions) {
    const { node, socket, clock, log, assignments, sending, reports, lacksReports, renew, podToken } = options;
    this.#options = options;
    this.node = node;
    this.#receivedMs = clock.monotonic();
    this.#relays = new Throttle(relayLimits, this.#receivedMs);
    const link = new SessionLink({ node, socket, clock, log });
    const reading = new Reading(link);
    this.#link = link;
    this.#reading = reading;
    this.#delivery = new Delivery({ link, assignments, sending, fail: () => this.bye('internal error', true) });
    this.#intake = new ReportIntake({ link, reading, reports, lacksReports });
    this.#renewals = new Renewals({ link, renew });
    this.#tokens = new TokenAnswers({ link, reading, podToken });
    this.channel = new Channel({ side: 'master', send: (frame, sent) => link.send(frame, sent), bufferedBytes: () => socket.bufferedBytes, ...(socket.batches ? { batches: { ...socket.batches, send: (batch, sent) => link.sendBatch(batch, sent) } } : {}) });
  }

  /** Monotonic time of the last sign of life. */
  get receivedMs(): number {
    return this.#receivedMs;
  }

  /** Hello was answered. */
  get isOpen(): boolean {
    return this.#hello !== undefined && !this.#link.over;
  }

  /** What the agent says that it is, and when its session began on the monotonic clock; undefined before hello. */
  get about(): { readonly agentVersion: string; readonly openedMs: number } | undefined {
    return this.#hello && { agentVersion: this.#hello.agentVersion, openedMs: this.#openedMs };
  }

  /** Revisions between what the agent should hold and what it has acknowledged. */
  get lag(): number {
    return this.#delivery.lag;
  }

  get revision(): { readonly sent: number; readonly acknowledged: number } {
    return this.#delivery.revision;
  }

  /** Serves until the connection is over and the reports that came over it are written. `before` ends first. */
  async run(before: Promise<void>): Promise<void> {
    this.#intake.begin(before);
    this.#options.socket.listen({ frame: (bytes) => this.#frame(bytes), end: (why) => this.#end(why) });
    await this.#link.closed;
    await this.#intake.settled();
    await this.#renewals.settled();
  }

  /** Sends what changed: `own` of this node, `shared` frames for every session, which bring it to `revision`. */
  update(own: NodeItems | undefined, shared: readonly Uint8Array[], revision: number): void {
    if (this.isOpen) this.#delivery.update(own, shared, revision);
  }

  /** Tells the agent when its settings changed. */
  refreshSettings(): void {
    if (this.isOpen) this.#sendWelcome();
  }

  /** Asks for everything that the agent has reported before. */
  askForReports(): void {
    if (this.isOpen) this.#intake.ask();
  }

  /** Opens a stream of the node. @throws StreamReset when there are too many, or the session is over */
  openStream(request: StreamRequest): ByteStream {
    if (!this.isOpen) throw new StreamReset(503, `node "${this.node}" is not connected`);
    if (request.type === 'usage' && !this.#hello?.usage) throw new StreamReset(501, `the agent of node "${this.node}" measures nothing`);
    if (request.type === 'kubelet' && !this.#hello?.kubelet) throw new StreamReset(501, `the agent of node "${this.node}" serves no paths of its own`);
    if (isLater(request.type) && !this.#hello?.knows?.includes(request.type)) throw new StreamReset(501, `the agent of node "${this.node}" (${this.#hello?.agentVersion}) is too old for it: upgrade it`);
    const stream = this.channel.open();
    this.#link.control('open', { id: stream.id, request });
    return stream;
  }

  /** Opens a stream for a connection from another node. @throws StreamReset when it cannot be had now */
  openRelay(request: RelayRequest): ByteStream {
    if (!this.isOpen) throw new StreamReset(503, `node "${this.node}" is not connected`);
    if (!this.#hello?.relays) throw new StreamReset(501, `the agent of node "${this.node}" takes no relayed connections`);
    const stream = this.channel.open(relayWindow);
    this.#link.control('open', { id: stream.id, request });
    return stream;
  }

  /** A node came, changed or went. */
  peerChanged({ before, after }: PeerChange): void {
    if (!this.isOpen || !this.#isNear || (after ?? before)?.[0] === this.node) return;
    if (after && this.#isNear(after[1])) this.#link.control('peers', [false, [[...after]], []]);
    else if (before && this.#isNear(before[1])) this.#link.control('peers', [false, [], [before[0]]]);
  }

  /** What the agent is; undefined before hello. `upgrades`: Docker's name of its architecture, if it can be upgraded. */
  get agent(): { readonly version: string; readonly upgrades: string | undefined } | undefined {
    return this.#hello && { version: this.#hello.agentVersion, upgrades: this.#hello.upgrades };
  }

  /** Asks the agent to replace its program. */
  upgrade(wanted: Payload<'upgrade'>): void {
    if (this.isOpen) this.#link.control('upgrade', wanted);
  }

  upgradeSeen(sha256: string): void {
    this.#link.control('upgradeSeen', { sha256 });
  }

  /** Ends the session, telling the agent why. */
  bye(reason: string, retry: boolean): void {
    if (this.#link.over) return;
    this.#link.control('bye', { reason, retry });
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
    ack: (ack) => this.#delivery.acked(ack),
    resync: (request) => this.#delivery.resync(request),
    status: (report) => this.#intake.status(report),
    node: (report) => this.#intake.node(report),
    events: (report) => this.#intake.events(report),
    heartbeat: () => this.#link.send(heartbeatAck, undefined, true),
    renew: (request) => this.#renewals.answer(request),
    token: (request) => this.#tokens.answer(request),
    upgradeStatus: (status) => this.#options.upgrading?.(status),
    relay: ({ id, ...wish }) => this.#relay(id, wish),
    peersWanted: ({ networks, held }) => this.#tellPeers(networks, held),
  };

  #frame(bytes: Uint8Array): void {
    if (this.#link.over) return;
    this.#receivedMs = this.#options.clock.monotonic();
    this.#reading.charge(bytes, this.#receivedMs);
    try {
      if (!this.#hello && !isControl(bytes)) throw new ProtocolError('stream data before hello');
      if (!isControl(bytes)) return this.channel.receive(bytes);
      const message = this.#options.decoder.decode(bytes);
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
    this.#delivery.begin(hello);
    if (hello.epoch !== assignments.epoch || this.#options.lacksReports()) this.askForReports();
  }

  #sendWelcome(): void {
    const { assignments, clock, masterVersion, heartbeatMs, leaseMs } = this.#options;
    const settings = this.#options.settings();
    if (JSON.stringify(settings) === this.#settings) return;
    this.#settings = JSON.stringify(settings);
    this.#link.control('welcome', { protocol: protocolVersion, masterVersion, epoch: assignments.epoch, nowMs: clock.now(), heartbeatMs, leaseMs, ...(this.#options.renew ? { renews: true } : {}), ...(this.#options.podToken ? { tokens: true } : {}), ...settings });
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
    if (peersDigest(found) !== held) this.#link.control('peers', [true, found.map((peer) => [...peer]), []]);
  }

  #end(why: string, gently = false): void {
    if (this.#link.over) return;
    this.#link.end(gently);
    this.channel.close(why.startsWith('node ') ? why : `node "${this.node}" is not connected any more`);
    this.#delivery.end();
    this.#intake.end();
  }
}
