import type { Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import type { Payload } from '../../shared/protocol.ts';
import { MasterAwayError } from './master-away.ts';
import { tokenTimes } from './token-file.ts';

/** A token as a volume of a pod wants it. */
export interface TokenSource {
  /** `''` or absent: the API. */
  readonly audience?: string;
  readonly expirationSeconds: number;
}

export interface PodTokensOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** There is a new token for a pod of this uid: its files are to be written. */
  readonly onFresh: (uid: string) => void;
}

interface Entry {
  readonly request: Omit<Payload<'token'>, 'id'>;
  token: string | undefined;
  /** Monotonic; before it the token is fresh enough. */
  dueMs: number;
  asking: Promise<void> | undefined;
  cancel: (() => void) | undefined;
}

/** Share of its life after which a token is replaced, and the longest that one is kept, as the kubelet has it. */
const freshShare = 0.8;
const longestMs = 24 * 3600_000;
const jitterMs = 10_000;
/** Pause after an attempt that failed, half of it at random. */
const pauseMs = 60_000;
const answerMs = 20_000;

/**
 * Tokens of the service accounts of this node's pods: asked for over the session, replaced at 80 % of their life, and
 * kept for as long as the link is away. They are held in memory and in the pods' own files, nowhere else; an agent that
 * starts takes them from there.
 */
export class PodTokens {
  readonly #options: PodTokensOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #answers = new Map<number, { resolve(token: string): void; reject(error: Error): void }>();
  #ask: ((request: Payload<'token'>) => void) | undefined;
  #lastId = 0;

  constructor(options: PodTokensOptions) {
    this.#options = options;
  }

  /** Holds until `signal` aborts; then nothing is asked for any more. */
  async run(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.closed();
    for (const entry of this.#entries.values()) entry.cancel?.();
  }

  /** The token that is held for a pod's volume. */
  token(pod: Pod, source: TokenSource): string | undefined {
    return this.#entries.get(keyOf(pod, source))?.token;
  }

  /**
   * Sees to it that there is a token. One that is due is replaced first while the master is there, and is good enough
   * while it is not. `written` reads what an agent before this one wrote.
   * @throws Error with the kubelet's words when there is none to be had
   */
  async ensure(pod: Pod, source: TokenSource, written: () => Promise<string | undefined>): Promise<void> {
    const entry = this.#entry(pod, source);
    if (entry.token === undefined) this.#adopt(entry, await written());
    if (entry.token !== undefined && (!this.#ask || this.#options.clock.monotonic() < entry.dueMs)) return;
    try {
      await (entry.asking ??= this.#fetch(entry, false));
    } catch (error) {
      if (entry.token === undefined) throw new Error(`failed to fetch token: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Forgets the tokens of a pod that is no more. */
  release(uid: string): void {
    for (const [key, entry] of this.#entries) {
      if (entry.request.uid !== uid) continue;
      entry.cancel?.();
      this.#entries.delete(key);
    }
  }

  /** A session of a master that makes tokens is open. */
  opened(ask: (request: Payload<'token'>) => void): void {
    this.#ask = ask;
    // Those that wait now come first; what is only due need not come all at once.
    for (const entry of this.#entries.values()) this.#arm(entry, entry.token === undefined ? 0 : jitterMs * this.#options.random());
  }

  closed(): void {
    this.#ask = undefined;
    for (const { reject } of this.#answers.values()) reject(new MasterAwayError('the connection to the master ended'));
    this.#answers.clear();
  }

  answered({ id, token }: Payload<'podToken'>): void {
    this.#answers.get(id)?.resolve(token);
  }

  refused({ id, reason }: Payload<'noPodToken'>): void {
    this.#answers.get(id)?.reject(new Error(reason));
  }

  #entry(pod: Pod, source: TokenSource): Entry {
    const key = keyOf(pod, source);
    let entry = this.#entries.get(key);
    if (!entry) {
      const { namespace = '', name = '', uid = '' } = pod.metadata;
      const request = { namespace, pod: name, uid, audience: source.audience ?? '', seconds: source.expirationSeconds };
      this.#entries.set(key, entry = { request, token: undefined, dueMs: -Infinity, asking: undefined, cancel: undefined });
    }
    return entry;
  }

  /** Takes over a token from a file. Its own times count as far as this host's clock makes sense of them. */
  #adopt(entry: Entry, token: string | undefined): void {
    const times = token === undefined ? undefined : tokenTimes(token);
    if (!times || entry.token !== undefined) return;
    const { clock } = this.#options;
    const ageMs = clock.now() - times.issuedMs;
    entry.token = token;
    entry.dueMs = ageMs < 0 ? -Infinity : clock.monotonic() + this.#freshMs(entry) - ageMs;
    this.#arm(entry, jitterMs * this.#options.random());
  }

  #freshMs({ request }: Entry): number {
    return Math.min(longestMs, freshShare * request.seconds * 1000) - jitterMs * this.#options.random();
  }

  /** Sees to a replacement when it is due, but not before `leastMs`. */
  #arm(entry: Entry, leastMs: number): void {
    const { clock } = this.#options;
    entry.cancel?.();
    entry.cancel = clock.after(Math.max(leastMs, entry.dueMs - clock.monotonic()), () => {
      if (this.#ask && !entry.asking) (entry.asking = this.#fetch(entry, true)).catch(() => {});
    });
  }

  /** Asks for a token. Whoever waits for it writes it; of one that came by itself, its pod is told. */
  async #fetch(entry: Entry, tell: boolean): Promise<void> {
    const { clock, random, log, onFresh } = this.#options;
    const { namespace, pod, uid, seconds } = entry.request;
    try {
      const token = await this.#answerTo(entry.request);
      if (this.#entries.get(entryKey(entry.request)) !== entry) return;
      entry.token = token;
      entry.dueMs = clock.monotonic() + this.#freshMs(entry);
      this.#arm(entry, 0);
      log.debug('token of a pod', { pod: `${namespace}/${pod}`, seconds });
      if (tell) onFresh(uid);
    } catch (error) {
      log.warn('no token for a pod', { pod: `${namespace}/${pod}`, error });
      if (this.#entries.get(entryKey(entry.request)) === entry && this.#ask) this.#arm(entry, pauseMs * (0.5 + random() / 2));
      throw error;
    } finally {
      entry.asking = undefined;
    }
  }

  async #answerTo(request: Entry['request']): Promise<string> {
    const ask = this.#ask;
    if (!ask) throw new MasterAwayError('the master is not connected');
    const id = ++this.#lastId;
    let cancel = (): void => {};
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#answers.set(id, { resolve, reject });
        cancel = this.#options.clock.after(answerMs, () => reject(new MasterAwayError(`no answer of the master within ${answerMs / 1000} s`)));
        ask({ id, ...request });
      });
    } finally {
      cancel();
      this.#answers.delete(id);
    }
  }
}

const entryKey = ({ uid, seconds, audience }: Entry['request']): string => `${uid} ${seconds} ${audience}`;
const keyOf = ({ metadata }: Pod, { audience = '', expirationSeconds }: TokenSource): string => `${metadata.uid ?? ''} ${expirationSeconds} ${audience}`;
