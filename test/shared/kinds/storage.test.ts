import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { persistentVolumes } from '../../../shared/kinds/persistentvolume.ts';
import { persistentVolumeClaims } from '../../../shared/kinds/persistentvolumeclaim.ts';
import { storageClasses } from '../../../shared/kinds/storageclass.ts';
import { cells, changed, made } from '../kind-cases.ts';

const test = suite('storage kinds');
const now = Date.parse('2026-01-02T03:10:00Z');
const metadata = { name: 'a', creationTimestamp: '2026-01-02T03:00:00Z' };
const spec = { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/data' } };
const claimSpec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };

test('a volume: defaults, cells, and what is wrong with it', () => {
  const { object, errors } = made(persistentVolumes, { metadata, spec: { ...spec, claimRef: { namespace: 'n', name: 'c' } } });
  assert.equal(errors, []);
  assert.equal([object.spec.persistentVolumeReclaimPolicy, object.spec.volumeMode, object.spec.hostPath?.type, object.status.phase], ['Retain', 'Filesystem', '', 'Pending']);
  assert.equal(cells(persistentVolumes, object, now), {
    Name: 'a', Capacity: '1Gi', 'Access Modes': 'RWO', 'Reclaim Policy': 'Retain', Status: 'Pending', Claim: 'n/c', StorageClass: '', VolumeAttributesClass: '<unset>', Reason: '', Age: '10m', VolumeMode: 'Filesystem',
  });
  const cases: [object, string][] = [
    [{ ...spec, capacity: {} }, 'spec.capacity: Required value'],
    [{ ...spec, capacity: { storage: '0' } }, 'spec.capacity[storage]: Invalid value: "0": must be greater than zero'],
    [{ ...spec, accessModes: [] }, 'spec.accessModes: Required value: at least 1 access mode is required'],
    [{ ...spec, accessModes: ['Some'] }, 'spec.accessModes: Unsupported value: "Some": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'],
    [{ ...spec, accessModes: ['ReadWriteOncePod', 'ReadWriteOnce'] }, 'spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes'],
    [{ ...spec, hostPath: undefined }, 'spec: Required value: must specify a volume type'],
    [{ ...spec, nfs: { server: 's', path: '/x' } }, 'spec.nfs: Forbidden: may not specify more than 1 volume type'],
    [{ ...spec, hostPath: { path: '/a/../b' } }, `spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'`],
    [{ ...spec, hostPath: undefined, local: { path: '/x' } }, 'spec.nodeAffinity: Required value: Local volume requires node affinity'],
    [{ ...spec, persistentVolumeReclaimPolicy: 'Keep' }, 'spec.persistentVolumeReclaimPolicy: Unsupported value: "Keep": supported values: "Delete", "Recycle", "Retain"'],
  ];
  for (const [given, expected] of cases) assert.equal(made(persistentVolumes, JSON.parse(JSON.stringify({ metadata, spec: given }))).errors, [expected]);
  assert.equal(changed(persistentVolumes, object, { ...object, spec: { ...object.spec, hostPath: { path: '/else', type: '' } } }).errors, ['spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation']);
});

test('a claim: what may change of it, and when', () => {
  const { object, errors } = made(persistentVolumeClaims, { metadata, spec: claimSpec });
  assert.equal(errors, []);
  assert.equal(made(persistentVolumeClaims, { metadata, spec: { accessModes: ['ReadWriteOnce'] } }).errors, ['spec.resources[storage]: Required value']);
  const fixed = 'spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
  const to = (change: object, old = object): string[] => changed(persistentVolumeClaims, old, { ...old, spec: { ...old.spec, ...change } }).errors;
  assert.equal(to({ volumeName: 'v' }), []);
  assert.equal(to({ storageClassName: 'fast' }), []);
  assert.equal(to({ accessModes: ['ReadWriteMany'] }), [fixed]);
  assert.equal(to({ resources: { requests: { storage: '2Gi' } } }), [fixed]);
  const bound = { ...object, spec: { ...object.spec, volumeName: 'v', storageClassName: 'fast' }, status: { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'] } };
  assert.equal(to({ resources: { requests: { storage: '2Gi' } } }, bound), []);
  assert.equal(to({ resources: { requests: { storage: '1Mi' } } }, bound), ['spec.resources.requests.storage: Forbidden: field can not be less than status.capacity']);
  assert.equal(to({ volumeName: 'w' }, bound), [fixed]);
  assert.equal(cells(persistentVolumeClaims, bound, now), {
    Name: 'a', Status: 'Bound', Volume: 'v', Capacity: '1Gi', 'Access Modes': 'RWO', StorageClass: 'fast', VolumeAttributesClass: '<unset>', Age: '10m', VolumeMode: 'Filesystem',
  });
});

test('a storage class cannot become another one', () => {
  const { object, errors } = made(storageClasses, { metadata: { ...metadata, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } }, provisioner: 'example.com/x' });
  assert.equal(errors, []);
  assert.equal(cells(storageClasses, object, now), { Name: 'a (default)', Provisioner: 'example.com/x', ReclaimPolicy: 'Delete', VolumeBindingMode: 'Immediate', AllowVolumeExpansion: false, Age: '10m' });
  assert.equal(changed(storageClasses, object, { ...object, provisioner: 'example.com/y' }).errors, ['provisioner: Forbidden: updates to provisioner are forbidden.']);
  assert.equal(changed(storageClasses, object, { ...object, parameters: { a: 'b' } }).errors, ['parameters: Forbidden: updates to parameters are forbidden.']);
  assert.equal(changed(storageClasses, object, { ...object, volumeBindingMode: 'WaitForFirstConsumer' }).errors, ['volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable']);
});

test.run();
