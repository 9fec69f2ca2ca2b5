/** What an agent on trial has shown so far; each line that it writes to its parent is one of these, as JSON. */
export interface Signs {
  readonly version: string;
  /** Its state was read, and can be written. */
  readonly state: boolean;
  /** The Docker engine answers it, and it looks after the pods. */
  readonly engine: boolean;
  /** It has a session with the master. */
  readonly master: boolean;
}

export interface TrialView {
  /** Monotonic, in ms. */
  readonly startedMs: number;
  readonly nowMs: number;
  /** How long the candidate may take to get healthy. */
  readonly limitMs: number;
  /** How long it must stay so. */
  readonly settleMs: number;
  readonly signs: Signs | undefined;
  /** Since when all of its signs are good, without a break. */
  readonly healthyMs: number | undefined;
  /** How its process ended, if it did: `exit status 1`, `SIGSEGV`. */
  readonly ended: string | undefined;
}

export type Verdict =
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'keep' }
  | { readonly type: 'back'; readonly why: string };

export const isHealthy = (signs: Signs | undefined): boolean => signs !== undefined && signs.state && signs.engine && signs.master;

/**
 * What is to become of a candidate. Nothing that it does can keep it but being healthy for the whole settling time
 * within the limit, and a session with the master is part of that: a program that was never seen to reach the master
 * might never be replaced again.
 */
export function judgeTrial({ startedMs, nowMs, limitMs, settleMs, signs, healthyMs, ended }: TrialView): Verdict {
  if (ended !== undefined) return { type: 'back', why: `it ended after ${seconds(nowMs - startedMs)}: ${ended}` };
  if (healthyMs !== undefined && nowMs - healthyMs >= settleMs) return { type: 'keep' };
  const deadlineMs = startedMs + limitMs;
  // Whoever gets healthy in time may settle beyond it.
  if (healthyMs !== undefined) return { type: 'wait', ms: healthyMs + settleMs - nowMs };
  if (nowMs >= deadlineMs) return { type: 'back', why: `not healthy within ${seconds(limitMs)}: ${missing(signs)}` };
  return { type: 'wait', ms: deadlineMs - nowMs };
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;

function missing(signs: Signs | undefined): string {
  if (!signs) return 'it said nothing';
  return [...(signs.state ? [] : ['its state cannot be read or written']), ...(signs.engine ? [] : ['Docker did not answer it']), ...(signs.master ? [] : ['no session with the master'])].join(', ');
}
