import { chmod, lstat, mkdir, mkdtemp, readFile, readlink, readdir, rename, rm, stat, statfs, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exceeded } from '../../../agent/pods/volume-limits.ts';
import { Volumes } from '../../../agent/volumes/index.ts';
import { isMounted, mountsUnder, unmount } from '../../../agent/volumes/mount-table.ts';
import { setOwnership } from '../../../agent/volumes/ownership.ts';
import { removeVolume } from '../../../agent/volumes/remove-volume.ts';
import type { Claim } from '../../../agent/volumes/source.ts';
import { VolumeError } from '../../../agent/volumes/volume-error.ts';
import type { ConfigMap } from '../../../shared/kinds/configmap.ts';
import type { Secret } from '../../../shared/kinds/secret.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('volumes');
let root = '';
let data: Record<string, string> = { a: '1', b: '2' };
const claims = new Map<string, Claim>();
const volumes = (): Volumes => new Volumes({
  root, sources: {
    configMap: (_, name) => (name === 'cm' ? { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data } as ConfigMap : undefined),
    claim: (_, name) => claims.get(name),
    secret: (_, name) => (name === 's' ? { apiVersion: 'v1', kind: 'Secret', metadata: { name }, data: { key: Buffer.from('geheim').toString('base64') } } as unknown as Secret : undefined),
    field: (pod, path) => `${pod.metadata.name} ${path}`, resource: (_, ref) => ref.resource,
  },
});
const pod = (volume: object, spec: object = {}) => podOf('p', { containers: [{ name: 'a', image: 'a:1' }], volumes: [{ name: 'v', ...volume }], ...spec });
const path = (...rest: string[]): string => join(root, 'pods', 'uid-p', 'volumes', 'v', ...rest);
const refused = (run: Promise<unknown>, message: RegExp) => run.then(() => assert.unreachable(), (error: Error) => { assert.instance(error, VolumeError); assert.match(error.message, message); });

test.before(async () => { root = await mkdtemp(join(tmpdir(), 'wherry-volumes-')); });
test.after.each(() => volumes().release('uid-p'));
test.after(() => rm(root, { recursive: true, force: true }));

test('a configMap is a directory of links, changed at one instant', async () => {
  const given = pod({ configMap: { name: 'cm', defaultMode: 0o640 } });
  await volumes().prepare(given);
  assert.equal((await readdir(path())).filter((name) => !name.startsWith('..')).sort(), ['a', 'b']);
  assert.is(await readlink(path('a')), '..data/a');
  assert.is((await stat(path('a'))).mode & 0o777, 0o640);
  const before = await readlink(path('..data'));
  await volumes().refresh(given);
  assert.is(await readlink(path('..data')), before, 'nothing changed, nothing written');
  data = { a: 'new', c: '3' };
  await volumes().refresh(given);
  assert.is(await readFile(path('a'), 'utf8'), 'new');
  assert.equal((await readdir(path())).filter((name) => !name.startsWith('..')).sort(), ['a', 'c']);
  assert.equal((await readdir(path())).filter((name) => name.startsWith('..')).length, 2);
  data = { a: '1', b: '2' };
});

test('chosen keys at paths; what is missing is told unless it is optional', async () => {
  await volumes().prepare(pod({ configMap: { name: 'cm', items: [{ key: 'a', path: 'x/y', mode: 0o600 }] } }));
  assert.is(await readFile(path('x', 'y'), 'utf8'), '1');
  assert.is((await stat(path('x', 'y'))).mode & 0o777, 0o600);
  await refused(volumes().prepare(pod({ configMap: { name: 'no' } })), /^MountVolume\.SetUp failed for volume "v" : configmap "no" not found$/);
  await refused(volumes().prepare(pod({ configMap: { name: 'cm', items: [{ key: 'z', path: 'z' }] } })), /references non-existent config key: z/);
  await volumes().prepare(pod({ configMap: { name: 'no', optional: true } }));
});

test('secrets, downward API, and all of them projected', async () => {
  await volumes().prepare(pod({ projected: { sources: [
    { secret: { name: 's' } }, { configMap: { name: 'cm', items: [{ key: 'b', path: 'deep/b' }] } }, { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
  ] } }));
  assert.is(await readFile(path('key'), 'utf8'), 'geheim');
  assert.is(await readFile(path('deep', 'b'), 'utf8'), '2');
  assert.is(await readFile(path('labels'), 'utf8'), 'p metadata.labels');
});

test('paths stay inside', async () => {
  await refused(volumes().prepare(pod({ configMap: { name: 'cm', items: [{ key: 'a', path: '../out' }] } })), /invalid path/);
  const given = pod({ emptyDir: {} });
  await volumes().prepare(given);
  await symlink('/etc', path('link'));
  await refused(volumes().mounts(given, { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', subPath: '../..' }] }, () => undefined), /^unable to provision SubPath `..\/..`: must not contain '..'$/);
  await refused(volumes().mounts(given, { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', subPath: 'link' }] }, () => undefined), /^failed to prepare subPath for volumeMount "v" of container "c": subpath "\/etc" not within volume path/);
});

test('mounts', async () => {
  const given = pod({ emptyDir: {} });
  await volumes().prepare(given);
  const [mount] = await volumes().mounts(given, { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', readOnly: true, mountPropagation: 'HostToContainer' }] }, () => undefined);
  assert.equal(mount, { Type: 'bind', Source: path(), Target: '/v', ReadOnly: true, BindOptions: { Propagation: 'rslave' } });
  const [plain] = await volumes().mounts(given, { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v' }] }, () => undefined);
  assert.equal(plain, { Type: 'bind', Source: path(), Target: '/v', ReadOnly: false }, 'an engine refuses to mount what its own directory is in privately');
  assert.is((await stat(path())).mode & 0o777, 0o777);
});

test('hostPath types', async () => {
  const at = join(root, 'host');
  await volumes().prepare(pod({ hostPath: { path: join(at, 'made'), type: 'DirectoryOrCreate' } }));
  assert.ok((await lstat(join(at, 'made'))).isDirectory());
  await volumes().prepare(pod({ hostPath: { path: join(at, 'file'), type: 'FileOrCreate' } }));
  await refused(volumes().prepare(pod({ hostPath: { path: join(at, 'file'), type: 'Directory' } })), /hostPath type check failed: .* is not a directory/);
  await refused(volumes().prepare(pod({ hostPath: { path: join(at, 'none'), type: 'Socket' } })), /is not a socket file/);
});

test('released: nothing stays', async () => {
  await volumes().prepare(pod({ emptyDir: {} }));
  assert.equal(await volumes().known(), ['uid-p']);
  await volumes().release('uid-p');
  assert.equal(await volumes().known(), []);
});

const volumeOf = (spec: object, metadata: object = {}): Claim['volume'] =>
  ({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'pv-1', ...metadata }, spec: { volumeMode: 'Filesystem', ...spec }, status: {} }) as unknown as Claim['volume'];
const claimOf = (volume: Claim['volume'] | undefined, metadata: object = {}): Claim =>
  ({ object: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data', namespace: 'default', ...metadata }, spec: {}, status: {} }, ...(volume ? { volume } : {}) }) as unknown as Claim;
const claimed = pod({ persistentVolumeClaim: { claimName: 'data' } });

test('a claim leads to its volume, or says why not', async () => {
  const waits = /^Unable to attach or mount volumes: unmounted volumes=\[v\], unattached volumes=\[\], failed to process volumes=\[v\]: error processing PVC default\/data: /;
  claims.clear();
  await refused(volumes().prepare(claimed), /failed to fetch PVC from API server: persistentvolumeclaims "data" not found$/);
  claims.set('data', claimOf(undefined));
  await refused(volumes().prepare(claimed), new RegExp(`${waits.source}PVC is not bound$`));
  claims.set('data', claimOf(volumeOf({ csi: {} })));
  await refused(volumes().prepare(claimed), /^MountVolume\.SetUp failed for volume "pv-1" : volumes of type csi are not served$/);
  claims.set('data', claimOf(volumeOf({ local: { path: join(root, 'absent') } })));
  await refused(volumes().prepare(claimed), /^MountVolume\.NewMounter initialization failed for volume "pv-1" : path ".*absent" does not exist$/);
  claims.set('data', claimOf(volumeOf({ hostPath: { path: join(root, 'host-pv'), type: 'File' } })));
  await refused(volumes().prepare(claimed), /^MountVolume\.SetUp failed for volume "pv-1" : hostPath type check failed: .* is not a file$/);
  const made = join(root, 'made', 'here');
  claims.set('data', claimOf(volumeOf({ local: { path: made } }, { annotations: { 'pv.kubernetes.io/provisioned-by': 'wherry.dev/local-path' } })));
  await volumes().prepare(claimed);
  assert.is((await stat(made)).mode & 0o777, 0o777);
  const [mount] = await volumes().mounts(claimed, { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v' }] }, () => undefined);
  assert.equal([mount!.Source, mount!.ReadOnly], [made, false]);
  await volumes().release('uid-p');
  assert.ok(await stat(made), 'the data outlive the pod');
});

test('fsGroup gives the group what is there, once for each pod', async () => {
  const folder = join(root, 'owned');
  await mkdir(join(folder, 'sub'), { recursive: true });
  await writeFile(join(folder, 'sub', 'file'), '', { mode: 0o600 });
  await symlink('/etc/hostname', join(folder, 'link'));
  claims.set('data', claimOf(volumeOf({ local: { path: folder } })));
  const given = pod({ persistentVolumeClaim: { claimName: 'data' } }, { securityContext: { fsGroup: process.getgid!() } });
  await volumes().prepare(given);
  assert.is((await stat(folder)).mode & 0o7777, 0o2775);
  assert.is((await stat(join(folder, 'sub', 'file'))).mode & 0o7777, 0o660);
  await chmod(join(folder, 'sub', 'file'), 0o600);
  await volumes().prepare(given);
  assert.is((await stat(join(folder, 'sub', 'file'))).mode & 0o7777, 0o600);
});

test('a file that the pod may write to is read only if it can be what is wanted', async () => {
  const given = pod({ emptyDir: {} });
  const file = await volumes().podFile(given, 'etc-hosts', 'short\n');
  const before = process.resourceUsage().maxRSS;
  await truncate(file, 400 << 20);
  assert.is(await volumes().podFile(given, 'etc-hosts', 'short\n'), file);
  assert.ok(process.resourceUsage().maxRSS - before < 100 << 10, 'KiB: it was not read into memory');
  assert.is(await readFile(file, 'utf8'), 'short\n');
});

test('a server of NFS is no option of mount(8)', async () => {
  await refused(volumes().prepare(pod({ nfs: { server: '-T/tmp/own', path: '/fstab' } })), /^MountVolume\.SetUp failed for volume "v" : invalid NFS server "-T\/tmp\/own"$/);
});

test('missing keys and variables are told in the kubelet\'s words', async () => {
  await refused(volumes().prepare(pod({ secret: { secretName: 's', items: [{ key: 'z', path: 'z' }] } })), /references non-existent secret key: z$/);
  const given = pod({ emptyDir: {} });
  const container = (mount: object) => ({ name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] });
  await volumes().prepare(given);
  await refused(volumes().mounts(given, container({ subPathExpr: '$(NO)/x' }), () => undefined), /^missing value for "NO"$/);
  await refused(volumes().mounts(given, container({ subPath: '/abs' }), () => undefined), /^error SubPath `\/abs` must not be an absolute path$/);
  await refused(volumes().mounts(given, container({ name: 'w' }), () => undefined), /^cannot find volume "w" to mount into container "c"$/);
});

test('use of an emptyDir is what du counts', async () => {
  const given = pod({ emptyDir: { sizeLimit: '1Mi' } });
  await volumes().prepare(given);
  await writeFile(path('big'), Buffer.alloc(2 << 20));
  await symlink('/proc', path('elsewhere'));
  const used = await volumes().usage(given);
  assert.ok(used.get('v')! >= 2 << 20 && used.get('v')! < 3 << 20, String(used.get('v')));
  assert.is(exceeded(given, used), 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ');
  assert.is(exceeded(given, new Map([['v', 1 << 20]])), undefined);
});

test('only directories of volumes that were made here are removed', async () => {
  const name = 'pvc-00000000-0000-4000-8000-000000000000';
  const folder = join(root, `${name}_default_data`);
  await mkdir(join(folder, 'sub'), { recursive: true });
  for (const [volume, at] of [['pv', folder], [name, '/etc'], [name, `${root}/../${name}_x`], [name, `${name}_relative`]] as const) {
    await removeVolume(volume, at).then(() => assert.unreachable(at), (error: Error) => assert.match(error.message, /is no directory of the volume/));
  }
  assert.ok(await stat(folder));
  await removeVolume(name, folder);
  await removeVolume(name, folder);
  assert.is(await stat(folder).catch(() => 'gone'), 'gone');
});

// What needs mount(8) can be tried by root alone.
if (process.getuid?.() === 0) {
  test('a subPath is mounted by itself, and stays what it was when somebody puts a link in its place', async () => {
    const given = pod({ emptyDir: {} });
    await volumes().prepare(given);
    const container = { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', subPathExpr: '$(A)/deep' }] };
    const [mount] = await volumes().mounts(given, container, () => 'sub');
    assert.is(mount!.Source, join(root, 'pods', 'uid-p', 'subpaths', 'v', 'c', '0'));
    assert.is((await stat(path('sub', 'deep'))).mode & 0o777, 0o777);
    await writeFile(path('sub', 'deep', 'mine'), 'yes');
    await rename(path('sub'), path('moved'));
    await symlink('/etc', path('sub'));
    assert.equal(await readdir(mount!.Source), ['mine']);
    await volumes().prepare(given);
    assert.equal(await readdir(mount!.Source), ['mine'], 'what is mounted stays');
    await unmount(mount!.Source);
    await volumes().prepare(given);
    assert.is(await stat(mount!.Source).catch(() => 'gone'), 'gone', 'after a reboot nobody takes the empty place for the volume');
    await refused(volumes().mounts(given, container, () => 'sub'), /not within volume path|is outside of allowed base/);
    await volumes().release('uid-p');
    assert.equal(await volumes().known(), []);
  });

  test('a directory that a link leads to is known by its own name, so that nothing mounted in it is taken for empty', async () => {
    const real = await mkdtemp(join(tmpdir(), 'wherry-disk-'));
    const linked = join(real, 'link');
    await mkdir(join(real, 'disk'));
    await symlink(join(real, 'disk'), linked);
    const through = new Volumes({ root: linked, sources: { configMap: () => undefined, secret: () => undefined, claim: () => undefined, field: () => '', resource: () => '' } });
    const given = pod({ emptyDir: { medium: 'Memory' } });
    await through.prepare(given);
    await through.prepare(given);
    const folder = join(linked, 'pods', 'uid-p');
    assert.equal(await mountsUnder(folder), [join(real, 'disk', 'pods', 'uid-p', 'volumes', 'v')], 'once');
    assert.is(await isMounted(join(folder, 'volumes', 'v')), true);
    await through.release('uid-p');
    assert.equal([await mountsUnder(folder), await through.known()], [[], []]);
    await rm(real, { recursive: true });
  });

  test('a link that a pod puts in the place of a file is not followed when a group gets the volume', async () => {
    const outside = join(root, 'outside');
    await writeFile(outside, '', { mode: 0o600 });
    const folder = join(root, 'raced');
    await mkdir(folder, { recursive: true });
    const name = join(folder, 'f');
    let over = false;
    const walks = (async () => { while (!over) await setOwnership(folder, 1234); })();
    // As a pod can: by rename, which leaves no moment without the name.
    for (let times = 0; times < 300; times++) {
      await writeFile(`${name}.file`, '');
      await rename(`${name}.file`, name);
      await symlink(outside, `${name}.link`);
      await rename(`${name}.link`, name);
    }
    over = true;
    await walks;
    assert.equal([(await stat(outside)).mode & 0o777, (await stat(outside)).gid], [0o600, process.getgid!()]);
  });

  test('a tmpfs has no more than its limit, its pod and the node allow', async () => {
    const limited = { containers: [{ name: 'a', image: 'a:1', resources: { limits: { memory: '64Mi' } } }] };
    const given = pod({ emptyDir: { medium: 'Memory', sizeLimit: '1Gi' } }, limited);
    await volumes().prepare(given);
    const { blocks, bsize } = await statfs(path());
    assert.is(blocks * bsize, 64 << 20);
    await volumes().release('uid-p');
    assert.equal(await volumes().known(), []);
  });
}

test.run();
