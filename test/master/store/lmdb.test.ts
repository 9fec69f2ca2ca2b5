import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { openLmdbStore } from '../../../master/store/lmdb.ts';
import { StatusError } from '../../../shared/status.ts';
import { put, remove, storeContract } from '../../contract/store.ts';

const temporary = (): Promise<string> => mkdtemp(join(tmpdir(), 'wherry-store-'));

storeContract('lmdb store', async () => {
  const base = await temporary();
  const directory = join(base, 'data');
  let store = await openLmdbStore({ directory });
  return {
    store,
    reopen: async () => {
      await store.close();
      return (store = await openLmdbStore({ directory }));
    },
    openBackup: async (write) => {
      await write(join(base, 'copy'));
      return openLmdbStore({ directory: join(base, 'copy') });
    },
    destroy: async () => {
      await store.close();
      await rm(base, { recursive: true });
    },
  };
});

const test = suite<{ directory: string }>('lmdb store, its files');
test.before.each(async (context) => {
  context.directory = await temporary();
});
test.after.each((context) => rm(context.directory, { recursive: true }));

async function openingFails(directory: string): Promise<string> {
  try {
    await (await openLmdbStore({ directory })).close();
  } catch (error) {
    return (error as Error).message;
  }
  return assert.unreachable('opened') as never;
}

test('only this user may read them', async ({ directory }) => {
  const store = await openLmdbStore({ directory: join(directory, 'new') });
  await store.backup(join(directory, 'copy'));
  for (const file of ['new/data.mdb', 'new/lock.mdb', 'copy/data.mdb']) assert.is((await stat(join(directory, file))).mode & 0o777, 0o600, file);
  for (const folder of ['new', 'copy']) assert.is((await stat(join(directory, folder))).mode & 0o777, 0o700, folder);
  await store.close();
});

test('a second master is told who has them', async ({ directory }) => {
  const store = await openLmdbStore({ directory });
  assert.is(await openingFails(directory), `data directory ${directory} is in use by process ${process.pid}`);
  assert.is(await put(store, 'a'), 1, 'the first one does not mind');
  await store.close();
  await (await openLmdbStore({ directory })).close();
});

test('so is another process, until the owner is killed', async ({ directory }) => {
  const script = `import { openLmdbStore } from ${JSON.stringify(new URL('../../../master/store/lmdb.js', import.meta.url))};
    await openLmdbStore({ directory: ${JSON.stringify(directory)} }); console.log('open'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  assert.is(await openingFails(directory), `data directory ${directory} is in use by process ${child.pid}`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await (await openLmdbStore({ directory })).close();
});

test('a copy of the files is a store of its own', async ({ directory }) => {
  const store = await openLmdbStore({ directory });
  await put(store, 'a');
  await store.close();
  await mkdir(join(directory, 'copy'));
  await copyFile(join(directory, 'data.mdb'), join(directory, 'copy/data.mdb'));
  const copy = await openLmdbStore({ directory: join(directory, 'copy') });
  assert.is.not(copy.epoch, store.epoch);
  assert.is(copy.revision, 1);
  await copy.close();
});

test('a backup never overwrites', async ({ directory }) => {
  const store = await openLmdbStore({ directory: join(directory, 'data') });
  await mkdir(join(directory, 'taken'));
  await writeFile(join(directory, 'taken/file'), '');
  const error = await store.backup(join(directory, 'taken')).catch((e: Error) => e);
  assert.match((error as Error).message, /taken: the directory is not empty/);
  assert.equal((await readdir(directory)).sort(), ['data', 'taken']);
  await store.close();
});

test('files of other kinds are refused with their name and advice', async ({ directory }) => {
  const file = join(directory, 'data.mdb');
  await writeFile(file, 'not a database'.repeat(1000));
  const message = await openingFails(directory);
  assert.is(message, `cannot open the store ${file}: it is not an LMDB data file. Put a backup in its place, or move it away to start empty`);
  assert.is((await readFile(file, 'utf8')).slice(0, 14), 'not a database', 'and left alone');
});

test('databases of other programs are refused', async ({ directory }) => {
  const other = open({ path: directory, overlappingSync: false });
  other.openDB({ name: 'things' }).putSync('a', 1);
  await other.close();
  assert.match(await openingFails(directory), /data\.mdb: it is the database of another program/);
});

test('newer layouts are refused', async ({ directory }) => {
  await (await openLmdbStore({ directory })).close();
  const root = open({ path: directory, overlappingSync: false });
  root.openDB({ name: 'meta', encoding: 'json' }).putSync('format', 2);
  await root.close();
  assert.match(await openingFails(directory), /data\.mdb: it was written by a newer version of Wherry \(layout 2, this one knows 1\)/);
});

test('truncated files are refused', async ({ directory }) => {
  const file = join(directory, 'data.mdb');
  const store = await openLmdbStore({ directory });
  await Promise.all(Array.from({ length: 2000 }, (_, i) => put(store, `k${i}`)));
  await store.close();
  const { size } = await stat(file);
  await copyFile(file, join(directory, 'whole'));
  for (const part of [0.95, 0.5, 0.1]) {
    await copyFile(join(directory, 'whole'), file);
    await truncate(file, Math.floor(size * part));
    assert.match(await openingFails(directory), /cannot open the store .*data\.mdb: .*Put a backup in its place/, `${part}`);
  }
});

test('an iteration that takes too long goes on from the log, unless that is gone', async ({ directory }) => {
  const store = await openLmdbStore({ directory, holdMs: 1 });
  await Promise.all(Array.from({ length: 200 }, (_, i) => put(store, `k${1000 + i}`)));
  const range = store.range('');
  const [slow, slower] = [range[Symbol.iterator](), range[Symbol.iterator]()];
  slow.next();
  slower.next();
  await remove(store, 'k1150', 151);
  await put(store, 'k1160', 161);
  await put(store, 'k1001x');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(Array.from({ length: 199 }, () => (slow.next().value as { revision: number }).revision), Array.from({ length: 199 }, (_, i) => i + 2));
  assert.is(slow.next().done, true);
  await store.compact(203);
  assert.throws(() => slower.next(), (error: unknown) => error instanceof StatusError && error.code === 410);
  await store.close();
});

test('space is used again', async ({ directory }) => {
  const store = await openLmdbStore({ directory });
  let revision = await put(store, 'a', 0);
  const sizes: number[] = [];
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 300; i++) revision = await put(store, 'a', revision, () => Buffer.alloc(3000));
    await store.compact(revision);
    sizes.push((await stat(join(directory, 'data.mdb'))).size);
  }
  assert.ok(sizes.at(-1)! < sizes[0]! * 2.5, `${sizes}`);
  await store.close();
});

test.run();
