import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { Log } from '../../shared/log.ts';
import { isNotFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import type { EventRecorder } from '../registry/events.ts';
import type { Registry } from '../registry/registry.ts';
import { nodeUser } from './writer.ts';

export interface WithheldOptions {
  readonly registry: Registry;
  readonly log: Log;
  /** Without it nothing is recorded. */
  readonly recorder?: Pick<EventRecorder, 'event'> | undefined;
  readonly now: () => number;
}

const reason = 'AgentTooOld';
/** What the types of items are to the person who wrote the pod. */
const spoken: Readonly<Record<string, string>> = { claim: 'persistent volume claims' };

/**
 * Says on a pod why it does not begin: its node's agent is of a version that does not know what it needs. One that is
 * being deleted goes, since that agent never had it.
 */
export async function tellWithheld(options: WithheldOptions, node: string, version: string, pod: Pod, types: readonly string[]): Promise<void> {
  const { registry, log } = options;
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  const message = `agent ${version} on node "${node}" is too old for ${types.map((type) => spoken[type] ?? type).join(', ')}: upgrade it`;
  const user = nodeUser(node);
  try {
    if (pod.metadata.deletionTimestamp) {
      await registry.delete(pods, namespace, name, { user, gracePeriodSeconds: 0, preconditions: { uid } });
      return;
    }
    options.recorder?.event(pod, 'Warning', reason, message, 'wherry-master');
    await registry.modify(pods, namespace, name, (current) => withCondition(current, uid, message, toTime(options.now())), { user, subresource: 'status' });
  } catch (error) {
    if (!isNotFound(error)) log.warn('a pod could not be told that its agent is too old', { node, pod: `${namespace}/${name}`, error });
  }
}

/** Mutates `current`; undefined when there is nothing to say. The agent's own condition of this type replaces it. */
function withCondition(current: Pod, uid: string, message: string, now: string): Pod | undefined {
  const type = 'PodReadyToStartContainers';
  const before = current.status.conditions ?? [];
  if (current.metadata.uid !== uid || current.status.startTime || before.some((condition) => condition.type === type && condition.message === message)) return undefined;
  const condition = { type, status: 'False' as const, reason, message, lastTransitionTime: now };
  current.status = { ...current.status, conditions: [...before.filter((other) => other.type !== type), condition] };
  return current;
}
