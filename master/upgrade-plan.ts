import type { Payload } from '../shared/protocol.ts';

/**
 * Where one node's upgrade stands, as the master sees it.
 *
 * ```
 * asked ─▶ fetching ─▶ checking ─▶ trying ─▶ done
 *   └──────────┴───────────┴─────────┴────▶ failed   (rolled back, refused, or silent for too long)
 * ```
 */
export interface NodeProgress {
  readonly phase: 'asked' | Payload<'upgradeStatus'>['phase'];
  /** Monotonic time of the last word of the node about it, and of the last time it was asked. */
  readonly heardMs: number;
  readonly askedMs: number;
}

/** Silence that is taken for failure while a node fetches and checks, and on top of its limit while it tries. */
export const silenceMs = 180_000;
export const returnMs = 120_000;
/** An agent that was restarted while it fetched does not know any more that it was asked. */
export const askAgainMs = 15_000;

export type NodeStep = { readonly type: 'wait' } | { readonly type: 'ask' } | { readonly type: 'over' } | { readonly type: 'fail'; readonly why: string };

/** What to do about a node now. `connected`: it has a session. */
export function nodeStep({ phase, heardMs, askedMs }: NodeProgress, view: { readonly nowMs: number; readonly limitMs: number; readonly connected: boolean }): NodeStep {
  const { nowMs, limitMs, connected } = view;
  const silentMs = nowMs - Math.max(heardMs, -Infinity);
  switch (phase) {
    case 'done': case 'failed': return { type: 'over' };
    case 'trying': return silentMs >= limitMs + returnMs ? { type: 'fail', why: 'it has not come back from its trial' } : { type: 'wait' };
    case 'asked': case 'fetching': case 'checking':
      if (silentMs >= silenceMs) return { type: 'fail', why: connected ? 'it does not get on with it' : 'it is not connected any more' };
      return connected && nowMs - Math.max(askedMs, heardMs) >= askAgainMs ? { type: 'ask' } : { type: 'wait' };
  }
}

export interface Candidate {
  readonly node: string;
  /** Its agent, if it is connected. */
  readonly agent: { readonly version: string; readonly upgrades: string | undefined } | undefined;
}

/** Why a node cannot be upgraded to a program for `arch`; undefined when it can. */
export function objection({ node, agent }: Candidate, arch: string | undefined): string | undefined {
  if (!agent) return `node "${node}" is not connected`;
  if (agent.upgrades === undefined) return `the agent of node "${node}" is not a packaged one (npm run package) and cannot replace itself`;
  if (arch !== undefined && arch !== agent.upgrades) return `node "${node}" is ${agent.upgrades}, and the program is for ${arch}`;
  return undefined;
}

/** Batches of at most `size`. */
export function batches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));
}
