import { nodes } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { Again } from '../../shared/queue.ts';
import { fromTime, toTime } from '../../shared/time.ts';
import { isNotFound } from '../../shared/status.ts';
import { defineController, some, type Context, type Controller } from './controller.ts';
import { removeIfThere } from './ensure.ts';
import { isEnded } from './pod.ts';

const defaultGraceMs = 40_000;
const defaultThreshold = 12_500;
/** The key under which ended pods are counted; the other keys are `node/NAME`. */
const ended = 'ended';

/** Removes pods that nobody else will: those of nodes that are gone, and the oldest of very many that have ended. */
export function podGc(): Controller {
  /** When a node was first missed, on the monotonic clock. */
  const missedMs = new Map<string, number>();
  return defineController({
    name: 'pod-gc',
    watches: [
      { kind: some(nodes), keys: ({ name, type }) => (type === 'MODIFIED' ? [] : [`node/${name}`]) },
      {
        kind: some(pods),
        *keys({ object, previous, type }, { indexes }) {
          const pod = object as Pod;
          const { nodeName } = pod.spec;
          if (nodeName && type !== 'DELETED' && (previous as Pod | undefined)?.spec.nodeName !== nodeName && !indexes.hasNode(nodeName)) yield `node/${nodeName}`;
          if (isEnded(pod) && type !== 'DELETED') yield ended;
        },
      },
    ],
    async reconcile(key, context): Promise<Again | void> {
      if (key === ended) return removeOldest(context);
      const node = key.slice('node/'.length);
      if (context.registry.stored(nodes, '', node)) {
        missedMs.delete(node);
        return undefined;
      }
      const now = context.clock.monotonic();
      if (!missedMs.has(node)) missedMs.set(node, now);
      const leftMs = missedMs.get(node)! + (context.settings.orphanedPodGraceMs ?? defaultGraceMs) - now;
      // A node that comes back under its name within the grace keeps its pods.
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      missedMs.delete(node);
      for (const pod of context.indexes.podsOnNode(node)) await removeOrphan(pod, context);
      return undefined;
    },
  });
}

async function removeOrphan(pod: Pod, context: Context): Promise<void> {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  if (!isEnded(pod)) await markFailed(pod, context);
  await removeIfThere(context.registry, some(pods), namespace, name, { gracePeriodSeconds: 0, preconditions: { uid } });
}

async function markFailed({ metadata }: Pod, { registry, clock }: Context): Promise<void> {
  const condition = {
    type: 'DisruptionTarget', status: 'True', reason: 'DeletionByPodGC', message: 'PodGC: node no longer exists', lastTransitionTime: toTime(clock.now()),
  };
  await registry.modify(pods, metadata.namespace ?? '', metadata.name ?? '', (pod) => {
    const others = (pod.status.conditions ?? []).filter(({ type }) => type !== condition.type);
    return { ...pod, status: { ...pod.status, phase: 'Failed', conditions: [...others, condition] } };
  }, { subresource: 'status', preconditions: { uid: metadata.uid ?? '' } }).catch((error: unknown) => { if (!isNotFound(error)) throw error; });
}

async function removeOldest({ registry, indexes, settings }: Context): Promise<void> {
  const excess = indexes.endedPods.size - (settings.terminatedPodThreshold ?? defaultThreshold);
  if (excess <= 0) return;
  const oldest = [...indexes.endedPods].flatMap((key) => {
    const slash = key.indexOf('/');
    const pod = registry.find(pods, key.slice(0, slash), key.slice(slash + 1));
    return pod ? [{ pod, createdMs: fromTime(pod.metadata.creationTimestamp) }] : [];
  }).sort((a, b) => a.createdMs - b.createdMs).slice(0, excess);
  for (const { pod } of oldest) {
    await removeIfThere(registry, some(pods), pod.metadata.namespace ?? '', pod.metadata.name ?? '', { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid ?? '' } });
  }
}
