import { Channel, relayWindow } from '../../shared/channel.ts';
import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import { agentKnows, decodeMessage, encodeMessage, isControl, ProtocolError, protocolVersion, UnknownMessage, type Handlers, type MessageName, type Payload } from '../../shared/protocol.ts';
import type { FrameSocket } from '../../shared/socket.ts';
import { heldFor, noteKnown } from './known.ts';
import { Inbound, type Applied } from './inbound.ts';
import type { SessionOptions } from './options.ts';
import type { Outbox } from './outbox.ts';

/** How a connection went. */
export interface Outcome {
  readonly why: string;
  /** How long it was welcomed. */
  readonly healthyMs: number;
  /** False: the master will not take this agent as it is. */
  readonly retry: boolean;
  /** Before when the master does not want to be asked again. */
  readonly afterMs?: number;
}

/** Difference between two clocks that is logged. */
const worthMentionMs = 60_000;
/** Share of the lease in which a heartbeat must be answered, and the least and the most that it comes to. */
const answerShare = 0.2;
const leastAnswerMs = 2000;
const mostAnswerMs = 8000;
/** The master must answer hello within this time. */
const welcomeMs = 20_000;

/**
 * One connection to the master, from hello to its end.
 *
 * ```
 * greeting ──welcome──▶ open ──bye, silence, error, abort──▶ ended
 *     └────────────────bye, silence, error, abort───────────────┘
 * ```
 */
export class Connection {
  readonly #options: SessionOptions;
  readonly #socket: FrameSocket;
  readonly #outbox: Outbox;
  readonly #channel: Channel;
  readonly #serving = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #welcome: Payload<'welcome'> | undefined;
  #inbound: Inbound | undefined;
  #countedItems = false;
  #current = false;
  #welcomedMs = 0;
  #sentMs: number;
  #receivedMs: number;
  /** When a heartbeat was sent after which nothing was received; Infinity: none. */
  #beatMs = Infinity;
  #retry = true;
  #why: string | undefined;
  #ended: (() => void) | undefined;
  #cancelBeat: (() => void) | undefined;
  #cancelFlush: (() => void) | undefined;
  #flushDueMs = Infinity;

  constructor(options: SessionOptions, socket: FrameSocket, outbox: Outbox) {
    this.#options = options;
    this.#socket = socket;
    this.#outbox = outbox;
    this.#sentMs = this.#receivedMs = options.clock.monotonic();
    const { batches } = socket;
    this.#channel = new Channel({
      side: 'agent', send: (frame, sent) => this.#send(frame, sent), bufferedBytes: () => socket.bufferedBytes,
      ...(batches ? { batches: { ...batches, send: (batch, sent) => this.#send(batch, sent, batches.send) } } : {}),
    });
  }

  /** Resolves when the connection is over and nothing that it started is left. */
  async run(signal: AbortSignal): Promise<Outcome> {
    const { clock, state, node, agentVersion, bootId } = this.#options;
    const over = new Promise<void>((resolve) => { this.#ended = resolve; });
    const aborted = (): void => this.#end('stopping');
    signal.addEventListener('abort', aborted, { once: true });
    this.#socket.listen({ frame: (bytes) => this.#frame(bytes), end: (why) => this.#end(why) });
    this.#control('hello', { protocol: protocolVersion, agentVersion, node, bootId, ...heldFor(state), items: state.items.size, knows: [...agentKnows], ...(this.#options.upgrade ? { upgrades: this.#options.upgrade.arch } : {}), relays: true, usage: true, kubelet: true });
    this.#beat();
    if (signal.aborted) aborted();
    await over;
    signal.removeEventListener('abort', aborted);
    await this.#inbound?.idle();
    await Promise.all(this.#serving);
    return { why: this.#why ?? '', healthyMs: this.#welcome ? clock.monotonic() - this.#welcomedMs : 0, retry: this.#retry };
  }

  /** The master has said all that this node must know. */
  get isCurrent(): boolean {
    return this.#current;
  }

  /** Monotonic time of the master's last frame. */
  get receivedMs(): number {
    return this.#receivedMs;
  }

  /** Something new is in the outbox: sends it together with what comes within `ms`. */
  flushSoon(ms = this.#options.flushMs ?? 20): void {
    if (!this.#welcome || this.#why !== undefined) return;
    const due = this.#options.clock.monotonic() + ms;
    if (due >= this.#flushDueMs) return;
    this.#flushDueMs = due;
    this.#cancelFlush?.();
    this.#cancelFlush = this.#options.clock.after(ms, () => this.#flush());
  }

  /** Whether the master relays. */
  get relays(): boolean {
    return this.#why === undefined && this.#welcome?.clusterCIDR !== undefined;
  }

  /** A stream to an endpoint on another node; undefined when the master is not there or relays nothing. @throws StreamReset when there are too many */
  relay(wish: Omit<Payload<'relay'>, 'id'>): ByteStream | undefined {
    if (!this.relays) return undefined;
    const stream = this.#channel.open(relayWindow);
    this.#control('relay', { id: stream.id, ...wish });
    return stream;
  }

  #flush(): void {
    this.#flushDueMs = Infinity;
    if (this.#why !== undefined) return;
    const now = this.#options.clock.monotonic();
    for (const frame of this.#outbox.take(now)) this.#send(frame);
    const next = this.#outbox.nextMs(now);
    if (next !== undefined) this.flushSoon(Math.max(next, 1));
  }

  readonly #handlers: Handlers<'master'> = {
    welcome: (settings) => this.#welcomed(settings),
    sync: (part) => this.#applied(this.#open().sync(part)),
    patch: (patch) => this.#applied(this.#open().patch(patch)),
    statusAck: ({ seq }) => { this.#outbox.acknowledged('status', seq); this.flushSoon(0); },
    nodeAck: ({ seq }) => { this.#outbox.acknowledged('node', seq); this.flushSoon(0); },
    eventsAck: ({ seq }) => { this.#outbox.acknowledged('events', seq); this.flushSoon(0); },
    heartbeatAck: () => {},
    report: () => { this.#outbox.reportAgain(); this.flushSoon(0); },
    open: ({ id, request }) => {
      this.#open();
      this.#serve(this.#channel.accept(id, request.type === 'relay' ? relayWindow : undefined), request);
    },
    certificate: (answer) => this.#options.renewal?.answered(answer),
    notRenewed: ({ reason }) => this.#options.renewal?.refused(reason),
    upgrade: (wanted) => this.#options.upgrade?.wanted(wanted),
    podToken: (answer) => this.#options.tokens?.answered(answer),
    noPodToken: (answer) => this.#options.tokens?.refused(answer),
    upgradeSeen: ({ sha256 }) => this.#options.upgrade?.seen(sha256),
    peers: (change) => this.#options.peers?.changed(change),
    bye: ({ reason, retry }) => { this.#retry = retry; this.#end(reason); },
  };

  #frame(bytes: Uint8Array): void {
    if (this.#why !== undefined) return;
    this.#receivedMs = this.#options.clock.monotonic();
    this.#beatMs = Infinity;
    try {
      if (!isControl(bytes)) return this.#channel.receive(bytes);
      // The socket's bytes are good for this turn only; parts of a message may be kept.
      const message = decodeMessage(Buffer.from(bytes), 'master');
      (this.#handlers[message.name] as (payload: unknown) => void)(message.payload);
    } catch (error) {
      if (error instanceof UnknownMessage) return this.#unknown(error);
      if (!(error instanceof ProtocolError) && !(error instanceof StreamReset)) this.#options.log.error('handling a frame of the master failed', { error });
      this.#end((error as Error).message);
    }
  }

  /** A later master's message is not for this agent: nothing else of the session suffers. */
  #unknown({ message, stream }: UnknownMessage): void {
    this.#options.log.debug('the master sent what this agent does not know', { what: message });
    if (stream !== undefined) this.#channel.refuse(stream, new StreamReset(501, `the agent of node "${this.#options.node}" is too old for ${message}`));
  }

  /** The inbound side once welcomed. @throws ProtocolError before */
  #open(): Inbound {
    if (!this.#inbound) throw new ProtocolError('the master sent something before welcome');
    return this.#inbound;
  }

  #welcomed(settings: Payload<'welcome'>): void {
    const first = !this.#welcome;
    if (settings.protocol !== protocolVersion) throw new ProtocolError(`the master speaks protocol ${settings.protocol}, this agent ${protocolVersion}`);
    this.#welcome = settings;
    this.#options.onWelcome(settings);
    if (!first) return;
    this.#inbound = new Inbound({ state: this.#options.state, epoch: settings.epoch, clock: this.#options.clock, signal: this.#abort.signal });
    this.#welcomedMs = this.#options.clock.monotonic();
    this.#outbox.restart();
    this.flushSoon(0);
    this.#beat();
    this.#compareClocks(settings.nowMs);
    if (settings.renews) this.#options.renewal?.opened(settings.nowMs, (request) => this.#control('renew', request));
    if (settings.clusterCIDR && this.#options.peers) this.#control('peersWanted', this.#options.peers.wanted());
    if (settings.tokens) this.#options.tokens?.opened((request) => this.#control('token', request));
    this.#options.upgrade?.opened((status) => this.#control('upgradeStatus', status));
  }

  /** A clock that is wrong is for somebody to mend: statuses and logs carry its time. */
  #compareClocks(masterMs: number): void {
    const { clock, log } = this.#options;
    const aheadMs = clock.now() - masterMs;
    if (Math.abs(aheadMs) <= worthMentionMs) return;
    log.warn('this host\'s clock and the master\'s differ', { here: new Date(clock.now()).toISOString(), master: new Date(masterMs).toISOString(), aheadSeconds: Math.round(aheadMs / 1000) });
  }

  #applied(applied: Promise<Applied>): void {
    applied.then((result) => {
      if (this.#why !== undefined) return;
      if (result.type === 'resync') this.#control('resync', { reason: result.reason });
      if (result.type !== 'held') return;
      this.#control('ack', { epoch: result.epoch, revision: result.revision, ...(this.#countedItems ? {} : { items: this.#options.state.items.size }) });
      if (!this.#countedItems) noteKnown(this.#options.state).catch((error: unknown) => this.#options.log.warn('what this agent knows could not be noted', { error }));
      this.#countedItems = true;
      if (this.#current) return;
      this.#current = true;
      this.#options.onLink?.(undefined);
    }).catch((error: unknown) => {
      this.#options.log.error('what the master sent could not be taken over', { error });
      this.#end((error as Error).message);
    });
  }

  #serve(stream: ByteStream, request: Payload<'open'>['request']): void {
    const abort = new AbortController();
    const stop = (): void => abort.abort();
    this.#abort.signal.addEventListener('abort', stop, { once: true });
    stream.onReset(stop);
    const serving = this.#pipe(stream, request, abort.signal).then(() => {
      this.#abort.signal.removeEventListener('abort', stop);
      this.#serving.delete(serving);
    });
    this.#serving.add(serving);
  }

  async #pipe(stream: ByteStream, request: Payload<'open'>['request'], signal: AbortSignal): Promise<void> {
    try {
      for await (const chunk of this.#options.openStream(request, signal, stream)) await stream.write(chunk);
      stream.end();
      stream.discard();
    } catch (error) {
      const { code } = error as { code?: unknown };
      stream.reset(typeof code === 'number' && code >= 400 && code < 600 ? code : 500, (error as Error).message);
    }
  }

  /**
   * Sends a heartbeat when nothing else was sent for long, or when nothing came: a stream that trickles from here gets
   * no answer of its own. Ends the connection when the master is silent. A heartbeat is answered; one that is not says,
   * long before the lease is over, that the way is broken: a new connection then comes in time for the master not to
   * miss this node.
   */
  #beat(): void {
    this.#cancelBeat?.();
    if (this.#why !== undefined) return;
    const now = this.#options.clock.monotonic();
    const { heartbeatMs, leaseMs } = this.#welcome ?? { heartbeatMs: Infinity, leaseMs: welcomeMs };
    if (now - this.#receivedMs >= leaseMs) return this.#end(`no sign of life from the master for ${Math.round(leaseMs / 1000)} s`);
    const answerMs = Math.min(mostAnswerMs, Math.max(leastAnswerMs, leaseMs * answerShare));
    if (now - this.#beatMs >= answerMs) return this.#end(`the master has not answered a heartbeat for ${Math.round(answerMs / 1000)} s`);
    if (now - this.#sentMs >= heartbeatMs || (this.#beatMs === Infinity && now - this.#receivedMs >= heartbeatMs)) {
      if (this.#beatMs === Infinity) this.#beatMs = now;
      this.#control('heartbeat', {});
    }
    const quietMs = this.#beatMs === Infinity ? this.#receivedMs + heartbeatMs : Infinity;
    const next = Math.min(this.#receivedMs + leaseMs, this.#sentMs + heartbeatMs, quietMs, this.#beatMs + answerMs);
    this.#cancelBeat = this.#options.clock.after(Math.max(1, next - now), () => this.#beat());
  }

  #control<N extends MessageName>(name: N, payload: Payload<N>): void {
    this.#send(encodeMessage(name, payload));
  }

  #send(frame: Uint8Array, sent: () => void = () => {}, send = this.#socket.send): void {
    if (this.#why !== undefined) return;
    this.#sentMs = this.#options.clock.monotonic();
    send.call(this.#socket, frame, sent);
  }

  #end(why: string): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    this.#cancelBeat?.();
    this.#cancelFlush?.();
    this.#options.renewal?.closed();
    this.#options.tokens?.closed();
    this.#options.upgrade?.closed();
    this.#channel.close(why);
    this.#abort.abort();
    this.#socket.destroy();
    this.#ended?.();
  }
}
