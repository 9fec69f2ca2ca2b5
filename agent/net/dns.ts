import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Item } from '../../shared/protocol.ts';
import type { Reply } from './dns-cache.ts';
import { Forwarder, type AskFlags, type ForwarderStats } from './dns-forward.ts';
import type { Upstream } from './dns-exchange.ts';
import { addressType } from './dns-address.ts';
import { classIn, decodeDns, emptyMessage, encodeDns, maxMessageBytes, rcode, recordType, type DnsMessage, type DnsQuestion, type DnsRecord } from './dns-message.ts';
import { nameWire } from './dns-name.ts';
import { clusterTtl, DnsTable, type Found, type Zone } from './dns-records.ts';
import { DnsServer, type DnsServerOptions } from './dns-server.ts';

export interface DnsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1): who comes first of several addresses. */
  readonly random: () => number;
  /** Resolvers of the host, in order; those at the served address are left out. */
  readonly upstreams: () => Promise<readonly Upstream[]>;
  /** A socket cannot be opened: called once until it is well again or fails otherwise. */
  readonly onProblem?: DnsServerOptions['onProblem'];
  /** 53 by default. */
  readonly port?: number;
}

export interface DnsStats extends ForwarderStats { readonly queries: number; readonly listening: readonly string[] }

/** Largest answer in bytes over UDP, whatever a client would take: it passes any network in one piece. */
const maxUdpBytes = 1232;
/** The same for clients that say nothing of it. */
const plainUdpBytes = 512;
/** Names that stand for others are followed so far. */
const maxAliases = 8;

type Transport = 'udp' | 'tcp';
/** What becomes of one question: the fields of the answer that differ from case to case. */
type Outcome = Pick<DnsMessage, 'rcode' | 'authoritative' | 'answers' | 'authorities' | 'additionals'> & { readonly authenticData?: boolean };

/**
 * Cluster DNS of one node. Names of the cluster are looked up in what the agent knows of services and endpoints, at once
 * and without a master; all others are passed on to the host's resolvers.
 *
 * ```
 * bytes ─▶ decode ─▶ table ─┬─ records, or that there are none ──▶ encode ─▶ bytes
 *                     ▲     ├─ alias ─┐                              ▲
 *                     └─────┼─────────┘                              │
 *                           └─ outside ─▶ cache ─▶ host's resolvers ─┘
 * ```
 */
export class ClusterDns {
  readonly #options: DnsOptions;
  readonly #forwarder: Forwarder;
  readonly #server: DnsServer;
  #zone: Zone | undefined;
  #items: () => Iterable<Item> = () => [];
  #table: DnsTable | undefined;
  #serial = 0;
  #queries = 0;

  constructor(options: DnsOptions) {
    const { clock, log, port = 53, onProblem } = options;
    this.#options = options;
    this.#forwarder = new Forwarder({
      clock, upstreams: async () => (await options.upstreams()).filter((one) => one.address !== this.#zone?.address || one.port !== port),
    });
    this.#server = new DnsServer({ clock, log, port, answer: (bytes, transport) => this.answer(bytes, transport), ...(onProblem ? { onProblem } : {}) });
  }

  get stats(): DnsStats {
    return { ...this.#forwarder.stats, queries: this.#queries, listening: this.#server.listening };
  }

  /** Which names are the cluster's, and where they are served. Has an effect at once, also while running. */
  serve(zone: Zone): void {
    this.#zone = { ...zone, domain: zone.domain.toLowerCase().replace(/\.$/, '') };
    this.#table = undefined;
    this.#server.listen(zone.address);
  }

  /** Services or endpoints have changed; `items` is called when somebody asks. */
  update(items: () => Iterable<Item>): void {
    this.#items = items;
    this.#table = undefined;
    this.#serial++;
  }

  /** Tries to open sockets again now, as when the address has become local. */
  retry(): void {
    this.#server.retry();
  }

  /** Serves until the abort. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#server.run(signal);
    } finally {
      this.#forwarder.close();
    }
  }

  /** The answer to a message; undefined for what deserves none. At once for names of the cluster. */
  answer(bytes: Buffer, transport: Transport): Buffer | undefined | Promise<Buffer | undefined> {
    this.#queries++;
    let query: DnsMessage;
    try {
      query = decodeDns(bytes);
    } catch {
      return malformed(bytes);
    }
    // Answers to answers would go on for ever.
    if (query.response) return undefined;
    const refused = refusal(query);
    if (refused !== undefined) return reply(query, transport, failure(refused));
    const question = query.questions[0]!;
    const flags = { dnssecOk: query.edns?.dnssecOk ?? false, checkingDisabled: query.checkingDisabled };
    // Whatever goes wrong with one question is no reason to stop answering others.
    const failed = (error: unknown): Buffer => {
      this.#options.log.error('cannot answer', { name: question.name, type: question.type, error });
      return reply(query, transport, failure(rcode.SERVFAIL));
    };
    try {
      const outcome = this.#resolve(question, flags, []);
      return outcome instanceof Promise ? outcome.then((found) => reply(query, transport, found)).catch(failed) : reply(query, transport, outcome);
    } catch (error) {
      return failed(error);
    }
  }

  #resolve(question: DnsQuestion, flags: AskFlags, before: readonly DnsRecord[]): Outcome | Promise<Outcome> {
    const found = this.#find(question);
    switch (found.type) {
      case 'outside': return this.#forward(question, flags, before);
      case 'alias': return this.#follow(question, flags, before, found.target);
      case 'none': return { ...failure(rcode.NXDOMAIN), authoritative: true, answers: before, authorities: [this.#soa(found.apex)] };
      case 'records': return this.#local(question, before, found);
    }
  }

  #find({ name, type }: DnsQuestion): Found {
    if (!this.#zone) return { type: 'outside' };
    this.#table ??= new DnsTable(this.#zone, this.#items());
    return this.#table.find(name.toLowerCase(), type === recordType.SRV || type === recordType.ANY);
  }

  #local(question: DnsQuestion, before: readonly DnsRecord[], found: Extract<Found, { type: 'records' }>): Outcome {
    const isApex = question.name.toLowerCase() === found.apex;
    const all = isApex ? [...found.records, { type: recordType.SOA, data: this.#soa(found.apex).data }] : found.records;
    const records = all.filter(({ type }) => type === question.type || question.type === recordType.ANY);
    const own = this.#rotated(records).map(({ type, data }) => ({ name: question.name, type, class: classIn, ttl: clusterTtl, data }));
    const srv = records.some(({ type }) => type === recordType.SRV);
    return {
      rcode: rcode.NOERROR, authoritative: true, answers: [...before, ...own], authorities: own.length > 0 ? [] : [this.#soa(found.apex)],
      additionals: srv ? (found.extra ?? []).map(({ name, data }) => ({ name, type: addressType(data), class: classIn, ttl: clusterTtl, data })) : [],
    };
  }

  /** Clients take the first address: each is the first in turn. */
  #rotated<T>(list: readonly T[]): readonly T[] {
    if (list.length < 2) return list;
    const start = Math.floor(this.#options.random() * list.length);
    return [...list.slice(start), ...list.slice(0, start)];
  }

  /** Stub resolvers do not follow aliases themselves: the whole way is in the answer. */
  #follow(question: DnsQuestion, flags: AskFlags, before: readonly DnsRecord[], target: string): Outcome | Promise<Outcome> {
    const answers = [...before, cname(question.name, target)];
    const done = question.type === recordType.CNAME || question.type === recordType.ANY;
    if (done) return { rcode: rcode.NOERROR, authoritative: true, answers, authorities: [], additionals: [] };
    if (answers.length > maxAliases) return { ...failure(rcode.SERVFAIL), answers };
    return this.#resolve({ ...question, name: target }, flags, answers);
  }

  #forward(question: DnsQuestion, flags: AskFlags, before: readonly DnsRecord[]): Outcome | Promise<Outcome> {
    const made = (found: Reply | undefined): Outcome => (found
      ? { ...found, answers: [...before, ...found.answers], authoritative: before.length > 0 }
      : { ...failure(rcode.SERVFAIL), answers: before });
    const asked = this.#forwarder.ask(question, flags);
    return asked instanceof Promise ? asked.then(made) : made(asked);
  }

  #soa(apex: string): DnsRecord {
    return { name: apex, type: recordType.SOA, class: classIn, ttl: clusterTtl, data: this.#table?.soa(this.#serial) ?? Buffer.alloc(22) };
  }
}

const failure = (code: number): Outcome => ({ rcode: code, authoritative: false, answers: [], authorities: [], additionals: [] });

function cname(name: string, target: string): DnsRecord {
  return { name, type: recordType.CNAME, class: classIn, ttl: clusterTtl, data: nameWire(target) };
}

/** Why a well-formed query is not for this server. */
function refusal({ opcode, questions, edns }: DnsMessage): number | undefined {
  if (opcode !== 0) return rcode.NOTIMP;
  const [question, second] = questions;
  if (!question || second) return rcode.FORMERR;
  if (edns && edns.version !== 0) return rcode.BADVERS;
  const { type } = question;
  if (question.class !== classIn || type === recordType.AXFR || type === recordType.IXFR || type === recordType.OPT) return rcode.REFUSED;
  return undefined;
}

function reply(query: DnsMessage, transport: Transport, outcome: Outcome): Buffer {
  const limit = transport === 'tcp' ? maxMessageBytes : Math.min(maxUdpBytes, Math.max(plainUdpBytes, query.edns?.udpSize ?? 0));
  const edns = query.edns && { udpSize: maxUdpBytes, version: 0, dnssecOk: query.edns.dnssecOk, options: Buffer.alloc(0) };
  return encodeDns({
    ...emptyMessage, ...outcome, id: query.id, response: true, opcode: query.opcode, questions: query.questions.slice(0, 1),
    recursionDesired: query.recursionDesired, recursionAvailable: true, checkingDisabled: query.checkingDisabled,
    authenticData: outcome.authenticData ?? false, edns,
  }, limit);
}

/** Tells the sender of something that is no message; nothing when it has no number, or is an answer. */
function malformed(bytes: Buffer): Buffer | undefined {
  if (bytes.length < 12 || (bytes[2]! & 0x80) !== 0) return undefined;
  return encodeDns({ ...emptyMessage, id: bytes.readUInt16BE(0), response: true, opcode: (bytes[2]! >> 3) & 15, rcode: rcode.FORMERR });
}
