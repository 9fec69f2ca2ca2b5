import type { Column } from '../kind.ts';
import { fromTime, humanDuration } from '../time.ts';
import { ageColumn, nameColumn } from './columns.ts';
import type { ContainerStateTerminated, ContainerStatus } from './container.ts';
import type { PodParts } from './pod-status.ts';

/** What the columns Ready, Status and Restarts say. */
export interface PodSummary {
  readonly ready: number;
  readonly total: number;
  /** Such as `Running`, `Init:0/1` or `CrashLoopBackOff`. */
  readonly status: string;
  readonly restarts: number;
  /** When the last run that was restarted ended, in ms since 1970; 0 if there was none. */
  readonly lastRestartMs: number;
}

interface Tally { ready: number; restarts: number; lastRestartMs: number }

const newTally = (): Tally => ({ ready: 0, restarts: 0, lastRestartMs: 0 });

function count(tally: Tally, container: ContainerStatus): void {
  tally.restarts += container.restartCount;
  tally.lastRestartMs = Math.max(tally.lastRestartMs, fromTime(container.lastState?.terminated?.finishedAt));
}

const hasCondition = ({ status }: PodParts, type: string): boolean =>
  status.conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;

function endReason({ reason, signal, exitCode }: ContainerStateTerminated): string {
  if (reason) return reason;
  return signal ? `Signal:${signal}` : `ExitCode:${exitCode}`;
}

/** Sidecars: init containers that keep running. */
const sidecarNames = ({ spec }: PodParts): ReadonlySet<string> =>
  new Set((spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always').map((container) => container.name));

/** Status text while an init container is not done; undefined once it is. */
function initReason(container: ContainerStatus, index: number, total: number): string {
  const { terminated, waiting } = container.state ?? {};
  if (terminated) return `Init:${endReason(terminated)}`;
  if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`;
  return `Init:${index}/${total}`;
}

interface InitSummary { readonly all: Tally; readonly sidecars: Tally; readonly reason: string | undefined }

/** Looks at init containers in order, up to the first that is not done. */
function summarizeInit(pod: PodParts): InitSummary {
  const sidecar = sidecarNames(pod);
  const all = newTally();
  const sidecars = newTally();
  for (const [index, container] of (pod.status.initContainerStatuses ?? []).entries()) {
    count(all, container);
    if (sidecar.has(container.name)) count(sidecars, container);
    if (container.state?.terminated?.exitCode === 0) continue;
    if (sidecar.has(container.name) && container.started) {
      if (container.ready) sidecars.ready++;
      continue;
    }
    return { all, sidecars, reason: initReason(container, index, pod.spec.initContainers?.length ?? 0) };
  }
  return { all, sidecars, reason: undefined };
}

/** Status text of the containers; the first container that has something to say wins. Adds to the tally. */
function summarizeContainers(pod: PodParts, tally: Tally, before: string): string {
  let reason = before;
  let running = false;
  for (const container of (pod.status.containerStatuses ?? []).toReversed()) {
    count(tally, container);
    const { waiting, terminated, running: runs } = container.state ?? {};
    if (waiting?.reason) reason = waiting.reason;
    else if (terminated) reason = endReason(terminated);
    else if (container.ready && runs) {
      running = true;
      tally.ready++;
    }
  }
  if (reason !== 'Completed' || !running) return reason;
  return hasCondition(pod, 'Ready') ? 'Running' : 'NotReady';
}

function phaseReason({ status }: PodParts): string {
  const gated = status.conditions?.some((condition) => condition.type === 'PodScheduled' && condition.reason === 'SchedulingGated');
  return gated ? 'SchedulingGated' : status.reason || status.phase || '';
}

/** What `kubectl get pods` says of a pod: the rules of printPod in pkg/printers/internalversion. */
export function summarizePod(pod: PodParts): PodSummary {
  const init = summarizeInit(pod);
  let status = init.reason ?? phaseReason(pod);
  let tally: Tally = { ...init.all, ready: init.sidecars.ready };
  if (init.reason === undefined || hasCondition(pod, 'Initialized')) {
    tally = init.sidecars;
    status = summarizeContainers(pod, tally, status);
  }
  if (pod.metadata.deletionTimestamp) {
    const { phase, reason } = pod.status;
    if (reason === 'NodeLost') status = 'Unknown';
    else if (phase !== 'Succeeded' && phase !== 'Failed') status = 'Terminating';
  }
  return { ...tally, total: pod.spec.containers.length + sidecarNames(pod).size, status };
}

function restartsCell(pod: PodParts, now: number): string {
  const { restarts, lastRestartMs } = summarizePod(pod);
  return restarts > 0 && lastRestartMs > 0 ? `${restarts} (${humanDuration(now - lastRestartMs)} ago)` : String(restarts);
}

function readyCell(pod: PodParts): string {
  const { ready, total } = summarizePod(pod);
  return `${ready}/${total}`;
}

function gatesCell(pod: PodParts): string {
  const gates = pod.spec.readinessGates ?? [];
  return gates.length === 0 ? '<none>' : `${gates.filter((gate) => hasCondition(pod, gate.conditionType)).length}/${gates.length}`;
}

export const podColumns: readonly Column<PodParts>[] = [
  nameColumn,
  { name: 'Ready', type: 'string', description: 'Containers that are ready, of all.', cell: readyCell },
  { name: 'Status', type: 'string', description: 'State of the pod and of its containers.', cell: (pod) => summarizePod(pod).status },
  { name: 'Restarts', type: 'string', description: 'How often containers were restarted, and when last.', cell: restartsCell },
  ageColumn,
  { name: 'IP', type: 'string', description: 'Address of the pod.', priority: 1, cell: ({ status }) => status.podIPs?.[0]?.ip || status.podIP || '<none>' },
  { name: 'Node', type: 'string', description: 'Node that it runs on.', priority: 1, cell: ({ spec }) => spec.nodeName || '<none>' },
  { name: 'Nominated Node', type: 'string', description: 'Node on which room is being made.', priority: 1, cell: ({ status }) => status.nominatedNodeName || '<none>' },
  { name: 'Readiness Gates', type: 'string', description: 'Readiness gates that are met, of all.', priority: 1, cell: gatesCell },
];
