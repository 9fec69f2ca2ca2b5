import { persistentVolumes } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { splitKey } from '../../shared/meta.ts';
import type { Clock } from '../../shared/clock.ts';
import { conflict } from '../../shared/status.ts';
import type { Registry } from '../registry/registry.ts';
import { annotation, boundTo, findVolume, isBound, isFor, reaches } from '../registry/volumes.ts';
import type { NodeFacts } from './snapshot.ts';

export interface ClaimBinderOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  /** How long a pod waits for its claims to be bound. Default 10 min, as upstream. */
  readonly timeoutMs?: number;
}

/** The claims of a pod that has got its place, but not its volumes yet. */
export interface ClaimsOfPod {
  /** `namespace/name`, of the pod and of its claims. */
  readonly pod: string;
  readonly uid: string;
  readonly claims: readonly string[];
  readonly node: NodeFacts;
}

/**
 * Binds the claims that waited for their first consumer: keeps a volume of the node for each, or asks the provisioner
 * for one there, and waits until the volume controller has completed it.
 * @throws Error when it cannot be or takes too long; the pod is then placed again
 */
export async function bindClaims(options: ClaimBinderOptions, request: ClaimsOfPod, signal: AbortSignal): Promise<void> {
  const { registry } = options;
  const taken = new Set<string>();
  for (const key of request.claims) {
    const claim = get(registry, key);
    if (claim && !isBound(claim) && !claim.spec.volumeName) await claimOne(registry, claim, request.node, taken);
  }
  await waitUntil(options, () => settled(registry, request), signal);
}

const get = (registry: Registry, key: string): PersistentVolumeClaim | undefined => {
  const { namespace, name } = splitKey(key);
  return registry.find(persistentVolumeClaims, namespace, name);
};

async function claimOne(registry: Registry, claim: PersistentVolumeClaim, node: NodeFacts, taken: Set<string>): Promise<void> {
  const volume = findVolume(claim, registry.all(persistentVolumes), { node, taken });
  if (volume) {
    const name = volume.metadata.name ?? '';
    taken.add(name);
    await registry.modify(persistentVolumes, '', name, (now) => {
      if (now.spec.claimRef && !isFor(now, claim)) throw conflict(persistentVolumes, name);
      const next = boundTo(now, claim);
      return next === now ? undefined : next;
    });
    return;
  }
  await registry.modify(persistentVolumeClaims, claim.metadata.namespace ?? '', claim.metadata.name ?? '', (now) => (now.metadata.annotations?.[annotation.selectedNode] === node.name ? undefined
    : { ...now, metadata: { ...now.metadata, annotations: { ...now.metadata.annotations, [annotation.selectedNode]: node.name } } }));
}

/** Whether all claims are bound. @throws Error when that will not lead to this pod on this node */
function settled(registry: Registry, { pod, uid, claims, node }: ClaimsOfPod): boolean {
  const { namespace, name } = splitKey(pod);
  const now = registry.find(pods, namespace, name);
  if (!now || now.metadata.uid !== uid || now.metadata.deletionTimestamp) throw new Error(`pod ${pod} is no more`);
  return claims.every((key) => {
    const claim = get(registry, key);
    if (!claim) throw new Error(`persistentvolumeclaim ${key} is no more`);
    if (!isBound(claim)) return underWay(registry, claim, node);
    const volume = registry.find(persistentVolumes, '', claim.spec.volumeName ?? '');
    if (volume && !reaches(volume, node)) throw new Error(`pv "${volume.metadata.name ?? ''}" node affinity doesn't match node "${node.name}"`);
    return true;
  });
}

/** False while somebody works on it. @throws Error when the provisioner has given the node back, or the volume went to another */
function underWay(registry: Registry, claim: PersistentVolumeClaim, node: NodeFacts): false {
  const chosen = claim.metadata.annotations?.[annotation.selectedNode] === node.name;
  if (!chosen && !claim.spec.volumeName && !registry.all(persistentVolumes).some((volume) => isFor(volume, claim))) {
    throw new Error(`provisioning failed for PVC ${JSON.stringify(claim.metadata.name ?? '')}`);
  }
  return false;
}

/** Looks again after each change of anything. */
function waitUntil({ registry, clock, timeoutMs = 600_000 }: ClaimBinderOptions, done: () => boolean, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  return new Promise<void>((resolve, reject) => {
    const look = (): void => {
      if (over.signal.aborted) return;
      try {
        if (done()) resolve();
      } catch (error) {
        reject(error as Error);
      }
    };
    const cancel = clock.after(timeoutMs, () => reject(new Error('timed out waiting for the condition')));
    const stop = (): void => reject(new Error('the scheduler stops'));
    over.signal.addEventListener('abort', () => { cancel(); signal.removeEventListener('abort', stop); });
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
    registry.changes(registry.store.revision, look, over.signal);
    look();
  }).finally(() => over.abort());
}
