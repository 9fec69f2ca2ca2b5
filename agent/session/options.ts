import type { ByteStream } from '../../shared/byte-stream.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Payload, StreamRequest } from '../../shared/protocol.ts';
import type { FrameSocket } from '../../shared/socket.ts';
import type { State } from '../state/state.ts';

/** Told how the link fares; see link-status.ts. */
export interface LinkObserver {
  trying(): void;
  ended(why: string, againInMs: number): void;
}

export interface SessionOptions {
  /** Name of this node. */
  readonly node: string;
  readonly agentVersion: string;
  readonly bootId: string;
  readonly state: State;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Opens a connection to the master; see connect.ts. Rejects with an error that says what was tried. */
  readonly connect: (signal: AbortSignal) => Promise<FrameSocket>;
  /** Called at the start of each session and when the settings change within one. */
  readonly onWelcome: (settings: Payload<'welcome'>) => void;
  /**
   * The link as it matters to pods: undefined once the master has said all that this node must know, and the monotonic
   * time at which the master was last heard of when that link is lost.
   */
  readonly onLink?: (heardMs: number | undefined) => void;
  /**
   * Makes the bytes of a stream that the master asks for, and may read from `stream` what the master sends on it. The
   * stream ends with the bytes; an error goes to the master as its message (and its HTTP status, if it has a numeric
   * `code`). `signal` aborts when nobody reads any more.
   */
  readonly openStream: (request: StreamRequest, signal: AbortSignal, stream: ByteStream) => AsyncIterable<Uint8Array>;
  readonly backoff?: Backoff;
  readonly link?: LinkObserver;
  /** Renews this node's certificate while there is a session. */
  readonly renewal?: CertificateRenewal;
  /** Upgrades this agent's program when the master asks for it; without it, it cannot be asked. */
  readonly upgrade?: UpgradeLink;
  /** Keeps the nodes on this node's networks. */
  readonly peers?: PeerLink;
  /** Asks for tokens of the service accounts of this node's pods. */
  readonly tokens?: TokenLink;
  /** How long reports wait for others to share their message. Default 20 ms. */
  readonly flushMs?: number;
  /** Default 256. */
  readonly maxEvents?: number;
  /** Default 30 s. */
  readonly resendMs?: number;
  /** Default 10 s. */
  readonly nodePauseMs?: number;
}

/** Renews a certificate over sessions, one after the other; see credentials.ts. */
export interface CertificateRenewal {
  /** A session of a master that renews is open; its clock says `masterMs`. `ask` sends a request, one at a time. */
  opened(masterMs: number, ask: (request: Payload<'renew'>) => void): void;
  /** It is over, or was never one of such a master; no answer comes any more. */
  closed(): void;
  answered(answer: Payload<'certificate'>): void;
  refused(reason: string): void;
}

/** Asks for pods' tokens over sessions, one after the other; see volumes/tokens.ts. */
export interface TokenLink {
  /** A session of a master that makes tokens is open; `ask` sends a request. */
  opened(ask: (request: Payload<'token'>) => void): void;
  /** It is over, or was never one of such a master; no answer comes any more. */
  closed(): void;
  answered(answer: Payload<'podToken'>): void;
  refused(answer: Payload<'noPodToken'>): void;
}

/** The master's way to replace this agent's program; see upgrade/upgrader.ts. */
export interface UpgradeLink {
  /** Docker's name of the architecture. */
  readonly arch: string;
  /** A session is open; `tell` reports over it. */
  opened(tell: (status: Payload<'upgradeStatus'>) => void): void;
  /** It is over, or was never open. */
  closed(): void;
  wanted(wanted: Payload<'upgrade'>): void;
  seen(sha256: string): void;
}

/** Where the master tells of other nodes; see net/pod-network.ts. */
export interface PeerLink {
  /** What to ask for at the start of a session. */
  wanted(): Payload<'peersWanted'>;
  changed(change: Payload<'peers'>): void;
}

/** Attempt n (from 0) waits a random time up to `baseMs` × 2^n, at most `maxMs`; n starts over after `healthyMs` of a session. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
  readonly healthyMs: number;
  /** Pause, half of it at random, when the master will not have this agent as it is. Default 5 min. */
  readonly refusedMs?: number;
}

export const defaultBackoff: Backoff = { baseMs: 1000, maxMs: 30_000, healthyMs: 30_000 };
