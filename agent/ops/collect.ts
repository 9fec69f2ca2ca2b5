import { readFile } from 'node:fs/promises';
import type { Clock } from '../../shared/clock.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { version } from '../../shared/version.ts';
import type { AgentConfig } from '../config.ts';
import type { LinkView } from '../session/link-status.ts';
import type { State } from '../state/state.ts';
import { readIdentityFacts } from './identity-facts.ts';
import { podLine } from './pod-line.ts';
import type { AgentStatus, ListenerLine } from './status.ts';

/** Where a running agent's status comes from. Asked only when somebody wants to know. */
export interface StatusSources {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly state: State & { readonly bytesWritten: number };
  readonly link: () => LinkView;
  /** Undefined while the node is not enrolled: then there is nothing but the link. */
  readonly parts: () => NodeParts | undefined;
  /** Why the state cannot be written, if it cannot. */
  readonly trouble: () => string | undefined;
}

/** The parts of an agent at work. */
export interface NodeParts {
  readonly pods: Iterable<{ readonly pod: Pod; readonly status: PodStatus | undefined }>;
  readonly listeners: readonly ListenerLine[];
  readonly serviceRange: { readonly cidr: string; readonly local: boolean } | undefined;
  readonly dns?: NonNullable<AgentStatus['dns']> | undefined;
  readonly unsent: { readonly pods: number; readonly events: number; readonly eventsDropped: number };
  /** Why the engine does not answer, if it does not. */
  readonly engineTrouble?: string | undefined;
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** The status of a running agent. Never rejects: what cannot be read is a problem in it. */
export async function collect(sources: StatusSources): Promise<AgentStatus> {
  const { config, startedMs, state } = sources;
  const parts = sources.parts();
  const problems = [sources.trouble()].filter((one) => one !== undefined).map((why) => `the state cannot be written: ${why}`);
  if (parts?.engineTrouble !== undefined) problems.push(`the engine does not answer: ${parts.engineTrouble}`);
  const identity = await readIdentityFacts(config.dataDir).catch((error: Error) => void problems.push(error.message)) ?? undefined;
  const master = config.master ?? identity?.server;
  const { rss, heapUsed } = process.memoryUsage();
  return {
    state: sources.link().phase === 'connected' ? 'connected' : 'not connected',
    version, node: config.nodeName, dataDir: config.dataDir, pid: process.pid, started: iso(startedMs),
    ...(master ? { master } : {}),
    link: linkOf(sources.link()),
    held: { ...state.held, items: state.items.size },
    ...(identity ? { certificate: { notAfter: identity.notAfter } } : {}),
    pods: [...parts?.pods ?? []].map(({ pod, status }) => podLine(pod, status)).sort(byName),
    ...(parts ? { listeners: [...parts.listeners], unsent: parts.unsent } : {}),
    ...(parts?.serviceRange ? { serviceRange: parts.serviceRange } : {}),
    ...(parts?.dns ? { dns: parts.dns } : {}),
    flash: { journalBytes: state.bytesWritten, ...await processBytes() },
    memory: { residentBytes: rss, heapBytes: heapUsed },
    problems,
  };
}

export const byName = (a: { namespace: string; name: string }, b: { namespace: string; name: string }): number =>
  (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1);

function linkOf({ phase, sinceMs, sessions, nextTryMs, lastError, bytes }: LinkView): NonNullable<AgentStatus['link']> {
  return {
    phase, since: iso(sinceMs), sessions, bytesSent: bytes.sent, bytesReceived: bytes.received,
    ...(nextTryMs === undefined ? {} : { nextTry: iso(nextTryMs) }),
    ...(lastError ? { lastError: { message: lastError.message, at: iso(lastError.atMs) } } : {}),
  };
}

/** What this process had written to storage, as the kernel counts it; nothing where it does not. */
async function processBytes(): Promise<{ processBytes?: number }> {
  const found = /^write_bytes: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8').catch(() => ''))?.[1];
  return found === undefined ? {} : { processBytes: Number(found) };
}
