import { leases } from '../../shared/kinds/lease.ts';
import { nodes, type Node, type NodeCondition } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { Again } from '../../shared/queue.ts';
import { isNotFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import type { KindChange } from '../registry/types.ts';
import { defineController, some, type Context, type Controller } from './controller.ts';
import { NodeHealth } from './node-health.ts';
import { readyCondition, taintsFor } from './node-taints.ts';
import { isReady } from './pod.ts';
import { evict } from './taint-eviction.ts';

const component = 'node-controller';
/** Conditions that become Unknown with the node; NetworkUnavailable is not the node's to report. */
const reported = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];
const leaseNamespace = 'kube-node-lease';

/**
 * Notices silent nodes: their conditions become Unknown, taints keep pods off and, after the time that each pod
 * tolerates, drive its pods away; all of it is undone when the node is heard again. While no node at all is ready,
 * nothing is driven away.
 */
export function nodeLifecycle(): Controller {
  const health = new NodeHealth();
  /** Wall clock before which no pod's toleration runs: a restarted master first waits for the nodes to report. */
  let notBeforeMs = 0;
  return defineController({
    name: 'node-lifecycle', concurrency: 16,
    initialKeys({ clock, settings }) {
      notBeforeMs = clock.now() + graceMs(settings);
      return [];
    },
    watches: [
      { kind: some(nodes), keys: (change, context) => nodeKeys(change, health, context) },
      {
        kind: some(leases),
        keys({ namespace, name, type }, { clock }) {
          // Noted when it comes, not when the node is next looked at: silence is counted to the millisecond.
          if (namespace === leaseNamespace && type === 'MODIFIED') health.renewed(name, clock.monotonic());
          return [];
        },
      },
      // A pod that comes to a tainted node has its own time to go.
      { kind: some(pods), keys: arrivals },
    ],
    reconcile: (name, context) => look(name, health, notBeforeMs, context),
  });
}

/** The node that a pod has come to with this change. */
function arrivals({ object, previous, type }: KindChange): string[] {
  const { nodeName } = (object as Pod).spec;
  return nodeName && type !== 'DELETED' && (previous as Pod | undefined)?.spec.nodeName !== nodeName ? [nodeName] : [];
}

const graceMs = ({ nodeMonitorGraceMs = 40_000 }: Context['settings']): number => nodeMonitorGraceMs;

/** A node's key when something that is judged has changed; all nodes' when the whole picture has. */
function* nodeKeys({ object, previous, name, type }: KindChange, health: NodeHealth, { clock }: Context): Generator<string> {
  const now = clock.monotonic();
  const turned = type === 'DELETED' ? health.forget(name) : health.note(object as Node, now);
  if (turned && !health.allLost) health.restart(now);
  if (turned) yield* health.names;
  else if (type !== 'DELETED' && (!previous || judged(object as Node) !== judged(previous as Node))) yield name;
}

const judged = ({ spec, status }: Node): string => JSON.stringify([spec.taints, spec.unschedulable, status.conditions?.map((condition) => [condition.type, condition.status])]);

async function look(name: string, health: NodeHealth, notBeforeMs: number, context: Context): Promise<Again | void> {
  const { registry, clock, settings } = context;
  const found = registry.find(nodes, '', name);
  if (!found) return undefined;
  const graceOf = readyCondition(found) ? graceMs(settings) : settings.nodeStartupGraceMs ?? 60_000;
  const seen = Math.max(health.seenMs(name) ?? clock.monotonic(), settings.lastSeen?.(name) ?? 0);
  const leftMs = seen + graceOf - clock.monotonic();
  let node: Node = found;
  if (leftMs <= 0 && readyCondition(found)?.status !== 'Unknown') node = await markUnknown(found, toTime(clock.now() - (clock.monotonic() - seen)), context);
  node = await taint(node, !health.allLost, context);
  const unknown = readyCondition(node)?.status === 'Unknown';
  if (unknown) await markPodsNotReady(name, context);
  const dueMs = health.allLost ? undefined : await evict(node, notBeforeMs, context);
  // A millisecond more, so that the next look finds the time over.
  const waits = [...(unknown ? [] : [Math.max(leftMs, 0) + 1]), ...(dueMs === undefined ? [] : [dueMs + 1])];
  return waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : undefined;
}

/** `heard`: when the node was last heard of. */
async function markUnknown(node: Node, heard: string, { registry, recorder, clock }: Context): Promise<Node> {
  const name = node.metadata.name ?? '';
  if (readyCondition(node)?.status === 'True') recorder.event(node, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`, component);
  const now = toTime(clock.now());
  return orGone(node, registry.modify(nodes, '', name, (current) => ({
    ...current, status: { ...current.status, conditions: unknownConditions(current, now, heard) },
  }), { subresource: 'status', preconditions: { uid: node.metadata.uid ?? '' } }));
}

function unknownConditions({ metadata, status }: Node, now: string, heard: string): NodeCondition[] {
  const known = (status.conditions ?? []).map((condition) => (!reported.includes(condition.type) || condition.status === 'Unknown' ? condition : {
    ...condition, status: 'Unknown', reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.', lastHeartbeatTime: heard, lastTransitionTime: now,
  }));
  const missing = reported.filter((type) => !known.some((condition) => condition.type === type)).map((type) => ({
    type, status: 'Unknown', reason: 'NodeStatusNeverUpdated', message: 'Kubelet never posted node status.',
    ...(metadata.creationTimestamp ? { lastHeartbeatTime: metadata.creationTimestamp } : {}), lastTransitionTime: now,
  }));
  return [...known, ...missing];
}

async function taint(node: Node, evicting: boolean, { registry, clock }: Context): Promise<Node> {
  if (!taintsFor(node, evicting, '')) return node;
  return orGone(node, registry.modify(nodes, '', node.metadata.name ?? '', (current) => {
    const taints = taintsFor(current, evicting, toTime(clock.now()));
    return taints && { ...current, spec: { ...current.spec, taints } };
  }, { preconditions: { uid: node.metadata.uid ?? '' } }));
}

function lost(registry: Context['registry'], name: string): boolean {
  const node = registry.find(nodes, '', name);
  return node !== undefined && readyCondition(node)?.status === 'Unknown';
}

async function orGone(node: Node, write: Promise<{ readonly object: Node }>): Promise<Node> {
  try {
    return (await write).object;
  } catch (error) {
    if (isNotFound(error)) return node;
    throw error;
  }
}

/**
 * Services send nobody to a pod that cannot be seen. Its agent reports it anew when it is back: first its node, then
 * its pods; so what is written here after the node's word would stand against a report that has come already.
 */
async function markPodsNotReady(node: string, { registry, recorder, indexes, clock }: Context): Promise<void> {
  for (const pod of indexes.podsOnNode(node)) {
    if (!isReady(pod)) continue;
    recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready', component);
    await registry.modify(pods, pod.metadata.namespace ?? '', pod.metadata.name ?? '', (current) => (lost(registry, node) ? {
      ...current, status: { ...current.status, conditions: (current.status.conditions ?? []).map((condition) =>
        (condition.type === 'Ready' && condition.status !== 'False' ? { ...condition, status: 'False', lastTransitionTime: toTime(clock.now()) } : condition)) },
    } : undefined), { subresource: 'status', preconditions: { uid: pod.metadata.uid ?? '' } }).catch((error: unknown) => { if (!isNotFound(error)) throw error; });
  }
}
