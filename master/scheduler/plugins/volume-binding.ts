import { persistentVolumes, type PersistentVolume } from '../../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../../shared/kinds/persistentvolumeclaim.ts';
import { noProvisioner, storageClasses, type StorageClass } from '../../../shared/kinds/storageclass.ts';
import { splitKey } from '../../../shared/meta.ts';
import type { Registry } from '../../registry/registry.ts';
import { annotation, findVolume, isBound, reaches } from '../../registry/volumes.ts';
import type { ClaimUse } from '../shape.ts';
import type { NodeFacts, Snapshot } from '../snapshot.ts';
import type { Plugin } from './plugin.ts';

const conflict = 'node(s) had volume node affinity conflict';
const nothing = "node(s) didn't find available persistent volumes to bind";
const lost = 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)';
const oncePerPod = 'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode';

/**
 * Keeps pods to nodes from which their volumes can be reached. What it says depends on more than the node that it is
 * asked about, so the scheduler asks afresh for every pod that has claims.
 */
export const volumeBinding = (registry: Registry): Plugin => ({
  name: 'VolumeBinding',
  prepare({ claims }, snapshot) {
    if (claims.length === 0) return undefined;
    const found = claims.map((use) => ({ use, claim: claimOf(registry, use) }));
    const never = found.map(({ use, claim }) => impossible(registry, use, claim)).find((why) => why !== undefined);
    if (never !== undefined) return { never, fits: () => false, reasons: () => [] };
    const check = new NodeCheck(registry, found.map(({ claim }) => claim!), claims, snapshot);
    return { fits: (slot) => check.why(slot) === undefined, reasons: (slot) => [check.why(slot) ?? ''] };
  },
});

function claimOf(registry: Registry, { key }: ClaimUse): PersistentVolumeClaim | undefined {
  const { namespace, name } = splitKey(key);
  return registry.find(persistentVolumeClaims, namespace, name);
}

/** Whether the claim is bound when its first pod is placed, and not before. */
export function isDelayed(registry: Registry, { spec }: PersistentVolumeClaim): boolean {
  return !spec.volumeName && registry.find(storageClasses, '', spec.storageClassName ?? '')?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** Why a pod with this claim can be placed nowhere. */
function impossible(registry: Registry, { key, ephemeral }: ClaimUse, claim: PersistentVolumeClaim | undefined): string | undefined {
  const name = JSON.stringify(splitKey(key).name);
  if (!claim) return ephemeral ? `waiting for ephemeral volume controller to create the persistentvolumeclaim ${name}` : `persistentvolumeclaim ${name} not found`;
  if (claim.status.phase === 'Lost') return `persistentvolumeclaim ${name} bound to non-existent persistentvolume ${JSON.stringify(claim.spec.volumeName ?? '')}`;
  if (claim.metadata.deletionTimestamp) return `persistentvolumeclaim ${name} is being deleted`;
  return isBound(claim) || isDelayed(registry, claim) ? undefined : 'pod has unbound immediate PersistentVolumeClaims';
}

class NodeCheck {
  readonly #registry: Registry;
  readonly #snapshot: Snapshot;
  readonly #exclusive: readonly string[];
  readonly #bound: readonly (PersistentVolume | undefined)[];
  readonly #unbound: readonly PersistentVolumeClaim[];
  readonly #volumes: readonly PersistentVolume[];

  constructor(registry: Registry, claims: readonly PersistentVolumeClaim[], uses: readonly ClaimUse[], snapshot: Snapshot) {
    this.#registry = registry;
    this.#snapshot = snapshot;
    this.#exclusive = uses.filter((_, index) => claims[index]?.spec.accessModes?.includes('ReadWriteOncePod')).map(({ key }) => key);
    this.#bound = claims.filter(isBound).map((claim) => registry.find(persistentVolumes, '', claim.spec.volumeName ?? ''));
    this.#unbound = claims.filter((claim) => !isBound(claim));
    this.#volumes = this.#unbound.length > 0 ? registry.all(persistentVolumes) : [];
  }

  why(slot: number): string | undefined {
    const node = this.#snapshot.facts(slot);
    if (this.#exclusive.some((key) => this.#snapshot.claimUsers(key) > 0)) return oncePerPod;
    if (this.#bound.some((volume) => volume === undefined)) return lost;
    if (this.#bound.some((volume) => volume && !reaches(volume, node))) return conflict;
    const taken = new Set<string>();
    for (const claim of this.#unbound) {
      const chosen = claim.metadata.annotations?.[annotation.selectedNode];
      if (chosen && chosen !== node.name) return nothing;
      const volume = findVolume(claim, this.#volumes, { node, taken });
      if (volume) taken.add(volume.metadata.name ?? '');
      else if (!this.#canProvision(claim, node)) return nothing;
    }
    return undefined;
  }

  #canProvision({ spec }: PersistentVolumeClaim, node: NodeFacts): boolean {
    const found = this.#registry.find(storageClasses, '', spec.storageClassName ?? '');
    return found !== undefined && found.provisioner !== noProvisioner && inTopology(found, node);
  }
}

const inTopology = ({ allowedTopologies }: StorageClass, { labels }: NodeFacts): boolean => !allowedTopologies?.length || allowedTopologies.some(
  ({ matchLabelExpressions = [] }) => matchLabelExpressions.every(({ key, values }) => values.includes(labels[key] ?? '')));
