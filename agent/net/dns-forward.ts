import { randomInt } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../shared/clock.ts';
import { DnsCache, type Reply } from './dns-cache.ts';
import { exchange, type Upstream } from './dns-exchange.ts';
import { emptyMessage, encodeDns, rcode, type DnsMessage, type DnsQuestion } from './dns-message.ts';

export interface ForwarderOptions {
  readonly clock: Clock;
  /** The host's own resolvers, in the order in which to ask them; asked for with each query. */
  readonly upstreams: () => Promise<readonly Upstream[]>;
  readonly cache?: DnsCache;
  /** After so long without an answer the next one is asked as well. Default 0.8 s. */
  readonly patienceMs?: number;
  /** After so long without an answer there is none. Default 3.5 s: before the client gives up, which is 5 s mostly. */
  readonly limitMs?: number;
  /** Queries under way. Default 512; more fail at once. */
  readonly maxPending?: number;
}

export interface AskFlags {
  /** The client wants signatures (DO). */
  readonly dnssecOk: boolean;
  /** The client checks them itself (CD). */
  readonly checkingDisabled: boolean;
}

export interface ForwarderStats { readonly asked: number; readonly cached: number; readonly failed: number; readonly pending: number }

/** Our own limit for answers by UDP: what passes any network in one piece. */
const udpSize = 1232;
/** Failures in a row after which a server is not asked for a while. */
const maxFailures = 3;
const maxRestMs = 10_000;
/** Times that one query is sent, to whichever servers. */
const maxAttempts = 4;

interface Health { failures: number; restUntilMs: number; probing: boolean }

/**
 * Passes questions on to the host's resolvers and remembers what they say. Servers that do not answer are left alone for
 * 1 to 10 s, but for one query then; while all are, questions fail at once, or get what was last said to them.
 */
export class Forwarder {
  readonly #options: Required<Omit<ForwarderOptions, 'cache'>>;
  readonly #cache: DnsCache;
  readonly #pending = new Map<string, Promise<Reply | undefined>>();
  readonly #health = new Map<string, Health>();
  readonly #closed = new AbortController();
  readonly #counts = { asked: 0, cached: 0, failed: 0 };

  constructor({ cache = new DnsCache(), ...options }: ForwarderOptions) {
    this.#options = { patienceMs: 800, limitMs: 3_500, maxPending: 512, ...options };
    this.#cache = cache;
    setMaxListeners(0, this.#closed.signal);
  }

  get stats(): ForwarderStats {
    return { ...this.#counts, pending: this.#pending.size };
  }

  /** Undefined when nobody can tell. Never throws. */
  ask(question: DnsQuestion, flags: AskFlags): Reply | Promise<Reply | undefined> {
    const key = `${question.name.toLowerCase()} ${question.type} ${question.class} ${flags.dnssecOk ? 'D' : ''}${flags.checkingDisabled ? 'C' : ''}`;
    const known = this.#cache.fresh(key, this.#options.clock.monotonic());
    if (known) {
      this.#counts.cached++;
      return known;
    }
    return this.#pending.get(key) ?? this.#start(key, question, flags);
  }

  /** Gives up whatever is under way. */
  close(): void {
    this.#closed.abort();
  }

  #start(key: string, question: DnsQuestion, flags: AskFlags): Promise<Reply | undefined> {
    if (this.#pending.size >= this.#options.maxPending) return Promise.resolve(undefined);
    this.#counts.asked++;
    const asking = this.#ask(key, question, flags).finally(() => this.#pending.delete(key));
    this.#pending.set(key, asking);
    return asking;
  }

  async #ask(key: string, question: DnsQuestion, flags: AskFlags): Promise<Reply | undefined> {
    const { clock, upstreams } = this.#options;
    const reply = await this.#race(await upstreams().catch(() => []), question, flags);
    if (reply && reply.rcode !== rcode.SERVFAIL) this.#cache.put(key, reply, clock.monotonic());
    if (!reply || reply.rcode === rcode.SERVFAIL) {
      this.#counts.failed++;
      return this.#cache.stale(key, clock.monotonic()) ?? reply;
    }
    return reply;
  }

  /** The first good answer; else the last bad one. */
  #race(upstreams: readonly Upstream[], question: DnsQuestion, flags: AskFlags): Promise<Reply | undefined> {
    const { clock, patienceMs, limitMs } = this.#options;
    const usable = upstreams.filter((upstream) => this.#mayAsk(upstream));
    // Packets get lost: who answered nothing is asked again.
    const plan = usable.length === 0 ? [] : Array.from({ length: Math.max(Math.min(usable.length, maxAttempts), 3) }, (_, index) => usable[index % usable.length]!);
    return new Promise((resolve) => {
      const over = new AbortController();
      setMaxListeners(0, over.signal);
      let bad: Reply | undefined;
      let running = 0;
      let cancelNext = (): void => {};
      const finish = (reply: Reply | undefined): void => {
        cancelNext();
        cancelLimit();
        this.#closed.signal.removeEventListener('abort', onClose);
        over.abort();
        resolve(reply);
      };
      const onClose = (): void => finish(undefined);
      const next = (): void => {
        cancelNext();
        const upstream = plan.shift();
        if (!upstream) {
          if (running === 0) finish(bad);
          return;
        }
        running++;
        cancelNext = clock.after(patienceMs, next);
        this.#askOne(upstream, question, flags, over.signal).then((reply) => {
          running--;
          if (isGood(reply)) return finish(reply);
          bad = reply;
          next();
        }, () => {
          running--;
          if (!over.signal.aborted) next();
        });
      };
      const cancelLimit = clock.after(limitMs, () => finish(bad));
      this.#closed.signal.addEventListener('abort', onClose, { once: true });
      if (this.#closed.signal.aborted) finish(undefined);
      else next();
    });
  }

  async #askOne(upstream: Upstream, question: DnsQuestion, { dnssecOk, checkingDisabled }: AskFlags, signal: AbortSignal): Promise<Reply> {
    const health = this.#healthOf(upstream);
    health.probing = health.failures >= maxFailures;
    const query = encodeDns({
      ...emptyMessage, id: randomInt(65_536), recursionDesired: true, checkingDisabled, questions: [question],
      edns: { udpSize, version: 0, dnssecOk, options: Buffer.alloc(0) },
    });
    const since = this.#options.clock.monotonic();
    try {
      const answer = await exchange(upstream, query, signal);
      Object.assign(health, { failures: 0, restUntilMs: 0 });
      return replyOf(answer);
    } catch (error) {
      // Another was quicker: that alone is no failure.
      const waitedMs = this.#options.clock.monotonic() - since;
      if (!signal.aborted || waitedMs >= this.#options.patienceMs) this.#failed(health);
      throw error;
    } finally {
      health.probing = false;
    }
  }

  #mayAsk(upstream: Upstream): boolean {
    const { failures, restUntilMs, probing } = this.#healthOf(upstream);
    return failures < maxFailures || (!probing && this.#options.clock.monotonic() >= restUntilMs);
  }

  #failed(health: Health): void {
    health.failures++;
    health.restUntilMs = this.#options.clock.monotonic() + Math.min(maxRestMs, 1000 * 2 ** Math.max(0, health.failures - maxFailures));
  }

  #healthOf({ address, port }: Upstream): Health {
    const key = `${address} ${port}`;
    let health = this.#health.get(key);
    if (!health) this.#health.set(key, health = { failures: 0, restUntilMs: 0, probing: false });
    return health;
  }
}

const isGood = ({ rcode: code }: Reply): boolean => code === rcode.NOERROR || code === rcode.NXDOMAIN;

const replyOf = ({ rcode: code, answers, authorities, additionals, authenticData }: DnsMessage): Reply =>
  ({ rcode: code, answers, authorities, additionals, authenticData });
