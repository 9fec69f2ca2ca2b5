import { nodes } from '../../shared/kinds/node.ts';
import { persistentVolumes, type PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { storageClasses, type StorageClass } from '../../shared/kinds/storageclass.ts';
import { conflict, isNotFound } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import { annotation, boundTo, claimNamesOf, defaultClass, findVolume, isFor, mismatch } from '../registry/volumes.ts';
import { defineController, some, type Context } from './controller.ts';
import { localPath, provisionLocalPath } from './local-path.ts';
import { reclaim } from './volume-reclaim.ts';

const component = 'persistentvolume-controller';
const claimKey = (namespace: string | undefined, name: string | undefined): string => `claim/${namespace ?? ''}/${name ?? ''}`;
const volumeKey = (name: string | undefined): string => `volume/${name ?? ''}`;

/**
 * Brings claims and volumes together, and sees to it that either's phase says how it is:
 *
 * ```
 * claim   Pending ──▶ Bound ──(its volume is gone)──▶ Lost
 * volume  Pending ──▶ Available ──▶ Bound ──(its claim is gone)──▶ Released ──▶ deleted, or Failed, or kept
 * ```
 */
export const volumeBinder = defineController({
  name: component, concurrency: 1,
  watches: [
    {
      kind: some(persistentVolumeClaims),
      *keys({ namespace, name, object, previous, type }) {
        if (type !== 'DELETED') yield claimKey(namespace, name);
        for (const state of [object, previous] as (PersistentVolumeClaim | undefined)[]) if (state?.spec.volumeName) yield volumeKey(state.spec.volumeName);
      },
    },
    {
      kind: some(persistentVolumes),
      *keys({ name, object, type }, context) {
        if (type !== 'DELETED') yield volumeKey(name);
        const { claimRef } = (object as PersistentVolume).spec;
        if (claimRef) yield claimKey(claimRef.namespace, claimRef.name);
        else yield* pendingClaims(context);
      },
    },
    { kind: some(nodes), keys: ({ type }, context) => (type === 'DELETED' ? pendingClaims(context) : []) },
    { kind: some(storageClasses), keys: (_, context) => pendingClaims(context) },
    {
      kind: some(pods),
      *keys({ namespace, object, previous, type }, { registry }) {
        if (type !== 'ADDED' || previous) return;
        for (const name of claimNamesOf(object as Parameters<typeof claimNamesOf>[0])) if (registry.stored(persistentVolumeClaims, namespace, name)) yield claimKey(namespace, name);
      },
    },
  ],
  async reconcile(key, context) {
    const [type, ...rest] = key.split('/');
    if (type === 'volume') {
      const volume = context.registry.find(persistentVolumes, '', rest[0] ?? '');
      return volume && syncVolume(volume, context);
    }
    const claim = context.registry.find(persistentVolumeClaims, rest[0] ?? '', rest[1] ?? '');
    if (claim) await (claim.metadata.annotations?.[annotation.bindCompleted] ? syncBoundClaim(claim, context) : syncPendingClaim(claim, context));
    return undefined;
  },
});

function* pendingClaims({ registry }: Context): Generator<string> {
  for (const claim of registry.all(persistentVolumeClaims)) if (claim.status.phase === 'Pending') yield claimKey(claim.metadata.namespace, claim.metadata.name);
}

async function syncPendingClaim(given: PersistentVolumeClaim, context: Context): Promise<void> {
  const { registry, recorder } = context;
  const claim = await withDefaultClass(given, context);
  const { volumeName } = claim.spec;
  if (!volumeName) return findAndBind(claim, context);
  const volume = registry.find(persistentVolumes, '', volumeName);
  if (!volume) return setClaimPhase(claim, 'Pending', context);
  if (volume.spec.claimRef && !isFor(volume, claim)) {
    recorder.event(claim, 'Warning', 'FailedBinding', `volume "${volumeName}" already bound to a different claim.`, component);
    return setClaimPhase(claim, 'Pending', context);
  }
  const why = volume.spec.claimRef ? undefined : mismatch(volume, claim);
  if (why === undefined) return bind(volume, claim, context);
  recorder.event(claim, 'Warning', 'VolumeMismatch', `Cannot bind to requested volume "${volumeName}": ${why}`, component);
  return setClaimPhase(claim, 'Pending', context);
}

/** A claim that was made before there was a default class gets it afterwards. */
async function withDefaultClass(claim: PersistentVolumeClaim, { registry }: Context): Promise<PersistentVolumeClaim> {
  const name = claim.spec.storageClassName === undefined ? defaultClass(registry)?.metadata.name : undefined;
  if (name === undefined) return claim;
  const { namespace = '', name: claimName = '' } = claim.metadata;
  return (await registry.modify(persistentVolumeClaims, namespace, claimName, (now) => ({ ...now, spec: { ...now.spec, storageClassName: name } }))).object;
}

async function findAndBind(claim: PersistentVolumeClaim, context: Context): Promise<void> {
  const { registry } = context;
  const { storageClassName = '' } = claim.spec;
  const found = storageClassName ? registry.find(storageClasses, '', storageClassName) : undefined;
  const waits = found?.volumeBindingMode === 'WaitForFirstConsumer' && !claim.metadata.annotations?.[annotation.selectedNode];
  const volume = findVolume(claim, registry.all(persistentVolumes), { onlyKept: waits });
  if (volume) return bind(volume, claim, context);
  if (waits) tellWait(claim, context);
  else if (storageClassName) await provision(claim, found, context);
  else context.recorder.event(claim, 'Normal', 'FailedBinding', 'no persistent volumes available for this claim and no storage class is set', component);
  return setClaimPhase(claim, 'Pending', context);
}

function tellWait(claim: PersistentVolumeClaim, { registry, recorder }: Context): void {
  const { namespace = '', name = '' } = claim.metadata;
  const waiting = registry.all(pods, namespace).filter((pod) => !pod.spec.nodeName && claimNamesOf(pod).includes(name)).map((pod) => pod.metadata.name);
  if (waiting.length === 0) recorder.event(claim, 'Normal', 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding', component);
  else recorder.event(claim, 'Normal', 'WaitForPodScheduled', `waiting for pod${waiting.length > 1 ? 's' : ''} ${waiting.join(',')} to be scheduled`, component);
}

async function provision(claim: PersistentVolumeClaim, found: StorageClass | undefined, context: Context): Promise<void> {
  const { recorder, registry } = context;
  const failed = (why: string): void => recorder.event(claim, 'Warning', 'ProvisioningFailed', why, component);
  if (!found) return failed(`storageclass.storage.k8s.io "${claim.spec.storageClassName ?? ''}" not found`);
  if (found.provisioner.startsWith('kubernetes.io/')) return failed(`no volume plugin matched name: ${found.provisioner}`);
  const { namespace = '', name = '' } = claim.metadata;
  await registry.modify(persistentVolumeClaims, namespace, name, (now) => (now.metadata.annotations?.[annotation.provisioner] === found.provisioner ? undefined
    : { ...now, metadata: { ...now.metadata, annotations: { ...now.metadata.annotations, [annotation.provisioner]: found.provisioner } } }));
  if (found.provisioner === localPath) return provisionLocalPath(claim, found, context);
  recorder.event(claim, 'Normal', 'ExternalProvisioning', `Waiting for a volume to be created either by the external provisioner '${found.provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`, component);
}

/** Both sides name each other, the volume first: two claims that want it meet there, and one of them loses. */
async function bind(volume: PersistentVolume, claim: PersistentVolumeClaim, context: Context): Promise<void> {
  const { registry } = context;
  const volumeName = volume.metadata.name ?? '';
  const bound = (await registry.modify(persistentVolumes, '', volumeName, (now) => {
    if (now.spec.claimRef && !isFor(now, claim)) throw conflict(persistentVolumes, volumeName);
    const next = boundTo(now, claim);
    return next === now ? undefined : next;
  })).object;
  await setVolumePhase(bound, 'Bound', context);
  const { namespace = '', name = '', uid = '' } = claim.metadata;
  await registry.modify(persistentVolumeClaims, namespace, name, (now) => {
    if (now.spec.volumeName === volumeName && now.metadata.annotations?.[annotation.bindCompleted]) return undefined;
    const annotations = { ...now.metadata.annotations, [annotation.bindCompleted]: 'yes', ...(now.spec.volumeName ? {} : { [annotation.boundByController]: 'yes' }) };
    return { ...now, metadata: { ...now.metadata, annotations }, spec: { ...now.spec, volumeName } };
  }, { preconditions: { uid } });
  const { accessModes = [], capacity = {} } = bound.spec;
  await writeClaimStatus(claim, { phase: 'Bound', accessModes, capacity }, context);
}

async function syncBoundClaim(claim: PersistentVolumeClaim, context: Context): Promise<void> {
  const { registry, recorder } = context;
  const volume = claim.spec.volumeName ? registry.find(persistentVolumes, '', claim.spec.volumeName) : undefined;
  if (volume && (!volume.spec.claimRef || isFor(volume, claim))) return bind(volume, claim, context);
  if (claim.status.phase === 'Lost') return;
  if (volume) recorder.event(claim, 'Warning', 'ClaimMisbound', 'Two claims are bound to the same volume, this one is bound incorrectly', component);
  else recorder.event(claim, 'Warning', 'ClaimLost', `Bound claim has lost ${claim.spec.volumeName ? 'its' : 'reference to'} PersistentVolume. Data on the volume is lost!`, component);
  await setClaimPhase(claim, 'Lost', context);
}

async function syncVolume(volume: PersistentVolume, context: Context): Promise<void> {
  const { claimRef } = volume.spec;
  if (!claimRef?.uid) return setVolumePhase(volume, 'Available', context);
  const claim = context.registry.find(persistentVolumeClaims, claimRef.namespace ?? '', claimRef.name ?? '');
  if (!claim || claim.metadata.uid !== claimRef.uid) {
    if (volume.status.phase !== 'Released' && volume.status.phase !== 'Failed') await setVolumePhase(volume, 'Released', context);
    return reclaim(volume, context, (phase, message) => setVolumePhase(volume, phase, context, message));
  }
  // The claim's own turn completes it.
  if (!claim.spec.volumeName) return undefined;
  if (claim.spec.volumeName === volume.metadata.name) return setVolumePhase(volume, 'Bound', context);
  return unbind(volume, context);
}

/** The claim has another volume: this one is free again, or goes on being kept for the claim of that name if somebody wrote so. */
async function unbind({ metadata }: PersistentVolume, context: Context): Promise<void> {
  const { object } = await context.registry.modify(persistentVolumes, '', metadata.name ?? '', (now) => {
    const { claimRef, ...spec } = now.spec;
    const { [annotation.boundByController]: ours, ...annotations } = now.metadata.annotations ?? {};
    const kept = { ...(claimRef?.namespace ? { namespace: claimRef.namespace } : {}), ...(claimRef?.name ? { name: claimRef.name } : {}), kind: 'PersistentVolumeClaim', apiVersion: 'v1' };
    return { ...now, metadata: { ...now.metadata, annotations }, spec: ours ? spec : { ...spec, claimRef: kept } };
  });
  await setVolumePhase(object, 'Available', context);
}

async function setVolumePhase({ metadata }: PersistentVolume, phase: string, { registry, clock }: Context, message = ''): Promise<void> {
  await registry.modify(persistentVolumes, '', metadata.name ?? '', (now) => {
    if (now.status.phase === phase && (now.status.message ?? '') === message) return undefined;
    const since = now.status.phase === phase ? now.status.lastPhaseTransitionTime : toTime(clock.now());
    return { ...now, status: { phase, ...(message ? { message } : {}), ...(since ? { lastPhaseTransitionTime: since } : {}) } };
  }, { subresource: 'status' }).catch((error: unknown) => { if (!isNotFound(error)) throw error; });
}

const setClaimPhase = ({ status, ...claim }: PersistentVolumeClaim, phase: string, context: Context): Promise<void> =>
  (status.phase === phase ? Promise.resolve() : writeClaimStatus({ status, ...claim }, { phase }, context));

async function writeClaimStatus({ metadata }: PersistentVolumeClaim, status: Partial<PersistentVolumeClaim['status']>, { registry }: Context): Promise<void> {
  await registry.modify(persistentVolumeClaims, metadata.namespace ?? '', metadata.name ?? '', (now) => ({ ...now, status: { ...now.status, ...status } }), { subresource: 'status' });
}
