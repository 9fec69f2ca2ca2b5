import { nodes, type Node } from '../../shared/kinds/node.ts';
import type { Log } from '../../shared/log.ts';
import { isAlreadyExists } from '../../shared/status.ts';
import { mayLabelItself, ownLabels } from '../registry/node-labels.ts';
import type { Registry } from '../registry/registry.ts';
import { isPassing, nodeUser } from './writer.ts';

/**
 * Writes the Node object as its agent sees it. The first time it is created, with the labels and taints that the agent
 * was told to register with; afterwards only its status and the agent's own labels follow.
 * @throws when the store cannot take it now; the agent sends it again
 */
export async function writeNode(registry: Registry, log: Log, name: string, reported: Node): Promise<void> {
  const user = nodeUser(name);
  try {
    const known = registry.find(nodes, '', name);
    if (!known) await register(registry, name, reported);
    // Enrolment makes the Node, with nothing but its key; what the agent was told to register with comes now.
    else if (!known.status.nodeInfo && !known.status.capacity) await registry.modify(nodes, '', name, (current) => registered(current, reported));
    await registry.modify(nodes, '', name, (current) => withLabels(current, reported), { user });
    await registry.modify(nodes, '', name, (current) => withStatus(current, reported), { user, subresource: 'status' });
  } catch (error) {
    if (isPassing(error) || (error as { code?: number }).code === 404) throw error;
    log.warn('a node report was refused', { node: name, error });
  }
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
function withStatus(current: Node, { status }: Node): Node {
  const { capacity, allocatable, conditions = [], addresses, daemonEndpoints, nodeInfo, images } = status;
  const spoken = new Set(conditions.map(({ type }) => type));
  const others = current.status.conditions?.filter(({ type }) => !spoken.has(type)) ?? [];
  Object.assign(current.status, defined({ capacity, allocatable, addresses, daemonEndpoints, nodeInfo, images }), { conditions: [...conditions, ...others] });
  return current;
}

const defined = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
