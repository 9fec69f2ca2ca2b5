import { lstat, mkdtemp, readFile, readlink, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Volumes } from '../../../agent/volumes/index.ts';
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
  const [mount] = await volumes().mounts(given, { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', subPathExpr: '$(A)', readOnly: true, mountPropagation: 'HostToContainer' }] }, () => 'sub');
  assert.equal(mount, { Type: 'bind', Source: join(root, 'pods', 'uid-p', 'subpaths', 'v', 'c', '0'), Target: '/v', ReadOnly: true, BindOptions: { Propagation: 'rslave' } });
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

test.run();
