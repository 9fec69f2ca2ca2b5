import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, run, until, type Lab } from './lab.ts';

const image = 'wherry-test/busybox:1';
const test = suite('volumes');
let lab: Lab;

test.before(async () => {
  await buildBusybox();
  lab = await createLab({ hosts: 1, name: 'volu', images: [image], masterFlags: ['--default-storage-class', 'none'] });
});
test.after(async () => {
  // Of a case that failed.
  if (lab) for (const path of (await mountsBelow(lab.directory)).reverse()) await run('umount', ['-l', path]);
  await lab?.down();
});

const apply = (...documents: object[]): Promise<string> => lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents }), 'apply', '-f', '-');
const pod = (name: string, volumes: object[], container: object = {}, spec: object = {}): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } },
  spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, command: ['stay'], ...container }], volumes, ...spec },
});
const get = (path: string, ...what: string[]): Promise<string> => lab.kubectl('get', ...what, '-o', `jsonpath={${path}}`);
const running = (name: string): Promise<unknown> => until(`${name} is ready`, 90_000, async () => (await get('.status.conditions[?(@.type=="Ready")].status', 'pod', name)) === 'True');
const inPod = async (name: string, ...command: string[]): Promise<string> => (await lab.kubectl('exec', name, '-c', 'main', '--', ...command)).trim();
const remove = (...names: string[]): Promise<string> => lab.kubectl('delete', 'pod', ...names, '--wait=true', '--timeout=60s');
const uidOf = (name: string): Promise<string> => get('.metadata.uid', 'pod', name);
const folderOf = (uid: string): string => join(lab.directory, 'agent1', 'pods', 'pods', uid);
const mountsBelow = async (folder: string): Promise<string[]> => (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${folder}/`));
const gone = (folder: string): Promise<unknown> => until(`${folder} is gone`, 30_000, () => stat(folder).then(() => false, () => true));

/** Waits for an event about an object whose message fits. */
const event = (object: string, reason: string, message: RegExp): Promise<string> => until(`${object}: ${reason} ${message.source}`, 60_000, async () => {
  const all = await get(`range .items[?(@.reason=="${reason}")]}{.message}{"\\n"}{end`, 'events', '--field-selector', `involvedObject.name=${object}`);
  return message.test(all) ? all : undefined;
});

test('configMap, secret, projected and downward API: keys, modes, and changes that arrive at once', async () => {
  await apply(
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings' }, data: { color: 'red', size: 'big' } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, stringData: { token: 'geheim' } },
    pod('files', [
      { name: 'config', configMap: { name: 'settings' } },
      { name: 'one', configMap: { name: 'settings', items: [{ key: 'size', path: 'deep/size', mode: 0o400 }], defaultMode: 0o640 } },
      { name: 'secret', secret: { secretName: 'key', defaultMode: 0o400 } },
      { name: 'none', configMap: { name: 'absent', optional: true } },
      { name: 'all', projected: { defaultMode: 0o440, sources: [{ secret: { name: 'key', items: [{ key: 'token', path: 's/token' }] } }, { configMap: { name: 'settings' } }, { downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } }] } },
      { name: 'down', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }, { path: 'cpu', resourceFieldRef: { containerName: 'main', resource: 'limits.cpu', divisor: '1m' } }] } },
    ], {
      resources: { limits: { cpu: '250m' } },
      volumeMounts: [...['config', 'one', 'secret', 'none', 'all', 'down'].map((name) => ({ name, mountPath: `/v/${name}` })), { name: 'config', mountPath: '/fixed', subPath: 'color' }],
    }),
  );
  await running('files');
  assert.is(await inPod('files', 'cat', '/v/config/color', '/v/one/deep/size', '/v/secret/token', '/v/all/s/token', '/v/all/size', '/v/all/name', '/v/down/cpu'), 'redbiggeheimgeheimbigfiles250');
  assert.is(await inPod('files', 'stat', '-L', '-c', '%a', '/v/config/color', '/v/one/deep/size', '/v/secret/token', '/v/all/size'), '644\n400\n400\n440');
  assert.is(await inPod('files', 'ls', '/v/none'), '');
  assert.match(await inPod('files', 'sh', '-c', 'echo x > /v/config/new').then(() => '', (error: Error) => error.message), /[Rr]ead-only file system/);
  await lab.kubectl('patch', 'configmap', 'settings', '--type=merge', '-p', '{"data":{"color":"blue","size":null,"extra":"1"}}');
  await lab.kubectl('label', 'pod', 'files', 'tier=edge');
  await until('the files follow', 30_000, async () => (await inPod('files', 'sh', '-c', 'cat /v/config/*; cat /v/all/color; cat /v/down/labels')).replaceAll('\n', ' ') === 'blue1blueapp="files" tier="edge"');
  assert.is(await inPod('files', 'cat', '/fixed'), 'red', 'a subPath stays what it was');
  await event('files', 'FailedMount', /^MountVolume\.SetUp failed for volume "one" : references non-existent config key: size$/m);
  const folder = folderOf(await uidOf('files'));
  assert.is((await mountsBelow(folder)).length, 1);
  await remove('files');
  await gone(folder);
});

test('what a pod waits for is told, and it starts when it is there', async () => {
  await apply(pod('waits', [{ name: 'v', secret: { secretName: 'later' } }], { volumeMounts: [{ name: 'v', mountPath: '/v' }] }));
  await event('waits', 'FailedMount', /^MountVolume\.SetUp failed for volume "v" : secret "later" not found$/m);
  await lab.kubectl('create', 'secret', 'generic', 'later', '--from-literal=a=1');
  await running('waits');
  await remove('waits');
});

test('emptyDir: shared on disk, in memory with a limit, and too full', async () => {
  await apply(
    pod('scratch', [{ name: 'disk', emptyDir: {} }, { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } }], {
      command: ['sh', '-c', 'echo hello > /d/sub/file; exec stay'],
      volumeMounts: [{ name: 'disk', mountPath: '/d' }, { name: 'disk', mountPath: '/d/sub', subPathExpr: '$(WHO)/x' }, { name: 'memory', mountPath: '/m' }],
      env: [{ name: 'WHO', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }], securityContext: { runAsUser: 1000 },
    }, { securityContext: { fsGroup: 2000, supplementalGroups: [3000] } }),
    pod('full', [{ name: 'v', emptyDir: { sizeLimit: '1Mi' } }], { command: ['sh', '-c', 'dd if=/dev/zero of=/v/big bs=1024 count=3000 2>/dev/null; exec stay'], volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
  );
  await running('scratch');
  assert.is(await inPod('scratch', 'sh', '-c', 'cat /d/scratch/x/file; stat -c %g:%a /d /m; id -G; df -k /m | tail -1 | tr -s " " | cut -d" " -f1,2'), 'hello\n2000:2777\n2000:2777\n0 2000 3000\ntmpfs 4096');
  await until('the full one is evicted', 60_000, async () => (await get('.status.phase} {.status.reason', 'pod', 'full')) === 'Failed Evicted');
  assert.is(await get('.status.message', 'pod', 'full'), 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ');
  await event('full', 'Evicted', /^Usage of EmptyDir volume "v" exceeds the limit "1Mi"\. $/m);
  await until('the evicted one has given its room back', 30_000, async () => !(await readdir(folderOf(await uidOf('full')))).includes('volumes'));
  const folder = folderOf(await uidOf('scratch'));
  assert.is((await mountsBelow(folder)).length, 2);
  await remove('scratch', 'full');
  await gone(folder);
});

test('hostPath: made, checked, and left alone', async () => {
  const at = join(lab.directory, 'host');
  const mount = { volumeMounts: [{ name: 'v', mountPath: '/v' }] };
  await apply(
    pod('makes', [{ name: 'v', hostPath: { path: `${at}/dir`, type: 'DirectoryOrCreate' } }], { ...mount, command: ['sh', '-c', 'echo kept > /v/file; exec stay'] }),
    ...Object.entries({ Directory: 'is not a directory', File: 'is not a file', Socket: 'is not a socket file', CharDevice: 'is not a character device', BlockDevice: 'is not a block device' })
      .map(([type]) => pod(`no-${type.toLowerCase()}`, [{ name: 'v', hostPath: { path: `${at}/absent`, type } }], mount)),
    pod('no-parent', [{ name: 'v', hostPath: { path: `${at}/none/file`, type: 'FileOrCreate' } }], mount),
  );
  await running('makes');
  await event('no-directory', 'FailedMount', /^MountVolume\.SetUp failed for volume "v" : hostPath type check failed: .*\/absent is not a directory$/m);
  await event('no-file', 'FailedMount', /absent is not a file$/m);
  await event('no-socket', 'FailedMount', /absent is not a socket file$/m);
  await event('no-chardevice', 'FailedMount', /absent is not a character device$/m);
  await event('no-blockdevice', 'FailedMount', /absent is not a block device$/m);
  await event('no-parent', 'FailedMount', /: open .*\/none\/file: no such file or directory$/m);
  await remove('makes', 'no-directory', 'no-file', 'no-socket', 'no-chardevice', 'no-blockdevice', 'no-parent');
  assert.is(await readFile(`${at}/dir/file`, 'utf8'), 'kept\n');
});

test('what cannot be had is refused, and says why', async () => {
  await apply(
    pod('csi', [{ name: 'v', csi: { driver: 'example.com' } }]),
    pod('trust', [{ name: 'v', projected: { sources: [{ clusterTrustBundle: { path: 'ca', name: 'x' } }] } }]),
    pod('nfs', [{ name: 'v', nfs: { server: '127.0.0.1', path: '/not-exported' } }], { volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
  );
  await until('csi fails', 30_000, async () => (await get('.status.message', 'pod', 'csi')) === 'spec.volumes v: volumes of type csi are not served');
  await until('clusterTrustBundle fails', 30_000, async () => (await get('.status.message', 'pod', 'trust')) === 'spec.volumes v: projected.clusterTrustBundle is not served');
  const told = await event('nfs', 'FailedMount', /^MountVolume\.SetUp failed for volume "v" : mount failed: /m);
  assert.match(told, /Mounting command: mount\nMounting arguments: -t nfs 127\.0\.0\.1:\/not-exported .*\/volumes\/v\nOutput: /);
  const folder = folderOf(await uidOf('nfs'));
  await remove('csi', 'trust', 'nfs');
  await gone(folder);
});

const volume = (name: string, spec: object): object => ({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name }, spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], ...spec } });
const claim = (name: string, spec: object = {}): object => ({ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name }, spec: { accessModes: ['ReadWriteOnce'], storageClassName: '', resources: { requests: { storage: '100Mi' } }, ...spec } });
const uses = (name: string, claimName: string, container: object = {}): object => pod(name, [{ name: 'v', persistentVolumeClaim: { claimName } }], { volumeMounts: [{ name: 'v', mountPath: '/v' }], ...container });
const phase = (kind: 'pv' | 'pvc', name: string, wanted: string): Promise<unknown> => until(`${kind} ${name} is ${wanted}`, 30_000, async () => (await get('.status.phase', kind, name)) === wanted);
const absent = (...what: string[]): Promise<unknown> => until(`${what.join(' ')} is gone`, 60_000, async () => (await lab.kubectl('get', ...what, '--ignore-not-found', '-o', 'name')) === '');

test('a claim takes the smallest volume that fits, is kept while a pod uses it, and releases it', async () => {
  const path = join(lab.directory, 'host', 'pv');
  await apply(volume('large', { capacity: { storage: '5Gi' }, hostPath: { path: `${path}-large` } }), volume('small', { hostPath: { path } }));
  await phase('pv', 'small', 'Available');
  await phase('pv', 'large', 'Available');
  await apply(claim('data'), uses('writer', 'data', { command: ['sh', '-c', 'echo mine > /v/file; exec stay'] }));
  await running('writer');
  assert.match(await lab.kubectl('get', 'pvc', 'data'), /^data +Bound +small +1Gi +RWO +<unset> /m);
  assert.match(await lab.kubectl('get', 'pv', 'small'), /^small +1Gi +RWO +Retain +Bound +default\/data +<unset> /m);
  await lab.kubectl('delete', 'pvc', 'data', '--wait=false');
  assert.match(await lab.kubectl('get', 'pvc', 'data'), /^data +Terminating +small/m);
  await remove('writer');
  await absent('pvc', 'data');
  await phase('pv', 'small', 'Released');
  assert.is(await readFile(join(path, 'file'), 'utf8'), 'mine\n');
  await lab.kubectl('patch', 'pv', 'small', '--type=merge', '-p', '{"spec":{"claimRef":null,"persistentVolumeReclaimPolicy":"Delete"}}');
  await phase('pv', 'small', 'Available');
  await apply(claim('data', { volumeName: 'small' }));
  await phase('pvc', 'data', 'Bound');
  await lab.kubectl('delete', 'pvc', 'data');
  await phase('pv', 'small', 'Failed');
  await event('small', 'VolumeFailedDelete', /host_path deleter only supports \/tmp\/\.\+ but received provided|no deletable volume plugin matched/m);
  await lab.kubectl('delete', 'pv', 'small', 'large');
});

test('a pod whose claim cannot be had waits, and says for what', async () => {
  const elsewhere = { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['elsewhere'] }] }] } };
  await apply(
    { apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name: 'by-hand' }, provisioner: 'kubernetes.io/no-provisioner', volumeBindingMode: 'WaitForFirstConsumer' },
    claim('unbound'), uses('immediate', 'unbound'), uses('missing', 'no-such'),
    volume('far', { storageClassName: 'by-hand', local: { path: '/far' }, nodeAffinity: elsewhere }), claim('late', { storageClassName: 'by-hand' }), uses('nowhere', 'late'),
    claim('kept', { volumeName: 'far-kept' }), volume('far-kept', { local: { path: '/far' }, nodeAffinity: elsewhere }), uses('conflict', 'kept'),
  );
  const says = (name: string, what: string): Promise<string> => event(name, 'FailedScheduling', new RegExp(`^0/1 nodes are available: ${what}\\. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling\\.$`, 'm'));
  await says('immediate', 'pod has unbound immediate PersistentVolumeClaims');
  await says('missing', 'persistentvolumeclaim "no-such" not found');
  await says('nowhere', "1 node\\(s\\) didn't find available persistent volumes to bind");
  await says('conflict', '1 node\\(s\\) had volume node affinity conflict');
  await event('unbound', 'FailedBinding', /^no persistent volumes available for this claim and no storage class is set$/m);
  // A volume for it, and it runs.
  await apply(volume('for-unbound', { hostPath: { path: join(lab.directory, 'host', 'late') } }));
  await running('immediate');
  await remove('immediate', 'missing', 'nowhere', 'conflict');
  await lab.kubectl('delete', 'pvc', 'unbound', 'late', 'kept');
  await lab.kubectl('delete', 'pv', 'far', 'far-kept', 'for-unbound');
});

test('local volumes bind on the node where the first pod comes to be; wherry.dev/local-path makes them', async () => {
  const base = join(lab.directory, 'host', 'local-path');
  await apply({
    apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name: 'local-path', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
    provisioner: 'wherry.dev/local-path', volumeBindingMode: 'WaitForFirstConsumer', parameters: { path: base },
  });
  assert.match(await lab.kubectl('get', 'storageclass'), /^local-path \(default\) +wherry\.dev\/local-path +Delete +WaitForFirstConsumer +false /m);
  const { storageClassName: _, ...spec } = (claim('fresh') as { spec: { storageClassName: string } }).spec;
  await apply({ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'fresh' }, spec });
  await event('fresh', 'WaitForFirstConsumer', /^waiting for first consumer to be created before binding$/m);
  await apply(uses('first', 'fresh', { command: ['sh', '-c', 'echo data > /v/file; exec stay'], securityContext: { runAsUser: 1000 } }));
  await running('first');
  await event('fresh', 'ProvisioningSucceeded', /^Successfully provisioned volume pvc-/m);
  const [folder] = await readdir(base);
  assert.is(await readFile(join(base, folder!, 'file'), 'utf8'), 'data\n');
  await remove('first');
  await apply(uses('second', 'fresh', { command: ['stay'] }));
  await running('second');
  assert.is(await inPod('second', 'cat', '/v/file'), 'data');
  const name = await get('.spec.volumeName', 'pvc', 'fresh');
  await remove('second');
  await lab.kubectl('delete', 'pvc', 'fresh');
  await absent('pv', name);
  await until('its directory is gone', 30_000, async () => (await readdir(base)).length === 0);
});

test('a generic ephemeral volume comes and goes with its pod', async () => {
  await apply(pod('brief', [{ name: 'v', ephemeral: { volumeClaimTemplate: { metadata: { labels: { made: 'for-brief' } }, spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'local-path', resources: { requests: { storage: '1Mi' } } } } } }], { volumeMounts: [{ name: 'v', mountPath: '/v' }] }));
  await running('brief');
  assert.is(await get('.metadata.ownerReferences[0].name} {.metadata.labels.made} {.status.phase', 'pvc', 'brief-v'), 'brief for-brief Bound');
  await remove('brief');
  await absent('pvc', 'brief-v');
});

test('host reboot while the master is away: tmpfs and claims are there again', async () => {
  await apply(
    claim('lasting', { storageClassName: 'local-path' }),
    pod('boots', [{ name: 'v', persistentVolumeClaim: { claimName: 'lasting' } }, { name: 'm', emptyDir: { medium: 'Memory' } }, { name: 'e', emptyDir: {} }], {
      command: ['sh', '-c', 'echo x >> /v/count; echo y >> /e/part/count; ls /m > /e/listing; date > /m/now; exec stay'],
      volumeMounts: [{ name: 'v', mountPath: '/v' }, { name: 'm', mountPath: '/m' }, { name: 'e', mountPath: '/e' }, { name: 'e', mountPath: '/e/part', subPath: 'part' }],
    }),
  );
  await running('boots');
  const uid = await uidOf('boots');
  await lab.killMaster();
  await lab.host('kill', 1);
  await lab.killAgent(1);
  // What a reboot does to mounts.
  for (const path of (await mountsBelow(folderOf(uid))).reverse()) await run('umount', ['-l', path]);
  await lab.host('start', 1);
  await lab.startAgent(1);
  const id = await until('its container runs again', 60_000, async () => (await lab.docker(1, 'ps', '-q', '--filter', 'name=k8s_main_boots')).trim() || undefined);
  await until('everything is where it was', 30_000, async () => (await lab.docker(1, 'exec', id, 'sh', '-c', 'cat /v/count /e/part/count; ls /m; mount | grep -c "^tmpfs on /m "; wc -c < /e/listing')).trim().replaceAll('\n', ' ') === 'x x y y now 1 0');
  await lab.startMaster();
  await running('boots');
  await remove('boots');
  await gone(folderOf(uid));
});

test('what a pod leaves behind is removed when its agent was away, and nothing beyond a mount', async () => {
  const kept = join(lab.directory, 'host', 'kept');
  await apply(pod('left', [{ name: 'v', emptyDir: { medium: 'Memory' } }, { name: 'h', hostPath: { path: kept } }], { volumeMounts: [{ name: 'v', mountPath: '/v' }, { name: 'h', mountPath: '/h' }] }));
  await running('left');
  await writeFile(join(kept, 'file'), 'kept');
  const folder = folderOf(await uidOf('left'));
  await mkdir(join(folder, 'extra'));
  await run('mount', ['--bind', kept, join(folder, 'extra')]);
  await lab.killAgent(1);
  await lab.kubectl('delete', 'pod', 'left', '--force', '--grace-period=0');
  await lab.startAgent(1);
  await gone(folder);
  assert.is(await readFile(join(kept, 'file'), 'utf8'), 'kept');
});

test.run();
