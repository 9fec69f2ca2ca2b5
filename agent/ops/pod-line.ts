import { summarizePod } from '../../shared/kinds/pod-columns.ts';
import type { ContainerStatus } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { PodLine } from './status.ts';

/** One pod as `wherry agent status` shows it. `status` is undefined for a pod that nothing was noted of yet. */
export function podLine(pod: Pod, status: PodStatus | undefined): PodLine {
  const { name = '', namespace = '' } = pod.metadata;
  const summary = summarizePod({ ...pod, status: status ?? { phase: 'Pending' } });
  const lastError = lastErrorOf(status);
  return {
    namespace, name, status: summary.status, phase: status?.phase ?? 'Pending', ready: `${summary.ready}/${summary.total}`, restarts: summary.restarts,
    ...(lastError ? { lastError } : {}),
  };
}

/** Reasons to wait that are no trouble. */
const ordinary: ReadonlySet<string> = new Set(['ContainerCreating', 'PodInitializing']);

function lastErrorOf(status: PodStatus | undefined): string | undefined {
  if (status?.reason || status?.message) return joined(status.reason, status.message);
  const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  return all.map(containerError).find(Boolean);
}

/** What keeps a container from running, and how it last ended if that was badly. */
function containerError({ name, state, lastState }: ContainerStatus): string | undefined {
  const { waiting } = state ?? {};
  const wait = waiting?.reason && !ordinary.has(waiting.reason) ? joined(waiting.reason, waiting.message) : undefined;
  const ended = [state?.terminated, lastState?.terminated].find((one) => one && one.exitCode !== 0);
  const end = ended ? `${joined(ended.reason, ended.message?.trim().split('\n').at(-1))} (exit code ${ended.exitCode}${ended.finishedAt ? ` at ${ended.finishedAt}` : ''})` : undefined;
  const parts = [wait, end].filter(Boolean);
  return parts.length > 0 ? `${name}: ${parts.join('; ')}` : undefined;
}

const joined = (...parts: readonly (string | undefined)[]): string => parts.filter(Boolean).join(': ');
