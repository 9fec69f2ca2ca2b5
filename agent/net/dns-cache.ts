import { recordType, rcode, type DnsRecord } from './dns-message.ts';

/** What another server said to a question. */
export interface Reply {
  readonly rcode: number;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  readonly authenticData: boolean;
}

export interface CacheOptions {
  readonly maxEntries: number;
  readonly maxBytes: number;
  /** Longest that a reply is fresh, whatever its records say. */
  readonly maxTtlSeconds: number;
  /** The same for replies that a name or record does not exist. */
  readonly maxNegativeTtlSeconds: number;
  /** How much longer a reply is kept for when nobody can be asked. */
  readonly staleSeconds: number;
}

export const cacheDefaults: CacheOptions = { maxEntries: 4096, maxBytes: 2 << 20, maxTtlSeconds: 3600, maxNegativeTtlSeconds: 30, staleSeconds: 3600 };

interface Entry { readonly reply: Reply; readonly atMs: number; readonly ttlSeconds: number; readonly bytes: number }

/** Records that a reply out of its time says may be kept (RFC 8767 proposes 30 s; a change of a name is seen sooner so). */
const staleTtl = 5;
/** When a "no" does not say how long it may be kept. */
const defaultNegativeTtl = 5;

/** Replies by question, those that were used last. Times are monotonic ms. */
export class DnsCache {
  readonly #options: CacheOptions;
  /** From the one that was used longest ago on. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(options: CacheOptions = cacheDefaults) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A reply that is in its time, its records' times counted down. */
  fresh(key: string, nowMs: number): Reply | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    const age = Math.floor((nowMs - entry.atMs) / 1000);
    if (age >= entry.ttlSeconds) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return aged(entry.reply, (ttl) => Math.max(0, Math.min(ttl, this.#options.maxTtlSeconds) - age));
  }

  /** One that no longer is, for when nobody can be asked. */
  stale(key: string, nowMs: number): Reply | undefined {
    const entry = this.#entries.get(key);
    const late = entry ? (nowMs - entry.atMs) / 1000 - entry.ttlSeconds : Infinity;
    return entry && late <= this.#options.staleSeconds ? aged(entry.reply, () => staleTtl) : undefined;
  }

  put(key: string, reply: Reply, nowMs: number): void {
    const ttlSeconds = this.#ttl(reply);
    const bytes = key.length + sizeOf(reply);
    if (ttlSeconds <= 0 || bytes > this.#options.maxBytes) return;
    this.#remove(key);
    this.#entries.set(key, { reply, atMs: nowMs, ttlSeconds, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.maxEntries && this.#bytes <= this.#options.maxBytes) return;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }

  #ttl({ rcode: code, answers, authorities }: Reply): number {
    const { maxTtlSeconds, maxNegativeTtlSeconds } = this.#options;
    if (code !== rcode.NOERROR && code !== rcode.NXDOMAIN) return 0;
    const least = Math.min(maxTtlSeconds, ...answers.map(({ ttl }) => ttl));
    const positive = code === rcode.NOERROR && answers.some(({ type }) => type !== recordType.CNAME);
    if (positive) return least;
    // RFC 2308: the lesser of the SOA record's own time and the last number in it.
    const soa = authorities.find(({ type }) => type === recordType.SOA);
    const negative = soa ? Math.min(soa.ttl, Buffer.from(soa.data).readUInt32BE(soa.data.length - 4)) : defaultNegativeTtl;
    return Math.min(least, negative, maxNegativeTtlSeconds);
  }
}

function aged(reply: Reply, ttl: (ttl: number) => number): Reply {
  const each = (records: readonly DnsRecord[]): DnsRecord[] => records.map((record) => ({ ...record, ttl: ttl(record.ttl) }));
  return { ...reply, answers: each(reply.answers), authorities: each(reply.authorities), additionals: each(reply.additionals) };
}

/** About what an entry takes in memory. */
const recordBytes = 160;
const sizeOf = ({ answers, authorities, additionals }: Reply): number =>
  [...answers, ...authorities, ...additionals].reduce((sum, { name, data }) => sum + recordBytes + name.length + data.length, recordBytes);
