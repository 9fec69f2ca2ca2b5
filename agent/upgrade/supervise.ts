import { spawn, type ChildProcess } from 'node:child_process';
import { link, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { removeCandidates } from './download.ts';
import { writeResult } from './result.ts';
import { isHealthy, judgeTrial, type Signs, type Verdict } from './trial.ts';
import type { Candidate } from './upgrader.ts';

/** Tells a program that it is on trial: the number of the file descriptor for its signs. */
export const trialVariable = 'WHERRY_TRIAL';
/** Says that whoever started the agent starts it again when it exits, as systemd does. */
export const supervisedVariable = 'WHERRY_SUPERVISED';

export interface SuperviseOptions {
  readonly program: string;
  /** What the program is started with. */
  readonly args: readonly string[];
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs the agent until the signal aborts, or a candidate is to be tried. */
  readonly run: (signal: AbortSignal) => Promise<Candidate | undefined>;
  /** Default 5 s. */
  readonly settleMs?: number;
}

/** Time that a program gets to end. */
const patienceMs = 15_000;

/**
 * Runs the agent, and between two runs tries what it is to be replaced by. The program at `program` is at every instant
 * one that has been healthy on this host: a candidate takes its place only after its trial, which it spends as a child of
 * the old program. Whatever the candidate does, and whenever power fails, the old one is what starts again.
 * @returns when the agent has stopped, or `restart` when the new program is in place and is to be started
 */
export async function superviseAgent(options: SuperviseOptions, signal: AbortSignal): Promise<'stopped' | 'restart'> {
  for (;;) {
    const candidate = await options.run(signal);
    if (!candidate || signal.aborted) return 'stopped';
    if (await replaced(options, candidate, signal)) return 'restart';
    if (signal.aborted) return 'stopped';
  }
}

async function replaced({ program, dataDir, log, ...options }: SuperviseOptions, candidate: Candidate, signal: AbortSignal): Promise<boolean> {
  const { sha256, version } = candidate;
  const failed = async (detail: string): Promise<void> => {
    log.warn('upgrade rolled back', { version, why: detail });
    await writeResult(dataDir, { sha256, phase: 'failed', version, detail: detail.slice(0, 1000) }).catch((error: unknown) => log.error('cannot keep the result of an upgrade', { error }));
    await removeCandidates(program).catch((error: unknown) => log.warn('cannot remove the candidate', { error }));
  };
  try {
    // Until it is known better: this is what is left to be told after a power cut.
    await writeResult(dataDir, { sha256, phase: 'failed', version, detail: 'the node or its agent went down during the trial' });
    const verdict = await tryOut({ ...options, log, candidate }, signal);
    if (verdict.type !== 'keep') {
      if (!signal.aborted) await failed(verdict.type === 'back' ? verdict.why : 'stopped');
      return false;
    }
    await promote(program, candidate.path);
    await writeResult(dataDir, { sha256, phase: 'done', version, detail: '' }).catch((error: unknown) => log.error('cannot keep the result of an upgrade', { error }));
    log.info('upgraded', { version });
    return true;
  } catch (error) {
    await failed((error as Error).message);
    return false;
  }
}

/** Puts the candidate in the program's place in one step, and keeps the old one as `PROGRAM.previous`. */
async function promote(program: string, candidate: string): Promise<void> {
  const previous = `${program}.previous`;
  await unlink(previous).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
  await link(program, previous);
  await rename(candidate, program);
  const directory = await open(dirname(program), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

interface TrialOptions extends Pick<SuperviseOptions, 'args' | 'clock' | 'log' | 'settleMs'> { readonly candidate: Candidate }

/** Runs the candidate as a child until there is a verdict, and ends it. */
async function tryOut({ args, clock, log, candidate, settleMs = 5000 }: TrialOptions, signal: AbortSignal): Promise<Verdict> {
  const startedMs = clock.monotonic();
  log.info('trying the new version', { version: candidate.version, limitSeconds: candidate.limitMs / 1000 });
  const child = spawn(candidate.path, args, { stdio: ['inherit', 'inherit', 'inherit', 'pipe'], env: { ...process.env, [trialVariable]: '3' } });
  let [signs, healthyMs, ended]: [Signs | undefined, number | undefined, string | undefined] = [undefined, undefined, undefined];
  let wake = (): void => {};
  child.on('error', (error) => { ended ??= error.message; wake(); });
  child.on('exit', (code, name) => { ended ??= name ?? `exit status ${code ?? 0}`; wake(); });
  readSigns(child, (latest) => {
    signs = latest;
    healthyMs = isHealthy(latest) ? healthyMs ?? clock.monotonic() : undefined;
    wake();
  });
  for (;;) {
    const verdict = judgeTrial({ startedMs, nowMs: clock.monotonic(), limitMs: candidate.limitMs, settleMs, signs, healthyMs, ended });
    if (verdict.type !== 'wait' || signal.aborted) {
      await end(child, () => ended !== undefined);
      return verdict;
    }
    await new Promise<void>((resolve) => {
      const cancel = clock.after(verdict.ms, () => wake());
      wake = () => { cancel(); signal.removeEventListener('abort', wake); resolve(); };
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}

/** Takes what the candidate says of itself; what is no sign is nothing. */
function readSigns(child: ChildProcess, onSigns: (signs: Signs) => void): void {
  let text = '';
  const pipe = child.stdio[3] as NodeJS.ReadableStream | null | undefined;
  pipe?.on('error', () => {});
  pipe?.on('data', (chunk: Buffer) => {
    const lines = (text + chunk.toString('utf8')).split('\n');
    text = lines.pop()!.slice(0, 4096);
    for (const line of lines) {
      try {
        const { version, state, engine, master } = JSON.parse(line) as Partial<Signs>;
        onSigns({ version: String(version), state: state === true, engine: engine === true, master: master === true });
      } catch { /* Not a sign. */ }
    }
  });
}

/** Ends a child: gently, then at once. */
function end(child: ChildProcess, isOver: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (isOver()) return resolve();
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    child.once('exit', () => { clearTimeout(timer); resolve(); });
    child.kill('SIGTERM');
  });
}

/** Whether somebody starts this process again when it exits. */
export const isSupervised = (): boolean => {
  const { SYSTEMD_EXEC_PID: pid, INVOCATION_ID: unit, [supervisedVariable]: told } = process.env;
  // systemd before 248 does not say whose process it started; its own children are those of process 1.
  return told === '1' || (pid === undefined ? unit !== undefined && process.ppid === 1 : Number(pid) === process.pid);
};

/**
 * For an agent that nobody would start again: starts the program in its stead, and stays to do so whenever it was
 * upgraded once more.
 * @returns the exit status to end with
 */
export async function standIn({ program, args }: Pick<SuperviseOptions, 'program' | 'args'>, signal: AbortSignal): Promise<number> {
  for (;;) {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, [supervisedVariable]: '1' } });
    const stop = (): void => { child.kill('SIGTERM'); };
    signal.addEventListener('abort', stop, { once: true });
    const code = await new Promise<number | null>((resolve, reject) => { child.on('error', reject).on('exit', resolve); });
    signal.removeEventListener('abort', stop);
    if (signal.aborted || code !== restartStatus) return code ?? 1;
  }
}

/** Exit status of an agent that is to be started again, as the upgraded one. */
export const restartStatus = 85;
