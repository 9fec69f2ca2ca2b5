import { persistentVolumes, type PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import { localPathProvisioner } from '../../shared/volumes.ts';
import { annotation } from '../registry/volumes.ts';
import type { Context } from './controller.ts';
import { removeIfThere } from './ensure.ts';
import { some } from './controller.ts';

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
  if (provisioner === localPathProvisioner) return removeWhenEmptied(volume, context);
  // Another provisioner's to delete.
  if (provisioner && !provisioner.startsWith('kubernetes.io/')) return;
  return fail('VolumeFailedDelete', whyNot(volume));
}

function whyNot({ metadata, spec }: PersistentVolume): string {
  if (spec.hostPath && !/^\/tmp\/.+/.test(spec.hostPath.path)) return `host_path deleter only supports /tmp/.+ but received provided ${spec.hostPath.path}`;
  return `error getting deleter volume plugin for volume "${metadata.name ?? ''}": no deletable volume plugin matched`;
}

async function removeWhenEmptied({ metadata }: PersistentVolume, { registry }: Context): Promise<void> {
  await removeIfThere(registry, some(persistentVolumes), '', metadata.name ?? '', { preconditions: { uid: metadata.uid ?? '' } });
}
