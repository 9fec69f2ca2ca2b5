import { nodes, type Node } from '../../shared/kinds/node.ts';
import { persistentVolumes, type PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims } from '../../shared/kinds/persistentvolumeclaim.ts';
import { matchesNode } from '../../shared/node-selector.ts';
import type { Again } from '../../shared/queue.ts';
import { localPathProvisioner } from '../../shared/volumes.ts';
import { annotation } from '../registry/volumes.ts';
import { defineController, some, type Context } from './controller.ts';
import { removeIfThere } from './ensure.ts';

const retryMs = 15_000;
const component = 'persistentvolume-controller';

/**
 * Does to a released volume what its policy says. What is on nodes only their agents can delete, and they do so for
 * volumes that were made by Wherry's own provisioner; anything else fails, and stays.
 */
export async function reclaim(volume: PersistentVolume, context: Context, setPhase: (phase: string, message: string) => Promise<void>): Promise<void> {
  const { persistentVolumeReclaimPolicy: policy } = volume.spec;
  const fail = async (reason: string, message: string): Promise<void> => {
    if (volume.status.phase === 'Failed' && volume.status.message === message) return;
    context.recorder.event(volume, 'Warning', reason, message, component);
    await setPhase('Failed', message);
  };
  if (policy === 'Recycle') return fail('VolumeFailedRecycle', 'No recycler plugin found for the volume!');
  if (policy !== 'Delete' || volume.metadata.deletionTimestamp) return;
  const provisioner = volume.metadata.annotations?.[annotation.provisionedBy];
  // Left to the remover below: nodes may take their time, and other claims must not wait for them.
  if (provisioner === localPathProvisioner) return;
  // Another provisioner's to delete.
  if (provisioner && !provisioner.startsWith('kubernetes.io/')) return;
  return fail('VolumeFailedDelete', whyNot(volume));
}

/** The node whose label the volume names. One that is no more has taken the directory with it. */
const nodeOf = ({ nodeAffinity }: PersistentVolume['spec'], all: readonly Node[]): string | undefined => all.find(({ metadata }) => nodeAffinity?.required
  && matchesNode(nodeAffinity.required, { name: metadata.name ?? '', labels: metadata.labels ?? {} }))?.metadata.name;

function whyNot({ metadata, spec }: PersistentVolume): string {
  if (spec.hostPath && !/^\/tmp\/.+/.test(spec.hostPath.path)) return `host_path deleter only supports /tmp/.+ but received provided ${spec.hostPath.path}`;
  return `error getting deleter volume plugin for volume "${metadata.name ?? ''}": no deletable volume plugin matched`;
}

/** Deletes released volumes of Wherry's own provisioner, many at a time: a node that does not answer holds up its own alone. */
export const volumeRemover = defineController({
  name: 'volume-remover', for: some(persistentVolumes), concurrency: 32,
  async reconcile(name, context): Promise<Again | void> {
    const volume = context.registry.find(persistentVolumes, '', name);
    if (!volume || volume.status.phase !== 'Released' || volume.metadata.deletionTimestamp || volume.spec.persistentVolumeReclaimPolicy !== 'Delete') return;
    if (volume.metadata.annotations?.[annotation.provisionedBy] !== localPathProvisioner) return;
    const { claimRef } = volume.spec;
    const claim = context.registry.find(persistentVolumeClaims, claimRef?.namespace ?? '', claimRef?.name ?? '');
    if (claimRef?.uid && claim?.metadata.uid !== claimRef.uid) return removeWhenEmptied(volume, context);
  },
});

/** A node that is away keeps the volume until it is back. */
async function removeWhenEmptied(volume: PersistentVolume, { registry, settings, log, recorder }: Context): Promise<Again | void> {
  const { metadata, spec } = volume;
  const node = nodeOf(spec, registry.all(nodes));
  if (node !== undefined) {
    try {
      await settings.removeVolume?.(node, metadata.name ?? '', spec.local?.path ?? '');
    } catch (error) {
      // Away is passing; any other answer is for somebody to mend.
      if ((error as { code?: unknown }).code !== 503) recorder.event(volume, 'Warning', 'VolumeFailedDelete', (error as Error).message, component);
      log.debug('a volume cannot be removed yet', { volume: metadata.name, node, error });
      return { requeueAfterMs: retryMs };
    }
  }
  await removeIfThere(registry, some(persistentVolumes), '', metadata.name ?? '', { preconditions: { uid: metadata.uid ?? '' } });
}
