import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultStorageClass, storageProtection } from '../../../master/admission/storage.ts';
import { ephemeralVolume } from '../../../master/controllers/ephemeral-volume.ts';
import { volumeBinder } from '../../../master/controllers/volume-binder.ts';
import { claimProtector, volumeProtector } from '../../../master/controllers/volume-protection.ts';
import { volumeRemover } from '../../../master/controllers/volume-reclaim.ts';
import { volumeBinding } from '../../../master/scheduler/plugins/volume-binding.ts';
import { plugins } from '../../../master/scheduler/plugins/index.ts';
import { Scheduler } from '../../../master/scheduler/scheduler.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { persistentVolumes, type PersistentVolume } from '../../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims, type PersistentVolumeClaim } from '../../../shared/kinds/persistentvolumeclaim.ts';
import { pods, type Pod } from '../../../shared/kinds/pod.ts';
import { storageClasses } from '../../../shared/kinds/storageclass.ts';
import { silentLog } from '../../../shared/log.ts';
import { Cluster, podDocument, realClock } from './cluster.ts';

const test = suite('persistent volumes');

/** Binder, protection and scheduler at work; `removed` are directories that nodes were told to remove. */
async function withStorage(run: (cluster: Cluster, removed: string[]) => Promise<void>, answer: () => Promise<void> = async () => {}): Promise<void> {
  const removed: string[] = [];
  const cluster = new Cluster({
    admissions: (registry) => [storageProtection, defaultStorageClass({ registry, clock: realClock })],
    settings: { removeVolume: async (node, volume, path) => { removed.push(`${node} ${volume} ${path}`); await answer(); } },
  });
  const { registry, recorder, clock } = cluster;
  const scheduler = (signal: AbortSignal) => new Scheduler({ registry, recorder, clock, log: silentLog, plugins: [...plugins, volumeBinding(registry)] }).run(signal);
  for (const name of ['a', 'b']) {
    const status = { allocatable: { cpu: '4', memory: '8Gi', pods: '110' } };
    await registry.create(nodes, '', { metadata: { name, labels: { 'kubernetes.io/hostname': name } } });
    await registry.modify(nodes, '', name, (node) => ({ ...node, status }), { subresource: 'status' });
  }
  await cluster.start([volumeBinder, volumeRemover, claimProtector, volumeProtector, ephemeralVolume], scheduler);
  try {
    await run(cluster, removed);
  } finally {
    await cluster.stop();
  }
}

const volumeDocument = (name: string, spec: object = {}, metadata: object = {}): unknown =>
  ({ metadata: { name, ...metadata }, spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: `/data/${name}` }, ...spec } });
const claimDocument = (name: string, spec: object = {}): unknown =>
  ({ metadata: { name }, spec: { accessModes: ['ReadWriteOnce'], storageClassName: '', resources: { requests: { storage: '500Mi' } }, ...spec } });
const on = (...names: string[]): object => ({ nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: names }] }] } } });
const uses = (name: string, ...claims: string[]): unknown => podDocument(name, { schedulerName: 'default-scheduler', volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })) });
const classDocument = (name: string, provisioner = 'kubernetes.io/no-provisioner', more: object = {}): unknown => ({ metadata: { name }, provisioner, volumeBindingMode: 'WaitForFirstConsumer', ...more });

const volume = (cluster: Cluster, name: string): PersistentVolume | undefined => cluster.registry.find(persistentVolumes, '', name);
const claim = (cluster: Cluster, name: string): PersistentVolumeClaim | undefined => cluster.registry.find(persistentVolumeClaims, 'default', name);
const pod = (cluster: Cluster, name: string): Pod | undefined => cluster.registry.find(pods, 'default', name);
const phaseOf = (cluster: Cluster, name: string, phase: string): Promise<unknown> => cluster.until(() => volume(cluster, name)?.status.phase === phase, `${name} ${phase}`);
const bound = (cluster: Cluster, name: string): Promise<PersistentVolumeClaim> => cluster.until(() => claim(cluster, name)?.status.phase === 'Bound' && claim(cluster, name)!, `${name} Bound`);
const told = (cluster: Cluster, reason: string, message: string): Promise<unknown> =>
  cluster.until(() => [...cluster.events(), ...cluster.events('')].some((event) => event.reason === reason && event.message === message), `${reason}: ${message}; ${cluster.events().map((event) => event.message).join(' | ')}`);
const unschedulable = (cluster: Cluster, name: string, message: RegExp): Promise<unknown> =>
  cluster.until(() => message.test(pod(cluster, name)?.status.conditions?.find(({ type }) => type === 'PodScheduled')?.message ?? ''), `${name} ${message.source}; ${JSON.stringify(pod(cluster, name)?.status)}`);

test('the smallest volume that does, and both sides say so', () => withStorage(async (cluster) => {
  await cluster.create(persistentVolumes, '', volumeDocument('big', { capacity: { storage: '9Gi' } }));
  await cluster.create(persistentVolumes, '', volumeDocument('tiny', { capacity: { storage: '1Mi' } }));
  await cluster.create(persistentVolumes, '', volumeDocument('other-mode', { accessModes: ['ReadOnlyMany'] }));
  await cluster.create(persistentVolumes, '', volumeDocument('fits'));
  for (const name of ['big', 'tiny', 'other-mode', 'fits']) await phaseOf(cluster, name, 'Available');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('data'));
  const { spec, status, metadata } = await bound(cluster, 'data');
  assert.is(spec.volumeName, 'fits');
  assert.equal([status.capacity, status.accessModes], [{ storage: '1Gi' }, ['ReadWriteOnce']]);
  assert.equal([metadata.annotations, metadata.finalizers], [{ 'pv.kubernetes.io/bind-completed': 'yes', 'pv.kubernetes.io/bound-by-controller': 'yes' }, ['kubernetes.io/pvc-protection']]);
  const held = volume(cluster, 'fits')!;
  assert.equal([held.status.phase, held.spec.claimRef?.uid, held.metadata.finalizers], ['Bound', metadata.uid, ['kubernetes.io/pv-protection']]);
}));

test('selector, class and a volume asked for by name', () => withStorage(async (cluster) => {
  await cluster.create(persistentVolumes, '', volumeDocument('plain'));
  await cluster.create(persistentVolumes, '', volumeDocument('fast', { storageClassName: 'fast' }, { labels: { disk: 'ssd' } }));
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('by-label', { storageClassName: 'fast', selector: { matchLabels: { disk: 'ssd' } } }));
  assert.is((await bound(cluster, 'by-label')).spec.volumeName, 'fast');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('too-big', { volumeName: 'plain', resources: { requests: { storage: '2Gi' } } }));
  await told(cluster, 'VolumeMismatch', 'Cannot bind to requested volume "plain": requested PV is too small');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('taken', { volumeName: 'fast', storageClassName: 'fast' }));
  await told(cluster, 'FailedBinding', 'volume "fast" already bound to a different claim.');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('by-name', { volumeName: 'plain' }));
  assert.is((await bound(cluster, 'by-name')).metadata.annotations?.['pv.kubernetes.io/bound-by-controller'], undefined);
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('none'));
  await told(cluster, 'FailedBinding', 'no persistent volumes available for this claim and no storage class is set');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('no-class', { storageClassName: 'absent' }));
  await told(cluster, 'ProvisioningFailed', 'storageclass.storage.k8s.io "absent" not found');
  await cluster.create(persistentVolumes, '', volumeDocument('kept', { claimRef: { namespace: 'default', name: 'wanted' } }));
  await phaseOf(cluster, 'kept', 'Available');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('wanted'));
  assert.is((await bound(cluster, 'wanted')).spec.volumeName, 'kept');
}));

test('a claim that goes releases its volume, a volume that goes loses its claim, and neither goes while it is used', () => withStorage(async (cluster) => {
  const { registry } = cluster;
  await cluster.create(persistentVolumes, '', volumeDocument('one'));
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('data'));
  await bound(cluster, 'data');
  await cluster.create(pods, 'default', uses('user', 'data'));
  await cluster.until(() => pod(cluster, 'user')?.spec.nodeName);
  await registry.delete(persistentVolumes, '', 'one');
  await registry.delete(persistentVolumeClaims, 'default', 'data');
  await cluster.settle();
  assert.ok(claim(cluster, 'data')?.metadata.deletionTimestamp && volume(cluster, 'one')?.metadata.deletionTimestamp);
  await registry.delete(pods, 'default', 'user', { gracePeriodSeconds: 0 });
  await cluster.until(() => !claim(cluster, 'data') && !volume(cluster, 'one'), 'both gone');
  await cluster.create(persistentVolumes, '', volumeDocument('two', { persistentVolumeReclaimPolicy: 'Delete' }));
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('data'));
  await bound(cluster, 'data');
  await registry.modify(persistentVolumes, '', 'two', (now) => ({ ...now, metadata: { ...now.metadata, finalizers: [] } }));
  await registry.delete(persistentVolumes, '', 'two');
  await cluster.until(() => claim(cluster, 'data')?.status.phase === 'Lost', 'Lost');
  await told(cluster, 'ClaimLost', 'Bound claim has lost its PersistentVolume. Data on the volume is lost!');
}));

test('reclaim: Retain keeps, Delete fails for what the master cannot reach', () => withStorage(async (cluster) => {
  const { registry } = cluster;
  for (const [name, policy] of [['keep', 'Retain'], ['host', 'Delete'], ['recycle', 'Recycle']] as const) {
    await cluster.create(persistentVolumes, '', volumeDocument(name, { persistentVolumeReclaimPolicy: policy }));
    await cluster.create(persistentVolumeClaims, 'default', claimDocument(name, { volumeName: name }));
    await bound(cluster, name);
    await registry.delete(persistentVolumeClaims, 'default', name);
  }
  await phaseOf(cluster, 'keep', 'Released');
  await phaseOf(cluster, 'host', 'Failed');
  await phaseOf(cluster, 'recycle', 'Failed');
  assert.is(volume(cluster, 'host')?.status.message, 'host_path deleter only supports /tmp/.+ but received provided /data/host');
}));

test('local volumes wait for the first pod, and bind where it comes to be', () => withStorage(async (cluster) => {
  await cluster.create(storageClasses, '', classDocument('disks'));
  const local = (name: string, node: string): unknown => volumeDocument(name, { hostPath: undefined, local: { path: `/${name}` }, storageClassName: 'disks', ...on(node) });
  await cluster.create(persistentVolumes, '', JSON.parse(JSON.stringify(local('on-b', 'b'))));
  await cluster.create(persistentVolumes, '', JSON.parse(JSON.stringify(local('far', 'c'))));
  for (const name of ['one', 'two']) await cluster.create(persistentVolumeClaims, 'default', claimDocument(name, { storageClassName: 'disks' }));
  await told(cluster, 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding');
  await cluster.create(pods, 'default', uses('first', 'one'));
  await cluster.until(() => pod(cluster, 'first')?.spec.nodeName === 'b', 'first on b');
  assert.is(claim(cluster, 'one')?.spec.volumeName, 'on-b');
  await cluster.create(pods, 'default', uses('second', 'two'));
  await unschedulable(cluster, 'second', /^0\/2 nodes are available: 2 node\(s\) didn't find available persistent volumes to bind\. preemption: 0\/2 nodes are available: 2 Preemption is not helpful for scheduling\.$/);
  await cluster.create(persistentVolumes, '', JSON.parse(JSON.stringify(local('on-a', 'a'))));
  await cluster.until(() => pod(cluster, 'second')?.spec.nodeName === 'a', 'second on a');
}));

test('what keeps a pod with claims from being placed', () => withStorage(async (cluster) => {
  await cluster.create(pods, 'default', uses('missing', 'none'));
  await unschedulable(cluster, 'missing', /^0\/2 nodes are available: persistentvolumeclaim "none" not found\. preemption: 0\/2 nodes are available: 2 Preemption is not helpful for scheduling\.$/);
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('none'));
  await unschedulable(cluster, 'missing', /: pod has unbound immediate PersistentVolumeClaims\. /);
  await cluster.create(persistentVolumes, '', volumeDocument('far', on('c')));
  await unschedulable(cluster, 'missing', /: 2 node\(s\) had volume node affinity conflict\. /);
  await cluster.create(persistentVolumes, '', volumeDocument('alone', { accessModes: ['ReadWriteOncePod'] }));
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('alone', { accessModes: ['ReadWriteOncePod'] }));
  await cluster.create(pods, 'default', uses('holder', 'alone'));
  await cluster.until(() => pod(cluster, 'holder')?.spec.nodeName, 'holder placed');
  await cluster.create(pods, 'default', uses('waiter', 'alone'));
  await unschedulable(cluster, 'waiter', /node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode/);
  await cluster.registry.delete(pods, 'default', 'holder', { gracePeriodSeconds: 0 });
  await cluster.until(() => pod(cluster, 'waiter')?.spec.nodeName, 'waiter placed');
}));

test('wherry.dev/local-path makes a volume on the chosen node and has it removed; the default class counts afterwards too', () => withStorage(async (cluster, removed) => {
  const early = claimDocument('early') as { spec: { storageClassName?: string } };
  delete early.spec.storageClassName;
  await cluster.create(persistentVolumeClaims, 'default', early);
  await told(cluster, 'FailedBinding', 'no persistent volumes available for this claim and no storage class is set');
  await cluster.create(storageClasses, '', { ...classDocument('local-path', 'wherry.dev/local-path') as object, metadata: { name: 'local-path', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } });
  await cluster.until(() => claim(cluster, 'early')?.spec.storageClassName === 'local-path', 'class given');
  await cluster.create(pods, 'default', podDocument('p', { schedulerName: 'default-scheduler', nodeSelector: { 'kubernetes.io/hostname': 'b' }, volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'early' } }] }));
  await cluster.until(() => pod(cluster, 'p')?.spec.nodeName === 'b', 'p on b');
  const { spec, metadata } = await bound(cluster, 'early');
  assert.is(spec.volumeName, `pvc-${metadata.uid}`);
  const made = volume(cluster, spec.volumeName!)!;
  assert.is(made.spec.local?.path, `/var/lib/wherry/local-path/pvc-${metadata.uid}_default_early`);
  assert.is(made.spec.persistentVolumeReclaimPolicy, 'Delete');
  await cluster.registry.delete(pods, 'default', 'p', { gracePeriodSeconds: 0 });
  await cluster.registry.delete(persistentVolumeClaims, 'default', 'early');
  await cluster.until(() => !volume(cluster, spec.volumeName!), 'volume gone');
  assert.equal(removed, [`b ${spec.volumeName} ${made.spec.local?.path}`]);
}));

test('the claim of an ephemeral volume is made for its pod', () => withStorage(async (cluster) => {
  await cluster.create(storageClasses, '', classDocument('local-path', 'wherry.dev/local-path'));
  const template = { metadata: { labels: { a: 'b' } }, spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'local-path', resources: { requests: { storage: '1Mi' } } } };
  const made = await cluster.create(pods, 'default', podDocument('p', { schedulerName: 'default-scheduler', volumes: [{ name: 'v', ephemeral: { volumeClaimTemplate: template } }] }));
  await cluster.until(() => pod(cluster, 'p')?.spec.nodeName, 'placed');
  const { metadata } = claim(cluster, 'p-v')!;
  assert.equal([metadata.labels, metadata.ownerReferences?.[0]?.uid, metadata.ownerReferences?.[0]?.controller], [{ a: 'b' }, made.metadata.uid, true]);
}));

test('a pod is not bound before its volumes are', () => withStorage(async (cluster) => {
  const { registry } = cluster;
  await cluster.create(storageClasses, '', classDocument('external', 'example.com/none'));
  await cluster.create(storageClasses, '', classDocument('local-path', 'wherry.dev/local-path', { parameters: { path: 'relative' } }));
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('stuck', { storageClassName: 'local-path' }));
  await cluster.create(pods, 'default', uses('p', 'stuck'));
  await cluster.until(() => claim(cluster, 'stuck')?.metadata.annotations?.['volume.kubernetes.io/selected-node'], 'chosen');
  await told(cluster, 'ProvisioningFailed', 'failed to provision volume with StorageClass "local-path": parameter path "relative" is not an absolute path of at least two parts');
  assert.is(pod(cluster, 'p')?.spec.nodeName, undefined, 'not bound before its volume is there');
  await cluster.create(persistentVolumeClaims, 'default', claimDocument('other', { storageClassName: 'external' }));
  await cluster.create(pods, 'default', uses('q', 'other'));
  await cluster.until(() => claim(cluster, 'other')?.metadata.annotations?.['volume.kubernetes.io/storage-provisioner'] === 'example.com/none', 'asked for');
  await told(cluster, 'ExternalProvisioning', "Waiting for a volume to be created either by the external provisioner 'example.com/none' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.");
  await registry.delete(pods, 'default', 'q', { gracePeriodSeconds: 0 });
  await registry.delete(pods, 'default', 'p', { gracePeriodSeconds: 0 });
}));

test('a claim whose chosen node is no more is placed again', () => withStorage(async (cluster) => {
  await cluster.create(storageClasses, '', classDocument('local-path', 'wherry.dev/local-path'));
  const given = claimDocument('data', { storageClassName: 'local-path' }) as { metadata: object };
  await cluster.create(persistentVolumeClaims, 'default', { ...given, metadata: { ...given.metadata, annotations: { 'volume.kubernetes.io/selected-node': 'gone' } } });
  await cluster.until(() => claim(cluster, 'data')?.metadata.annotations?.['volume.kubernetes.io/selected-node'] === undefined, 'forgotten');
  await cluster.create(pods, 'default', uses('p', 'data'));
  await cluster.until(() => pod(cluster, 'p')?.spec.nodeName, 'placed');
}));

test('a node that takes its time to remove a volume holds up no other claim', () => {
  let [ask, answer] = [(): void => {}, (): void => {}];
  const asked = new Promise<void>((resolve) => { ask = resolve; });
  const answered = new Promise<void>((resolve) => { answer = resolve; });
  return withStorage(async (cluster, removed) => {
    const { registry } = cluster;
    const until = (holds: () => boolean, what: string): Promise<unknown> => cluster.until(holds, what);
    try {
      const made = { volumeMode: 'Filesystem', persistentVolumeReclaimPolicy: 'Delete', hostPath: undefined, local: { path: '/x/pvc-1' }, ...on('b') };
      const gone = { kind: 'PersistentVolumeClaim', namespace: 'default', name: 'gone', uid: 'old' };
      await registry.create(persistentVolumes, '', volumeDocument('pvc-1', { ...made, claimRef: gone }, { annotations: { 'pv.kubernetes.io/provisioned-by': 'wherry.dev/local-path' } }));
      await asked;
      assert.equal(removed, ['b pvc-1 /x/pvc-1']);
      await registry.create(persistentVolumes, '', volumeDocument('other'));
      await registry.create(persistentVolumeClaims, 'default', claimDocument('waiting'));
      await until(() => registry.find(persistentVolumeClaims, 'default', 'waiting')?.status.phase === 'Bound', 'another claim is bound meanwhile');
      assert.ok(registry.find(persistentVolumes, '', 'pvc-1'));
      answer();
      await until(() => !registry.find(persistentVolumes, '', 'pvc-1'), 'the volume goes with its directory');
    } finally {
      answer();
    }
  }, () => { ask(); return answered; });
});

test.run();
