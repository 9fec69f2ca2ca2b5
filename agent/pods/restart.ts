import type { ContainerView } from './view.ts';

/** First wait between restarts, doubled with each to `maxBackoffMs`; forgotten after `resetAfterMs` of running. */
export const firstBackoffMs = 10_000;
export const maxBackoffMs = 300_000;
export const resetAfterMs = 600_000;

/**
 * What becomes of a container that ended.
 * - `done`: nothing, its policy is satisfied (or it has failed for good)
 * - `wait`: it is in back-off until `untilMs`
 * - `start`: make the next one; `backoffMs` is what that one has to wait if it ends too, written into its labels.
 *   So the whole history lies in the newest container, and an agent that comes back continues where it was.
 */
export type Restart =
  | { readonly kind: 'done' }
  | { readonly kind: 'wait'; readonly untilMs: number; readonly backoffMs: number }
  | { readonly kind: 'start'; readonly backoffMs: number };

type Ended = Pick<ContainerView, 'exitCode' | 'createdMs' | 'finishedMs' | 'endedMs' | 'backoffMs'>;

/** `now` and the times that come out are monotonic: a clock that is set neither holds a container back nor lets it loose. */
export function afterEnd(ended: Ended, policy: 'Always' | 'OnFailure' | 'Never', now: number): Restart {
  if (policy === 'Never' || (policy === 'OnFailure' && ended.exitCode === 0)) return { kind: 'done' };
  const ran = ended.finishedMs - ended.createdMs;
  const backoffMs = ran > resetAfterMs ? 0 : ended.backoffMs;
  const untilMs = ended.endedMs + backoffMs;
  if (now < untilMs) return { kind: 'wait', untilMs, backoffMs };
  return { kind: 'start', backoffMs: backoffMs === 0 ? firstBackoffMs : Math.min(maxBackoffMs, backoffMs * 2) };
}
