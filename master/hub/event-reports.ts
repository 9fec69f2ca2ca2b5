import { createHash } from 'node:crypto';
import { events, type Event } from '../../shared/kinds/event.ts';
import { pods } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import type { EventReport } from '../../shared/protocol.ts';
import { toTime } from '../../shared/time.ts';
import type { Registry } from '../registry/registry.ts';
import { isPassing, nodeUser } from './writer.ts';

/**
 * Writes events that an agent reports: one object per event key, whose count and time grow. Events about pods of other
 * nodes are dropped.
 * @throws when the store cannot take them now; the agent sends them again
 */
export async function writeEvents(registry: Registry, log: Log, node: string, reports: readonly EventReport[]): Promise<void> {
  for (const report of reports) {
    try {
      if (mayReport(registry, node, report)) await writeEvent(registry, node, report);
    } catch (error) {
      if (isPassing(error)) throw error;
      log.debug('an event was refused', { node, reason: report.reason, error });
    }
  }
}

function mayReport(registry: Registry, node: string, { involvedObject, namespace }: EventReport): boolean {
  if (involvedObject.kind === 'Node') return involvedObject.name === node;
  if (involvedObject.kind !== 'Pod') return false;
  const of = registry.find(pods, namespace, involvedObject.name)?.spec.nodeName;
  return of === undefined || of === node;
}

/**
 * The first time in nanoseconds, in hexadecimal digits, as client-go names events: in a list, a pod's come in the order
 * in which they happened. What is less than a millisecond tells those of one moment apart.
 */
function idOf(node: string, { key, firstMs }: EventReport): string {
  const part = createHash('sha256').update(`${node}\0${key}\0${firstMs}`).digest().readUInt32BE() % 1_000_000;
  return (BigInt(firstMs) * 1_000_000n + BigInt(part)).toString(16);
}

async function writeEvent(registry: Registry, node: string, report: EventReport): Promise<void> {
  const { namespace, involvedObject, firstMs, lastMs, count, reason, message, type, component } = report;
  // A report that is sent again, or counts on, finds the object that it made.
  const name = `${involvedObject.name.slice(0, 236)}.${idOf(node, report)}`;
  const user = nodeUser(node);
  const seen = { count: Math.max(1, count), lastTimestamp: toTime(lastMs), message: message.slice(0, 1024) };
  if (registry.find(events, namespace, name)) {
    await registry.modify(events, namespace, name, (current: Event) => ((current.count ?? 0) > seen.count ? undefined : Object.assign(current, seen)), { user });
    return;
  }
  await registry.create(events, namespace, {
    metadata: { name, namespace }, involvedObject, reason, type, ...seen, firstTimestamp: toTime(firstMs),
    source: { component, host: node }, reportingComponent: component, reportingInstance: node,
  }, { user });
}
