import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import { StatusError } from '../../shared/status.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';
import { encoderOf } from './encode.ts';
import type { Exchange } from './exchange.ts';
import { answerHeaders } from './headers.ts';
import { checkNotFuture } from './list.ts';
import { negotiate } from './negotiate.ts';
import { listOptions, type ListOptions } from './options.ts';
import { selectionOf } from './select.ts';
import { includeObject } from './table.ts';
import { errorLine, eventLine } from './watch-event.ts';
import { bookmarkFrame, deliverAlone, send, WatchHub, type Subject, type Watcher } from './watch-hub.ts';
import { frame, httpSink, socketSink, type Sink } from './watch-sink.ts';
import { initialEvents } from './watch-initial.ts';

export interface WatchesOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Annotation of the bookmark that ends the initial events. */
const initialEventsEnd = { 'k8s.io/initial-events-end': 'true' };

/** Shortest life of a watch that names no timeout; the longest is twice that (apiserver's `--min-request-timeout`). */
const minTimeoutMs = 30 * 60_000;

/** A watch that is understood, and begins once its client is connected. */
export interface Plan extends Omit<Subject, 'framing'> {
  readonly options: ListOptions;
}

/** Every watch of the server, over chunked HTTP and over WebSocket. */
export class Watches {
  readonly #options: WatchesOptions;
  readonly #hub: WatchHub;
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024, handleProtocols: (offered) => chooseProtocol(offered) });
  readonly #live = new Set<Sink>();

  constructor(options: WatchesOptions) {
    this.#options = options;
    this.#hub = new WatchHub(options.registry, options.clock);
  }

  /** Serves watches until `signal` aborts; then ends them, and their clients come back elsewhere. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#hub.run(signal);
    for (const sink of this.#live) sink.end();
  }

  /** Number of clients watching. */
  get size(): number {
    return this.#live.size;
  }

  /** Answers a watch over HTTP. @throws StatusError 400, 406, 422, 504 while nothing was sent */
  answer(x: Exchange, kind: Kind, namespace: string, name: string): void {
    const plan = this.plan(x, kind, namespace, name);
    x.res.writeHead(200, answerHeaders(x, 'application/json'));
    if (x.method === 'HEAD') return void x.res.end();
    x.res.flushHeaders();
    this.#begin(plan, httpSink(x.res));
  }

  /** @throws StatusError as {@link answer} */
  plan(x: Exchange, kind: Kind, namespace: string, name: string): Plan {
    const representation = negotiate(x.header('accept'), true);
    const options = listOptions(x.query, true);
    const policy = includeObject(x.query);
    checkNotFuture(options.resourceVersion ?? 0, this.#options.registry.store.revision);
    return {
      kind, options, selection: selectionOf(kind, namespace, name, options),
      encoder: encoderOf({ kind, representation: { ...representation, media: 'json' }, includeObject: policy, now: this.#options.clock.now }),
      form: `${representation.as} ${representation.version} ${policy}`,
    };
  }

  /** Accepts a WebSocket for a watch that was planned. */
  upgrade(plan: Plan, req: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#sockets.handleUpgrade(req, socket, head, (ws) => {
      ws.on('error', () => ws.terminate());
      this.#begin(plan, socketSink(ws, socket));
    });
  }

  #begin(plan: Plan, sink: Sink): void {
    this.#live.add(sink);
    const ended = new AbortController();
    sink.onClose(() => {
      this.#live.delete(sink);
      ended.abort();
    });
    const watch = new Watch({ ...plan, framing: sink.framing }, plan.options, sink, this.#hub, this.#options, ended.signal);
    void watch.start();
  }
}

/** The first protocol that is not a token in disguise. */
const chooseProtocol = (offered: ReadonlySet<string>): string | false =>
  [...offered].find((name) => !name.startsWith('base64url.bearer.authorization.k8s.io.')) ?? false;

/** One watch: initial objects, then what the log has, then live. */
class Watch implements Watcher {
  readonly sink: Sink;
  readonly bookmarks: boolean;
  position: number;
  first = true;
  readonly #subject: Subject;
  readonly #options: ListOptions;
  readonly #hub: WatchHub;
  readonly #server: WatchesOptions;
  readonly #signal: AbortSignal;
  #live = false;

  constructor(subject: Subject, options: ListOptions, sink: Sink, hub: WatchHub, server: WatchesOptions, signal: AbortSignal) {
    this.sink = sink;
    this.bookmarks = options.bookmarks;
    this.position = options.resourceVersion ?? 0;
    this.#subject = subject;
    this.#options = options;
    this.#hub = hub;
    this.#server = server;
    this.#signal = signal;
    // Only tables tell the first event from the others.
    if (!subject.form.startsWith('table')) this.first = false;
  }

  /** Never rejects: what goes wrong is the watch's last event. */
  async start(): Promise<void> {
    this.#endLater();
    try {
      const { sendInitialEvents } = this.#options;
      const anyStart = !this.#options.resourceVersion;
      if (sendInitialEvents ?? anyStart) await this.#sendInitial(sendInitialEvents === true);
      else if (anyStart) this.position = this.#server.registry.store.revision;
      if (!this.#signal.aborted) this.#follow();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const status = error instanceof StatusError ? error : new StatusError(500, 'InternalError', (error as Error).message);
    if (this.sink.closed) return;
    this.sink.send(frame(this.sink.framing, [errorLine(status)]));
    this.sink.end();
  }

  async #sendInitial(announceEnd: boolean): Promise<void> {
    const { registry } = this.#server;
    this.position = registry.store.revision;
    for await (const items of initialEvents(registry, this.#subject.kind, this.#subject.selection, this.sink)) {
      const lines = items.map((item, index) => eventLine('ADDED', this.#subject.encoder.event(item, this.first && index === 0)));
      this.first = false;
      this.sink.send(frame(this.sink.framing, lines));
    }
    if (announceEnd && this.bookmarks) send(this, bookmarkFrame(this.#subject, this.position, initialEventsEnd));
  }

  /** Reads the log until nothing is left that live watchers have had, then joins them. @throws StatusError 410 */
  #follow(): void {
    this.#checkNotCompacted();
    if (this.#hub.isCurrent(this.#subject.kind, this.position)) return this.#join();
    const caughtUp = new AbortController();
    this.#signal.addEventListener('abort', () => caughtUp.abort(), { once: true });
    this.#server.registry.changes(this.position, (changes) => {
      if (!this.sink.closed) this.#replay(changes, caughtUp);
    }, caughtUp.signal);
  }

  #checkNotCompacted(): void {
    const { compactedRevision } = this.#server.registry.store;
    if (this.position < compactedRevision) throw new StatusError(410, 'Expired', `too old resource version: ${this.position} (${compactedRevision})`);
  }

  #replay(changes: readonly KindChange[], caughtUp: AbortController): void {
    const { kind, selection } = this.#subject;
    const mine = changes.filter((change) => change.kind === kind
      && (!selection.namespace || change.namespace === selection.namespace) && (!selection.name || change.name === selection.name));
    deliverAlone(this.#subject, this, mine);
    this.position = changes[changes.length - 1]!.revision;
    if (!this.#hub.isCurrent(kind, this.position)) return;
    caughtUp.abort();
    this.#join();
  }

  #join(): void {
    const leave = this.#hub.join(this.#subject, this);
    this.#live = true;
    this.#signal.addEventListener('abort', leave, { once: true });
  }

  #endLater(): void {
    const { clock, random } = this.#server;
    const ms = this.#options.timeoutSeconds ? this.#options.timeoutSeconds * 1000 : minTimeoutMs * (1 + random());
    const cancel = clock.after(Math.max(0, ms), () => {
      if (this.bookmarks && this.#live) send(this, bookmarkFrame(this.#subject, Math.max(this.position, this.#hub.position)));
      this.sink.end();
    });
    this.#signal.addEventListener('abort', cancel, { once: true });
  }
}

