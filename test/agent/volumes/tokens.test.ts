import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Volumes, type VolumeSources } from '../../../agent/volumes/index.ts';
import { PodTokens } from '../../../agent/volumes/tokens.ts';
import { silentLog } from '../../../shared/log.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('token volumes');
let root = '';
test.before.each(async () => { root = await mkdtemp(join(tmpdir(), 'wherry-tokens-')); });
test.after.each(() => rm(root, { recursive: true, force: true }));

/** A token as far as an agent looks into it. */
const made = (clock: FakeClock, n: number): string => `x.${Buffer.from(JSON.stringify({ iat: clock.now() / 1000, n })).toString('base64url')}.y`;
const podWith = (volume: string, spec: object = {}) => podOf('p', {
  containers: [{ name: 'a', image: 'a:1' }],
  volumes: [{ name: volume, projected: { sources: [{ serviceAccountToken: { path: 'token', expirationSeconds: 3600 } }] } }], ...spec,
});
const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

interface Request { readonly id: number; readonly pod: string; readonly uid: string; readonly audience: string; readonly seconds: number }

function world(clock = new FakeClock()) {
  const fresh: string[] = [];
  const asked: Request[] = [];
  const tokens = new PodTokens({ clock, random: () => 0, log: silentLog, onFresh: (uid) => fresh.push(uid) });
  const volumes = new Volumes({ root, tokens, sources: { configMap: () => undefined, secret: () => undefined, field: () => '', resource: () => '', claim: () => undefined } as VolumeSources });
  let number = 0;
  const master = (answer = true): void => tokens.opened((request) => {
    asked.push(request);
    if (answer) tokens.answered({ id: request.id, token: made(clock, ++number) });
  });
  const file = (volume: string): string => join(root, 'pods', 'uid-p', 'volumes', volume, 'token');
  const inFile = async (volume: string): Promise<number> => (JSON.parse(Buffer.from((await readFile(file(volume), 'utf8')).split('.')[1]!, 'base64url').toString()) as { n: number }).n;
  return { clock, tokens, volumes, asked, fresh, master, file, inFile };
}

test('the token of the pod is asked for, written, and replaced at 80 % of its life', async () => {
  const { clock, volumes, asked, fresh, master, inFile } = world();
  const pod = podWith('v');
  master();
  await volumes.prepare(pod);
  assert.equal(asked, [{ id: 1, namespace: 'default', pod: 'p', uid: 'uid-p', audience: '', seconds: 3600 }]);
  assert.is(await inFile('v'), 1);
  await volumes.refresh(pod);
  clock.advance(2879_000);
  await turn();
  assert.is(asked.length, 1, 'fresh enough');
  clock.advance(2000);
  await turn();
  assert.equal([asked.length, fresh.length], [2, 1]);
  await volumes.refresh(pod);
  assert.is(await inFile('v'), 2);
});

test('without a master: a volume that was named waits, that for the API is made without, and gets it with the link', async () => {
  const { clock, volumes, asked, master, fresh, file, inFile } = world();
  const [named, own] = [podWith('v'), podWith('kube-api-access-abcde')];
  await volumes.prepare(named).then(() => assert.unreachable(), (error: Error) =>
    assert.is(error.message, 'MountVolume.SetUp failed for volume "v" : failed to fetch token: the master is not connected'));
  await volumes.prepare(own);
  assert.is(await stat(file('kube-api-access-abcde')).catch(() => 'none'), 'none');
  master();
  clock.advance(1);
  await turn();
  assert.equal([asked.length, fresh], [1, ['uid-p']], 'the pod is told');
  await volumes.prepare(own);
  assert.is(await inFile('kube-api-access-abcde'), 1);
});

test('what the master refuses is told in its words', async () => {
  const { tokens, volumes } = world();
  tokens.opened(({ id }) => tokens.refused({ id, reason: 'serviceaccounts "robot" not found' }));
  await volumes.prepare(podWith('kube-api-access-abcde')).then(() => assert.unreachable(), (error: Error) =>
    assert.is(error.message, 'MountVolume.SetUp failed for volume "kube-api-access-abcde" : failed to fetch token: serviceaccounts "robot" not found'));
});

test('an agent that starts takes the token from the pod\'s files, an old one too while the master is away', async () => {
  const first = world();
  first.master();
  await first.volumes.prepare(podWith('v'));
  first.clock.advance(7 * 24 * 3600_000);
  const second = world(first.clock);
  await second.volumes.prepare(podWith('v'));
  assert.is(await second.inFile('v'), 1, 'expired, and better than none');
  second.master();
  assert.is(second.asked.length, 0);
  second.clock.advance(10_000);
  await turn();
  assert.is(second.asked.length, 1, 'the link is back');
  const third = world(first.clock);
  third.master(true);
  await third.volumes.prepare(podWith('v'));
  assert.is(third.asked.length, 1, 'an old one is replaced before the pod starts');
});

test('a session that ends leaves nobody waiting', async () => {
  const { tokens, volumes, master, asked } = world();
  master(false);
  const waiting = volumes.prepare(podWith('v'));
  const deadline = Date.now() + 5000;
  let settled: string | undefined;
  waiting.catch((error: Error) => { settled = error.message; });
  while (asked.length === 0 && Date.now() < deadline) await turn();
  tokens.closed();
  while (settled === undefined && Date.now() < deadline) await turn();
  assert.is(settled, 'MountVolume.SetUp failed for volume "v" : failed to fetch token: the connection to the master ended');
});

test('the file is its one user\'s alone', async () => {
  const { volumes, master, file } = world();
  master();
  await volumes.prepare(podWith('v', { securityContext: { runAsUser: process.getuid!() } }));
  const { mode, uid } = await stat(file('v'));
  assert.equal([mode & 0o777, uid], [0o600, process.getuid!()]);
});

test.run();
