import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AccountKeys } from '../../master/account-key.ts';
import { isSigned, signToken } from '../../master/registry/jwt.ts';
import { FakeClock } from '../fakes/clock.ts';

const test = suite('account keys');
let root = '';
test.before(async () => { root = await mkdtemp(join(tmpdir(), 'wherry-key-')); });
test.after(() => rm(root, { recursive: true, force: true }));

const start = Date.parse('2026-03-02T01:00:00Z');
const day = 86_400_000;

async function world(name: string) {
  const directory = join(root, name);
  await mkdir(directory);
  const clock = new FakeClock(start);
  const open = (): Promise<AccountKeys> => AccountKeys.open(directory, clock);
  const failure = (): Promise<string> => open().then(() => 'none', (why: Error) => why.message);
  return { directory, clock, open, failure };
}

const ids = (keys: AccountKeys): string[] => keys.accepted().map(({ id }) => id);

test('a key is made once, for its owner alone, and is the same ever after', async () => {
  const { directory, open } = await world('made');
  const made = await open();
  const token = await signToken(made.signing, { sub: 'x' });
  assert.is((await stat(join(directory, 'sa.key'))).mode & 0o777, 0o600);
  const again = await open();
  assert.is(again.signing.id, made.signing.id);
  assert.ok(isSigned(again.accepted()[0]!, token));
  assert.equal(await readdir(directory), ['sa.key']);
});

test('a new key signs, and the last ones are good until their time, also for a master that starts anew', async () => {
  const { directory, clock, open } = await world('rotated');
  const keys = await open();
  const [first, token] = [keys.signing.id, await signToken(keys.signing, { sub: 'x' })];
  const rotation = await keys.rotate(30 * day);
  const second = keys.signing.id;
  assert.equal(rotation, { id: second, previous: [{ id: first, until: '2026-04-01T01:00:00Z' }] });
  assert.is.not(second, first);
  await Promise.all([keys.rotate(10 * day), keys.rotate(5 * day)]);
  const [fourth, third] = ids(keys);
  assert.equal(ids(keys), [fourth, third, second, first]);
  assert.equal(ids(await open()), [fourth, third, second, first]);
  assert.ok((await open()).accepted().some((key) => isSigned(key, token)));
  assert.not.match(await readFile(join(directory, 'sa-previous.json'), 'utf8'), /PRIVATE/);
  assert.is((await stat(join(directory, 'sa-previous.json'))).mode & 0o777, 0o600);
  clock.advance(10 * day);
  for (const some of [keys, await open()]) assert.equal(ids(some), [fourth, first]);
  clock.advance(20 * day);
  assert.equal(ids(keys), [fourth]);
  const { previous } = await keys.rotate(0);
  assert.equal([previous, ids(keys).length, ids(await open())], [[], 1, ids(keys)], 'at once: the last one is good for nothing any more');
});

test('a death amid a rotation leaves the key that signed, once', async () => {
  const { directory, open } = await world('cut');
  const keys = await open();
  const pem = await readFile(join(directory, 'sa.key'), 'utf8');
  const first = keys.signing.id;
  await keys.rotate(day);
  await writeFile(join(directory, 'sa.key'), pem);
  assert.equal(ids(await open()), [first]);
});

test('a file that is none is named, and kept', async () => {
  const { directory, failure } = await world('nonsense');
  await writeFile(join(directory, 'sa.key'), 'nonsense');
  assert.match(await failure(), /sa\.key is no RSA private key in PEM; restore it from a backup/);
  assert.is(await AccountKeys.open(directory, { now: () => 0 }).catch((error: { code?: string }) => error.code), 'EPKI', 'which the command line shows as one line');
  assert.is((await stat(join(directory, 'sa.key'))).size, 8);
  await rm(join(directory, 'sa.key'));
  for (const text of ['{', '[{"publicKey":"x","until":"2026-03-02T01:00:00Z"}]', '[{"until":"soon"}]']) {
    await writeFile(join(directory, 'sa-previous.json'), text);
    assert.match(await failure(), /sa-previous\.json is no list of public keys; restore it from a backup/);
  }
});

test.run();
