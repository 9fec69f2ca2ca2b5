import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ImageError, Images, pullPolicy } from '../../../agent/pods/images.ts';
import { authFor, registryOf } from '../../../agent/pods/pull-secrets.ts';
import { RuntimeError } from '../../../agent/runtime/runtime.ts';
import type { Secret } from '../../../shared/kinds/secret.ts';
import { silentLog } from '../../../shared/log.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';

const test = suite('images');
const signal = new AbortController().signal;

function make(): { images: Images; runtime: FakeRuntime; clock: FakeClock } {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  return { clock, runtime, images: new Images({ runtime, clock, log: silentLog }) };
}
const reasonOf = (run: Promise<unknown>): Promise<string> => run.then(() => 'none', (error: Error) => (error instanceof ImageError ? error.reason : String(error)));

test('default policies', () => {
  for (const [image, policy] of [['a', 'Always'], ['a:latest', 'Always'], ['a:1', 'IfNotPresent'], ['h:5000/a', 'Always'], [`a@sha256:${'0'.repeat(64)}`, 'IfNotPresent']] as const) {
    assert.is(pullPolicy(image, undefined), policy, image);
  }
  assert.is(pullPolicy('a', 'Never'), 'Never');
});

test('policies', async () => {
  const { images, runtime } = make();
  runtime.remote.add('there:1');
  assert.is((await images.obtain('there:1', 'IfNotPresent', undefined, () => {}, signal)).from, 'registry');
  assert.is((await images.obtain('there:1', 'IfNotPresent', undefined, () => assert.unreachable(), signal)).from, 'node');
  assert.is((await images.obtain('there:1', 'Always', undefined, () => {}, signal)).from, 'registry');
  assert.is(runtime.pulls, 2);
  assert.is(await reasonOf(images.obtain('none:1', 'Never', undefined, () => {}, signal)), 'ErrImageNeverPull');
  assert.is(await reasonOf(images.obtain('none:1', 'IfNotPresent', undefined, () => {}, signal)), 'ErrImagePull');
  assert.is(await reasonOf(images.obtain('Bad Name', 'Always', undefined, () => {}, signal)), 'InvalidImageName');
});

test('one pull for all that wait for it', async () => {
  const { images, runtime } = make();
  runtime.remote.add('there:1');
  await Promise.all([1, 2, 3].map(() => images.obtain('there:1', 'IfNotPresent', undefined, () => {}, signal)));
  assert.is(runtime.pulls, 1);
});

test('Always, and no registry in reach: the copy on the node does', async () => {
  const { images, runtime } = make();
  runtime.addImage('here:1');
  runtime.pull = () => Promise.reject(new RuntimeError('failed', 'dial tcp: no route to host'));
  assert.is((await images.obtain('here:1', 'Always', undefined, () => {}, signal)).instead, 'dial tcp: no route to host');
  assert.match((await images.obtain('here:1', 'Always', undefined, () => assert.unreachable(), signal)).instead!, /did not answer lately/);
});

test('Always, and the registry says no: that stands', async () => {
  const { images, runtime } = make();
  runtime.addImage('here:1');
  assert.is(await reasonOf(images.obtain('here:1', 'Always', undefined, () => {}, signal)), 'ErrImagePull');
});

test('Always, and a registry that keeps silent is waited for three seconds', async () => {
  const { images, runtime, clock } = make();
  runtime.addImage('here:1');
  runtime.pull = () => new Promise(() => {});
  const obtained = images.obtain('here:1', 'Always', undefined, () => setImmediate(() => clock.advance(3001)), signal);
  assert.match((await obtained).instead!, /did not answer within 3s/);
});

test('credentials by registry', () => {
  assert.equal(['a', 'a/b', 'r.example/a', 'localhost:5000/a', 'index.docker.io/a'].map(registryOf), ['docker.io', 'docker.io', 'r.example', 'localhost:5000', 'docker.io']);
  const auths = { 'https://r.example/v2/': { auth: Buffer.from('me:se:cret').toString('base64') }, 'https://index.docker.io/v1/': { username: 'u', password: 'p' } };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: {}, data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') } } as unknown as Secret;
  assert.equal(authFor('r.example/a:1', [secret]), { username: 'me', password: 'se:cret', serveraddress: 'https://r.example/v2/' });
  assert.is(authFor('a', [secret])?.username, 'u');
  assert.is(authFor('other.example/a', [secret]), undefined);
});

test.run();
