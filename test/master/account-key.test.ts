import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openAccountKey } from '../../master/account-key.ts';
import { isSigned, signToken } from '../../master/registry/jwt.ts';

const test = suite('account key');
let directory = '';
test.before(async () => { directory = await mkdtemp(join(tmpdir(), 'wherry-key-')); });
test.after(() => rm(directory, { recursive: true, force: true }));

test('is made once, for its owner alone, and is the same ever after', async () => {
  const made = await openAccountKey(directory);
  const token = await signToken(made, { sub: 'x' });
  assert.is((await stat(join(directory, 'sa.key'))).mode & 0o777, 0o600);
  const again = await openAccountKey(directory);
  assert.is(again.id, made.id);
  assert.ok(isSigned(again, token));
});

test('a file that is none is named, and kept', async () => {
  await writeFile(join(directory, 'sa.key'), 'nonsense');
  const error = await openAccountKey(directory).then(() => undefined, (why: Error) => why);
  assert.match(error?.message ?? '', /sa\.key is no RSA private key in PEM; restore it from a backup/);
  assert.is((await stat(join(directory, 'sa.key'))).size, 8);
});

test.run();
