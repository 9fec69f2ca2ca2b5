import { generateKeyPair, sign, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock } from '../shared/clock.ts';
import { identityPath, renewalText } from '../shared/enrolment.ts';
import type { Log } from '../shared/log.ts';
import type { Payload } from '../shared/protocol.ts';
import type { FrameSocket } from '../shared/socket.ts';
import { enrolOnce, tokenId } from './enrol.ts';
import { keyHash, matches, writeIdentity, type Identity, type Pair } from './identity.ts';
import { connector, masterName, type ConnectOptions } from './session/connect.ts';
import { fetchFrom } from './session/fetch.ts';
import type { CertificateRenewal } from './session/options.ts';
import { BusyError, RefusedError } from './session/refused.ts';
import { TlsSessions } from './session/secure.ts';

export interface CredentialsOptions {
  readonly identity: Identity;
  /** Where it is kept. */
  readonly directory: string;
  /** Masters to try, in turn: `https://host:port`. */
  readonly servers: readonly string[];
  /** Join token, for a node that the master does not know any more. */
  readonly token: string | undefined;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** What else connections are to be made with. */
  readonly connecting?: Pick<ConnectOptions, 'lookup' | 'onReached' | 'count' | 'timeoutMs'>;
}

/** How long the master may take to answer `renew`. */
const answerMs = 30_000;
/** How long its first use may take. */
const proveMs = 10_000;
/** Timers are set for so long at most, and then again: hosts sleep, and their clocks are set. */
const lookMs = 6 * 3_600_000;

/** The renewal under way: its new key, and who stops waiting for the answer. */
interface Asked { readonly key: string; readonly cancel: () => void }

/**
 * What this node proves itself with, over its whole life: opens connections with it, and renews it over the session.
 *
 * ```
 * current ──renewal answered, both on disk──▶ current + previous ──new one used once──▶ current
 *    ▲                                              │ new one refused
 *    └──────────────────────────────────────────────┘
 * ```
 *
 * At every instant the files hold a pair that the master takes: it takes the older one until it has seen the newer.
 */
export class Credentials implements CertificateRenewal {
  readonly #options: CredentialsOptions;
  readonly #sessions = new TlsSessions();
  #identity: Identity;
  /** Share of its life at which the certificate is renewed. */
  #share: number;
  #server = 0;
  /** A token may let a node in again when it is started with one, not whenever it is turned out later. */
  #mayEnrol: boolean;
  #warned = false;
  #link: { readonly ask: (request: Payload<'renew'>) => void; readonly masterAheadMs: number } | undefined;
  #asked: Asked | undefined;
  #cancel: (() => void) | undefined;
  #failures = 0;
  #notBeforeMs = -Infinity;
  #work: Promise<void> = Promise.resolve();

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#share = this.#draw();
    this.#mayEnrol = options.token !== undefined && tokenId(options.token) !== options.identity.tokenId;
  }

  /** PEM of the certificate in use. */
  get certificate(): string {
    return this.#identity.certificate;
  }

  /** What another connection to the same master is made with. */
  get reach(): { readonly server: string; readonly ca: string; readonly identity: Pair } {
    const { ca, key, certificate } = this.#identity;
    return { server: this.#at, ca, identity: { key, certificate } };
  }

  /** Resolves when nothing is being written or asked for. */
  async idle(): Promise<void> {
    await this.#work;
  }

  /**
   * Opens a connection: to each master in turn, the last good one first.
   * @throws RefusedError when a master will not have this node; Error when none can be reached
   */
  async connect(signal: AbortSignal): Promise<FrameSocket> {
    await this.#work;
    const { servers } = this.#options;
    const problems: string[] = [];
    let afterMs = 0;
    for (let tried = 0; tried < servers.length && !signal.aborted; tried++) {
      try {
        const socket = await this.#open(signal);
        this.#mayEnrol = false;
        return socket;
      } catch (error) {
        if (error instanceof RefusedError) throw error;
        if (error instanceof BusyError) afterMs = Math.max(afterMs, error.afterMs);
        problems.push((error as Error).message);
        this.#server = (this.#server + 1) % servers.length;
      }
    }
    throw afterMs > 0 ? new BusyError(problems.join('; '), afterMs) : new Error(problems.join('; '));
  }

  /** Connects to the master whose turn it is, with whatever of ours it takes. */
  async #open(signal: AbortSignal): Promise<FrameSocket> {
    const { previous } = this.#identity;
    const socket = await this.#unlessRefused(this.#identity, signal);
    if (!(socket instanceof RefusedError)) {
      if (previous) await this.#keep(without(this.#identity, 'previous'));
      return socket;
    }
    const older = previous && await this.#unlessRefused(previous, signal);
    if (older && !(older instanceof RefusedError)) {
      await this.#goBack(previous);
      return older;
    }
    if (!this.#mayEnrol) throw socket;
    await this.#enrolAgain(socket, signal);
    return this.#dial(this.#identity, signal);
  }

  #unlessRefused(pair: Pair, signal: AbortSignal): Promise<FrameSocket | RefusedError> {
    return this.#dial(pair, signal).catch((error: unknown) => {
      if (error instanceof RefusedError) return error;
      throw error;
    });
  }

  #dial({ key, certificate }: Pair, signal: AbortSignal): Promise<FrameSocket> {
    const onSecured = ({ outOfTime }: { outOfTime: boolean }): void => {
      if (outOfTime && !this.#warned) this.#options.log.warn('the master\'s certificate is not valid at this host\'s time; it is the master\'s nevertheless', { now: new Date(this.#options.clock.now()).toISOString() });
      this.#warned = outOfTime;
    };
    return connector({ ...this.#options.connecting, sessions: this.#sessions, server: this.#at, key, certificate, ca: this.#identity.ca, onSecured })(signal);
  }

  get #at(): string {
    return this.#options.servers[this.#server]!;
  }

  async #enrolAgain(refused: RefusedError, signal: AbortSignal): Promise<void> {
    const { directory, token, servers, log } = this.#options;
    this.#mayEnrol = false;
    log.info('this node is not in the cluster any more; enrolling it with the token', { why: refused.message });
    try {
      const { nodeName } = this.#identity;
      this.#identity = await enrolOnce({ directory, nodeName, server: servers.join(','), at: this.#at, token: token!, log }, signal);
      this.#share = this.#draw();
    } catch (error) {
      throw new RefusedError(`${refused.message}; and enrolling again failed: ${(error as Error).message}`);
    }
  }

  /** A session is open, at `masterMs` on the master's clock: the one that certificates are issued by. */
  opened(masterMs: number, ask: (request: Payload<'renew'>) => void): void {
    this.#link = { ask, masterAheadMs: masterMs - this.#options.clock.monotonic() };
    this.#schedule();
  }

  closed(): void {
    this.#link = undefined;
    this.#cancel?.();
    this.#asked?.cancel();
    this.#asked = undefined;
  }

  answered(answer: Payload<'certificate'>): void {
    const asked = this.#asked;
    if (!asked) return;
    this.#asked = undefined;
    asked.cancel();
    this.#work = this.#take({ key: asked.key, certificate: answer.certificate }, answer.ca)
      .then(() => this.#schedule(), (error: unknown) => this.#failed((error as Error).message));
  }

  refused(reason: string): void {
    if (!this.#asked) return;
    this.#asked.cancel();
    this.#asked = undefined;
    this.#failed(reason);
  }

  #draw(): number {
    return 0.5 + 0.3 * this.#options.random();
  }

  #life(): { readonly fromMs: number; readonly lifeMs: number } {
    const { validFrom, validTo } = new X509Certificate(this.#identity.certificate);
    const fromMs = Date.parse(validFrom);
    return { fromMs, lifeMs: Date.parse(validTo) - fromMs };
  }

  /** Waits until it is time, by the master's clock; whoever is late spreads out, as others come back at the same time. */
  #schedule(): void {
    this.#cancel?.();
    if (!this.#link || this.#asked) return;
    const { clock, random } = this.#options;
    const { fromMs, lifeMs } = this.#life();
    const dueMs = fromMs + lifeMs * this.#share - this.#link.masterAheadMs;
    const now = clock.monotonic();
    const waitMs = dueMs > now ? dueMs - now : random() * Math.min(600_000, lifeMs / 100);
    const pauseMs = Math.max(waitMs, this.#notBeforeMs - now);
    this.#cancel = clock.after(Math.min(pauseMs, lookMs), pauseMs > lookMs ? () => this.#schedule() : () => this.#renew());
  }

  #renew(): void {
    this.#work = this.#ask().catch((error: unknown) => this.#failed((error as Error).message));
  }

  /** Asks with a new key, which is kept with its certificate only: without one it is worth nothing. */
  async #ask(): Promise<void> {
    const { privateKey, publicKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
    if (!this.#link || this.#asked) return;
    const cancel = this.#options.clock.after(answerMs, () => this.refused('the master did not answer'));
    this.#asked = { key: privateKey, cancel };
    this.#link.ask({ publicKey, proof: sign('sha256', Buffer.from(renewalText(this.#identity.nodeName)), privateKey).toString('base64') });
  }

  /** Puts a new pair beside the one in use, uses it once, and forgets the old one. */
  async #take(pair: Pair, ca: string): Promise<void> {
    const { key, certificate, ca: trusted } = this.#identity;
    if (!matches(pair)) throw new Error('the master\'s answer is a certificate for another key');
    // The authority may have a new life, not a new key: that is what this node trusts.
    if (keyHash(ca) !== keyHash(trusted) || !new X509Certificate(pair.certificate).verify(new X509Certificate(trusted).publicKey)) throw new Error('the master\'s answer is of another authority');
    await this.#keep({ ...this.#identity, ...pair, ca, previous: { key, certificate } });
    this.#share = this.#draw();
    this.#failures = 0;
    this.#notBeforeMs = -Infinity;
    await this.#prove({ key, certificate });
  }

  async #prove(previous: Pair): Promise<void> {
    const { log } = this.#options;
    const answer = await fetchFrom({
      url: new URL(identityPath, this.#at), trust: { ca: this.#identity.ca, name: masterName }, identity: this.#identity, signal: AbortSignal.timeout(proveMs),
    }).catch((error: unknown) => error as Error);
    if (answer instanceof Error) return log.debug('the new certificate will be used at the next connection', { why: answer.message });
    if (answer.code === 200) await this.#keep(without(this.#identity, 'previous'));
    else if (answer.code === 401 || answer.code === 403) await this.#goBack(previous);
    log.info('certificate renewed', { until: new X509Certificate(this.#identity.certificate).validTo });
  }

  async #goBack(previous: Pair): Promise<void> {
    this.#options.log.warn('the master does not take the new certificate; the one before is used again');
    await this.#keep({ ...without(this.#identity, 'previous'), ...previous });
    this.#failed('the master did not take the new certificate');
  }

  async #keep(identity: Identity): Promise<void> {
    await writeIdentity(this.#options.directory, identity);
    this.#identity = identity;
  }

  /** Tries again later: soon at first, in a twentieth of the certificate's life at most. */
  #failed(why: string): void {
    const { clock, random, log } = this.#options;
    const { lifeMs } = this.#life();
    const [baseMs, maxMs] = [Math.min(60_000, lifeMs / 1000), Math.min(3_600_000, lifeMs / 20)];
    const againInMs = (0.5 + random() / 2) * Math.min(maxMs, baseMs * 2 ** Math.min(this.#failures++, 20));
    this.#notBeforeMs = clock.monotonic() + againInMs;
    log.warn('the certificate could not be renewed; the one in use goes on', { why, againInMs: Math.round(againInMs) });
    this.#schedule();
  }
}

function without<K extends keyof Identity>(identity: Identity, key: K): Omit<Identity, K> & Identity {
  const { [key]: _, ...rest } = identity;
  return rest as Omit<Identity, K> & Identity;
}
