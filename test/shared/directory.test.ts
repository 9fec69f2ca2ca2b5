import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeDataDirectory, makeDirectory } from '../../shared/directory.ts';

const test = suite('directory');
const base = await mkdtemp(join(tmpdir(), 'wherry-directory-'));
test.after(() => rm(base, { recursive: true }));

const refusal = (path: string): Promise<string> => makeDataDirectory(path).then(() => 'made', (error: Error) => error.message);

test('made with what is above it, and left as it is when it is there', async () => {
  const path = join(base, 'a/b/c');
  assert.is(await makeDirectory(path, 0o700), true);
  assert.is((await stat(path)).mode & 0o777, 0o700);
  assert.is(await makeDirectory(path, 0o755), false);
  assert.is((await stat(path)).mode & 0o777, 0o700);
  assert.is(await refusal(path), 'made');
});

test('one that is made by several at once', async () => {
  const path = join(base, 'race/x/y');
  const made = await Promise.all([1, 2, 3, 4].map(() => makeDirectory(path, 0o700)));
  assert.is(made.filter(Boolean).length, 1);
});

test('where none can be made it is said in one line, with the path and the reason, and at once', async () => {
  await writeFile(join(base, 'file'), '');
  await symlink(join(base, 'nowhere'), join(base, 'link'));
  const says = (path: string, why: string) => `cannot use the data directory ${path}: ${why} (--data-dir names another)`;
  assert.is(await refusal('/proc/x'), says('/proc/x', '/proc takes no directories'));
  assert.is(await refusal('/proc/x/y'), says('/proc/x/y', '/proc takes no directories'));
  assert.is(await refusal('/dev/null/x'), says('/dev/null/x', 'a part of its path is a file, not a directory'));
  assert.is(await refusal(join(base, 'file')), says(join(base, 'file'), 'it is a file, not a directory'));
  assert.is(await refusal(join(base, 'link')), says(join(base, 'link'), 'it is a symbolic link that leads nowhere'));
});

test.run();
