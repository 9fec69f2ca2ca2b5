import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ImageError, Images, pullPolicy } from '../../../agent/pods/images.ts';
import { authsFor, registryOf } from '../../../agent/pods/pull-secrets.ts';
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
  assert.is((await images.obtain('there:1', 'IfNotPresent', [], () => {}, signal)).from, 'registry');
  assert.is((await images.obtain('there:1', 'IfNotPresent', [], () => assert.unreachable(), signal)).from, 'node');
  assert.is((await images.obtain('there:1', 'Always', [], () => {}, signal)).from, 'registry');
  assert.is(runtime.pulls, 2);
  assert.is(await reasonOf(images.obtain('none:1', 'Never', [], () => {}, signal)), 'ErrImageNeverPull');
  assert.is(await reasonOf(images.obtain('none:1', 'IfNotPresent', [], () => {}, signal)), 'ErrImagePull');
  assert.is(await reasonOf(images.obtain('Bad Name', 'Always', [], () => {}, signal)), 'InvalidImageName');
});

test('one pull for all that wait for it', async () => {
  const { images, runtime } = make();
  runtime.remote.add('there:1');
  await Promise.all([1, 2, 3].map(() => images.obtain('there:1', 'IfNotPresent', [], () => {}, signal)));
  assert.is(runtime.pulls, 1);
});

test('Always, and no registry in reach: the copy on the node does', async () => {
  const { images, runtime } = make();
  runtime.addImage('here:1');
  runtime.pull = () => Promise.reject(new RuntimeError('failed', 'dial tcp: no route to host'));
  assert.is((await images.obtain('here:1', 'Always', [], () => {}, signal)).instead, 'dial tcp: no route to host');
  assert.match((await images.obtain('here:1', 'Always', [], () => assert.unreachable(), signal)).instead!, /did not answer lately/);
});

test('Always, and the registry says no: that stands', async () => {
  const { images, runtime } = make();
  runtime.addImage('here:1');
  assert.is(await reasonOf(images.obtain('here:1', 'Always', [], () => {}, signal)), 'ErrImagePull');
});

test('Always, and a registry that keeps silent is waited for three seconds', async () => {
  const { images, runtime, clock } = make();
  runtime.addImage('here:1');
  runtime.pull = () => new Promise(() => {});
  const obtained = images.obtain('here:1', 'Always', [], () => setImmediate(() => clock.advance(3001)), signal);
  assert.match((await obtained).instead!, /did not answer within 3s/);
});

test('credentials by registry', () => {
  assert.equal(['a', 'a/b', 'r.example/a', 'localhost:5000/a', 'index.docker.io/a'].map(registryOf), ['docker.io', 'docker.io', 'r.example', 'localhost:5000', 'docker.io']);
  const auths = { 'https://r.example/v2/': { auth: Buffer.from('me:se:cret').toString('base64') }, 'https://index.docker.io/v1/': { username: 'u', password: 'p' } };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: {}, data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') } } as unknown as Secret;
  assert.equal(authsFor('r.example/a:1', [secret])[0], { username: 'me', password: 'se:cret', serveraddress: 'https://r.example/v2/' });
  assert.is(authsFor('a', [secret])[0]?.username, 'u');
  assert.equal(authsFor('other.example/a', [secret]), []);
});

test('credentials by path and with asterisks, what says most first', () => {
  const entry = (username: string) => ({ username, password: 'p' });
  const auths = { 'r.example': entry('host'), 'https://r.example/team/app': entry('app'), 'r.example/team': entry('team'), '*.example': entry('any'), 'r.example:5000': entry('port'), 'r.example/other': entry('other') };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: {}, data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') } } as unknown as Secret;
  const users = (image: string): string[] => authsFor(image, [secret]).map(({ username }) => username);
  assert.equal(users('r.example/team/app:1'), ['app', 'team', 'host', 'any']);
  assert.equal(users('r.example:5000/team/app@sha256:00'), ['port']);
  assert.equal(users('s.example/app'), ['any']);
  assert.equal(users('a.s.example/app'), []);
});

test('each of the credentials is tried, and the registry\'s last no stands', async () => {
  const { images, runtime } = make();
  const tried: (string | undefined)[] = [];
  runtime.pull = async (name, auth) => {
    tried.push(auth?.username);
    if (auth?.username !== 'right') throw new RuntimeError('invalid', 'unauthorized: authentication required');
    runtime.addImage(name);
  };
  const auth = (username: string) => ({ username, password: 'p', serveraddress: 'r.example' });
  assert.is((await images.obtain('r.example/a:1', 'Always', [auth('wrong'), auth('right'), auth('unused')], () => {}, signal)).from, 'registry');
  assert.equal(tried, ['wrong', 'right']);
  assert.is(await reasonOf(images.obtain('r.example/a:1', 'Always', [auth('wrong')], () => {}, signal)), 'ErrImagePull');
});

test.run();
