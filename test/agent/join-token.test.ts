import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from '../../agent/config.ts';
import { withToken } from '../../agent/join-token.ts';

const test = suite('join token');
const directory = await mkdtemp(join(tmpdir(), 'wherry-token-'));
const file = join(directory, 'token');
test.before(() => writeFile(file, 'from-file\n'));
test.after(() => rm(directory, { recursive: true }));

const tokenOf = async (flags: Record<string, unknown>, env = {}): Promise<unknown> => (await withToken(flags, env)).token;
const refusal = (flags: Record<string, unknown>): Promise<string> => withToken(flags, {}).then(() => 'taken', (error: Error) => {
  assert.instance(error, ConfigError);
  return error.message;
});

test('from a flag, else a file, else the environment, else from nowhere', async () => {
  const env = { WHERRY_TOKEN: ' from-env\n' };
  assert.is(await tokenOf({ token: 'from-flag' }, env), 'from-flag');
  assert.is(await tokenOf({ tokenFile: file }, env), 'from-file');
  assert.is(await tokenOf({ nodeName: 'a' }, env), 'from-env');
  assert.is(await tokenOf({}, { WHERRY_TOKEN: '' }), undefined);
  assert.equal(await withToken({ nodeName: 'a' }, {}), { nodeName: 'a' });
});

test('what cannot be is said in one line', async () => {
  assert.is(await refusal({ token: 'a', tokenFile: file }), '--token and --token-file cannot both be given');
  assert.match(await refusal({ tokenFile: join(directory, 'none') }), /^--token-file: cannot read .*none: it does not exist$/);
  await writeFile(join(directory, 'empty'), '\n');
  assert.match(await refusal({ tokenFile: join(directory, 'empty') }), /empty is empty$/);
  assert.is(await refusal({ tokenFile: true }), '--token-file: must be a file, not true');
});

test.run();
