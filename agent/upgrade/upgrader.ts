import { execFile } from 'node:child_process';
import { unlink } from 'node:fs/promises';
import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Payload } from '../../shared/protocol.ts';
import type { UpgradeLink } from '../session/options.ts';
import { candidatePath, download, DownloadError, removeCandidates, sha256Of, type Reach } from './download.ts';
import { forgetResult, type Result } from './result.ts';

/** A program that was fetched and checked, and is to be tried. */
export interface Candidate {
  readonly path: string;
  readonly sha256: string;
  readonly version: string;
  /** How long it may take to get healthy. */
  readonly limitMs: number;
}

export interface UpgraderOptions {
  /** The running program: one executable file. */
  readonly program: string;
  /** Docker's name of what it runs on. */
  readonly arch: string;
  readonly dataDir: string;
  /** This program's version. */
  readonly version: string;
  /** How the last upgrade ended, if the master may not know yet. */
  readonly result: Result | undefined;
  /** How the master is reached now. */
  readonly reach: () => Reach;
  readonly clock: Clock;
  readonly log: Log;
  /** Called once; the agent is to stop then, so that the candidate can be tried. */
  readonly onCandidate: (candidate: Candidate) => void;
}

type Wanted = Payload<'upgrade'>;
type Told = Payload<'upgradeStatus'>;

/** How often progress is told, and a connection that broke is tried again. */
const progressMs = 2000;
const retryMs = 5000;
const versionMs = 30_000;

/**
 * Upgrades this agent when the master asks for it, as far as it can while it runs.
 *
 * ```
 * idle ──upgrade──▶ fetching ─▶ checking ─▶ trying (the agent stops; supervise.ts goes on)
 *   ▲                   └───────────┴─▶ failed ─┐
 *   └────────────────upgradeSeen────────────────┘
 * ```
 */
export class Upgrader implements UpgradeLink {
  readonly arch: string;
  readonly #options: UpgraderOptions;
  #status: Told | undefined;
  #tell: ((status: Told) => void) | undefined;
  #working = false;
  #start: ((wanted: Wanted) => void) | undefined;

  constructor(options: UpgraderOptions) {
    this.#options = options;
    this.arch = options.arch;
    this.#status = options.result && { ...options.result, bytes: 0 };
  }

  opened(tell: (status: Told) => void): void {
    this.#tell = tell;
    if (this.#status) tell(this.#status);
  }

  closed(): void {
    this.#tell = undefined;
  }

  /** The master asks for a program; asking again for the same one is answered with how far it is. */
  wanted(wanted: Wanted): void {
    if (this.#working && this.#status?.sha256 === wanted.sha256) return this.#tell?.(this.#status);
    if (this.#working) return this.#tell?.({ sha256: wanted.sha256, phase: 'failed', version: '', detail: 'another upgrade is under way', bytes: 0 });
    this.#start?.(wanted);
  }

  /** The master knows how it ended. */
  seen(sha256: string): void {
    if (this.#working || this.#status?.sha256 !== sha256) return;
    this.#status = undefined;
    forgetResult(this.#options.dataDir).catch((error: unknown) => this.#options.log.warn('cannot remove the result of an upgrade', { error }));
  }

  /** Serves until `signal` aborts. Never rejects: what goes wrong is told to the master. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const wanted = await new Promise<Wanted | undefined>((resolve) => {
        this.#start = resolve;
        signal.addEventListener('abort', () => resolve(undefined), { once: true });
      });
      if (!wanted) return;
      this.#working = true;
      await this.#upgrade(wanted, signal).catch((error: unknown) => this.#failed(wanted, (error as Error).message));
      this.#working = false;
    }
  }

  async #upgrade(wanted: Wanted, signal: AbortSignal): Promise<void> {
    const { program, version, onCandidate, log } = this.#options;
    const { sha256 } = wanted;
    if (await sha256Of(program) === sha256) return this.#say({ sha256, phase: 'done', version, detail: 'it runs already', bytes: wanted.bytes });
    log.info('upgrade asked for', { sha256, bytes: wanted.bytes });
    const path = candidatePath(program, sha256);
    await removeCandidates(program, path).catch((error: Error) => { throw new Error(`cannot write beside the program: ${error.message}`); });
    await this.#fetch(wanted, path, signal);
    if (signal.aborted) return;
    this.#say({ sha256, phase: 'checking', version: '', detail: '', bytes: wanted.bytes });
    const found = await versionOf(path).catch(async (error: Error) => { await unlink(path); throw error; });
    this.#say({ sha256, phase: 'trying', version: found, detail: '', bytes: wanted.bytes });
    // The connection ends with the agent: what was just said goes first.
    await sleep(this.#options.clock, 200, signal);
    onCandidate({ path, sha256, version: found, limitMs: wanted.limitMs });
  }

  async #fetch({ sha256, bytes }: Wanted, path: string, signal: AbortSignal): Promise<void> {
    const { clock, reach } = this.#options;
    let toldMs = -Infinity;
    const onProgress = (at: number): void => {
      if (clock.monotonic() - toldMs < progressMs) return;
      toldMs = clock.monotonic();
      this.#say({ sha256, phase: 'fetching', version: '', detail: '', bytes: at });
    };
    while (!signal.aborted) {
      try {
        return await download({ sha256, bytes, path, reach: reach(), onProgress }, signal);
      } catch (error) {
        if (error instanceof DownloadError) throw error;
        this.#say({ sha256, phase: 'fetching', version: '', detail: (error as Error).message.slice(0, 500), bytes: 0 });
        await sleep(clock, retryMs, signal);
      }
    }
  }

  #say(status: Told): void {
    this.#status = status;
    this.#tell?.(status);
  }

  #failed({ sha256 }: Wanted, why: string): void {
    this.#options.log.warn('upgrade refused', { sha256, why });
    this.#say({ sha256, phase: 'failed', version: '', detail: why.slice(0, 1000), bytes: 0 });
  }
}

/** The version that a program says it is. @throws Error when it does not run, or is no agent */
function versionOf(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(path, ['--version'], { timeout: versionMs, killSignal: 'SIGKILL', env: {} }, (error, out, err) => {
      const found = /^wherry-agent\/(\S+)/.exec(out)?.[1];
      if (found && !error) return resolve(found);
      const why = error ? error.signal ?? (typeof error.code === 'number' ? `exit status ${error.code}` : error.message) : `it printed ${JSON.stringify(out.slice(0, 100))}`;
      reject(new Error(`the program does not say its version: ${why}${err.trim() ? `: ${err.trim().split('\n')[0]!.slice(0, 200)}` : ''}`));
    });
  });
}
