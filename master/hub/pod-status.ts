import { equal } from '../../shared/equal.ts';
import { isTerminal, pods, type Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import type { PodReport } from '../../shared/protocol.ts';
import { isConflict, isNotFound } from '../../shared/status.ts';
import type { Registry } from '../registry/registry.ts';
import type { Gate } from './gate.ts';
import { isPassing, nodeUser } from './writer.ts';

/** Reports of one agent written at a time. */
const atOnce = 32;

export interface PodStatusOptions {
  readonly registry: Registry;
  readonly log: Log;
  /** Limits the writes under way, of all agents together. */
  readonly writing: Gate;
}

/**
 * Writes what an agent reports of its pods. Reports of pods that are not (or no longer) the node's are dropped; a pod
 * that is gone from its node while being deleted is removed.
 * @throws when the store cannot take it now; the agent sends it again
 */
export async function writePodReports(options: PodStatusOptions, node: string, reports: readonly PodReport[]): Promise<void> {
  // However many there are, other agents' reports get their turn in between.
  for (let from = 0; from < reports.length; from += atOnce) {
    const results = await Promise.allSettled(reports.slice(from, from + atOnce).map((report) => options.writing.run(() => writeReport(options, node, report))));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}

async function writeReport({ registry, log }: PodStatusOptions, node: string, report: PodReport): Promise<void> {
  const { namespace, name, uid, gone } = report;
  const user = nodeUser(node);
  const stored = registry.find(pods, namespace, name);
  if (!stored || stored.metadata.uid !== uid) return;
  if (stored.spec.nodeName !== node) {
    log.warn('agent reports a pod of another node', { node, pod: `${namespace}/${name}`, of: stored.spec.nodeName });
    return;
  }
  // An agent that was restarted reports all anew, and most of it is known.
  if (!gone && equal(reportedStatus(stored, report), stored.status)) return;
  try {
    const { object } = await registry.modify(pods, namespace, name, (current) => withReport(current, node, report), { user, subresource: 'status' });
    if (!gone || !object.metadata.deletionTimestamp || object.metadata.uid !== uid) return;
    await registry.delete(pods, namespace, name, { user, gracePeriodSeconds: 0, preconditions: { uid } });
  } catch (error) {
    if (isNotFound(error) || (isConflict(error) && registry.find(pods, namespace, name)?.metadata.uid !== uid)) return;
    if (isPassing(error)) throw error;
    log.warn('a pod status was refused', { node, pod: `${namespace}/${name}`, error });
  }
}

/** The pod with the reported status; undefined when the report is not (or no longer) about it. Mutates `current`. */
function withReport(current: Pod, node: string, report: PodReport): Pod | undefined {
  if (current.metadata.uid !== report.uid || current.spec.nodeName !== node) return undefined;
  current.status = reportedStatus(current, report);
  return current;
}

/** A pod's status as it is after a report. What has ended stays ended: its controller has counted it. */
function reportedStatus(pod: Pod, { status }: PodReport): Pod['status'] {
  const before = pod.status;
  const next = status as Pod['status'];
  if (isTerminal(pod) && next.phase !== before.phase) return before;
  const reported = new Set(next.conditions?.map(({ type }) => type));
  const others = before.conditions?.filter(({ type }) => !reported.has(type)) ?? [];
  const { conditions: _, ...rest } = next;
  const conditions = [...next.conditions ?? [], ...others];
  return { ...(before.qosClass ? { qosClass: before.qosClass } : {}), ...rest, ...(conditions.length > 0 ? { conditions } : {}) };
}
