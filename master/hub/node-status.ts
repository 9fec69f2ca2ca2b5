import { nodes, type Node, type NodeCondition } from '../../shared/kinds/node.ts';
import type { Log } from '../../shared/log.ts';
import { isAlreadyExists } from '../../shared/status.ts';
import { mayLabelItself, ownLabels } from '../registry/node-labels.ts';
import type { Registry } from '../registry/registry.ts';
import { isPassing, nodeUser } from './writer.ts';

/** Takes what is new about a node, as an event. */
export type TellOfNode = (node: Node, type: 'Normal' | 'Warning', reason: string, message: string) => void;

/**
 * Writes the Node object as its agent sees it. The first time it is created, with the labels and taints that the agent
 * was told to register with; afterwards only its status and the agent's own labels follow. `now` is when it reported.
 * @throws when the store cannot take it now; the agent sends it again
 */
export async function writeNode(registry: Registry, log: Log, name: string, reported: Node, now: string, tell?: TellOfNode): Promise<void> {
  const user = nodeUser(name);
  try {
    const known = registry.find(nodes, '', name);
    if (!known) await register(registry, name, reported);
    // Enrolment makes the Node, with nothing but its key; what the agent was told to register with comes now.
    else if (!known.status.nodeInfo && !known.status.capacity) await registry.modify(nodes, '', name, (current) => registered(current, reported));
    await registry.modify(nodes, '', name, (current) => withLabels(current, reported), { user });
    const before = registry.get(nodes, '', name).object;
    await registry.modify(nodes, '', name, (current) => withStatus(current, reported, now), { user, subresource: 'status' });
    if (tell) for (const [type, reason, message] of news(name, before.status, reported.status)) tell(before, type, reason, message);
  } catch (error) {
    if (isPassing(error) || (error as { code?: number }).code === 404) throw error;
    log.warn('a node report was refused', { node: name, error });
  }
}

/** What the kubelet would say of a changed status (`recordNodeStatusEvent`): ready or not, and started anew. */
function* news(name: string, before: Node['status'], after: Node['status']): Generator<['Normal' | 'Warning', string, string]> {
  const [was, is] = [before, after].map(({ conditions }) => conditions?.find(({ type }) => type === 'Ready')?.status);
  const [bootID, newBootID] = [before.nodeInfo?.bootID, after.nodeInfo?.bootID];
  if (bootID && newBootID && bootID !== newBootID) yield ['Warning', 'Rebooted', `Node ${name} has been rebooted, boot id: ${newBootID}`];
  if (is === was || (is !== 'True' && was !== 'True')) return;
  const reason = is === 'True' ? 'NodeReady' : 'NodeNotReady';
  yield ['Normal', reason, `Node ${name} status is now: ${reason}`];
}

const labelsToRegister = (reported: Node): Record<string, string> =>
  Object.fromEntries(Object.entries(reported.metadata.labels ?? {}).filter(([key]) => mayLabelItself(key)));

/** Adds labels and taints that nobody set before. Mutates `current`; undefined: nothing to add. */
function registered(current: Node, reported: Node): Node | undefined {
  const before = current.metadata.labels ?? {};
  const labels = { ...labelsToRegister(reported), ...before };
  const present = current.spec?.taints ?? [];
  const taints = (reported.spec?.taints ?? []).filter((taint) => !present.some(({ key, effect }) => key === taint.key && effect === taint.effect));
  if (Object.keys(labels).length === Object.keys(before).length && taints.length === 0) return undefined;
  current.metadata.labels = labels;
  if (taints.length > 0) current.spec = { ...current.spec, taints: [...present, ...taints] };
  return current;
}

async function register(registry: Registry, name: string, reported: Node): Promise<void> {
  const labels = labelsToRegister(reported);
  const { annotations } = reported.metadata;
  const taints = reported.spec?.taints;
  const document = { metadata: { name, labels, ...(annotations ? { annotations } : {}) }, spec: taints ? { taints } : {} };
  try {
    await registry.create(nodes, '', document, { user: nodeUser(name) });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

function withLabels(current: Node, reported: Node): Node | undefined {
  const labels = { ...current.metadata.labels };
  let changed = false;
  for (const key of ownLabels) {
    const value = reported.metadata.labels?.[key];
    if (labels[key] === value) continue;
    changed = true;
    if (value === undefined) delete labels[key];
    else labels[key] = value;
  }
  if (!changed) return undefined;
  current.metadata.labels = labels;
  return current;
}

/** The agent's view of itself; conditions that it does not speak of, and volumes, are others'. Mutates `current`. */
function withStatus(current: Node, { status }: Node, now: string): Node {
  const { capacity, allocatable, addresses, daemonEndpoints, nodeInfo, images } = status;
  const conditions = (status.conditions ?? []).map((condition) => heard(condition, current, now));
  const spoken = new Set(conditions.map(({ type }) => type));
  const others = current.status.conditions?.filter(({ type }) => !spoken.has(type)) ?? [];
  Object.assign(current.status, defined({ capacity, allocatable, addresses, daemonEndpoints, nodeInfo, images }), { conditions: [...conditions, ...others] });
  return current;
}

/**
 * Agents leave out when they looked, as that alone is worth no message. A condition that is the same as before keeps its
 * time, so that it costs no write either: the lease tells when the node was last heard of.
 */
function heard(condition: NodeCondition, { status }: Node, now: string): NodeCondition {
  const before = status.conditions?.find(({ type }) => type === condition.type);
  const same = before && (['status', 'reason', 'message', 'lastTransitionTime'] as const).every((field) => before[field] === condition[field]);
  return { ...condition, lastHeartbeatTime: condition.lastHeartbeatTime ?? (same ? before.lastHeartbeatTime : undefined) ?? now };
}

const defined = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
