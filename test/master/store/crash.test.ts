import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openLmdbStore } from '../../../master/store/lmdb.ts';
import { StoreError, type Change, type Store } from '../../../master/store/store.ts';
import { collect, put, text } from '../../contract/store.ts';

const ROUNDS = 10;
const WRITERS = 40;

/** Says in full what it belongs to, so that a torn value shows. */
const valueOf = (key: string) => (revision: number): Uint8Array => Buffer.from(`${key} ${revision} `.repeat(60) + 'end');

/** The child's part: writes until it is killed and prints each revision once it is acknowledged. */
async function writeForever(directory: string): Promise<void> {
  const store = await openLmdbStore({ directory });
  const writer = async (id: number): Promise<void> => {
    for (let i = 0; ; i++) {
      const key = `/writer/${id}/${i % 20}`;
      const expect = store.get(key)?.revision ?? 0;
      const type = expect > 0 && i % 7 === 0 ? 'delete' : 'put';
      const [revision] = await store.write([{ type, key, expect, value: valueOf(key) }]);
      process.stdout.write(`${revision}\n`);
    }
  };
  const compactor = async (): Promise<void> => {
    for (;;) {
      await sleep(20);
      await store.compact(store.revision - 3000);
    }
  };
  await Promise.all([compactor(), ...Array.from({ length: WRITERS }, (_, id) => writer(id))]);
}

/** Lets a child write for a while and kills it. Resolves with the newest revision that it acknowledged. */
async function writeAndKill(directory: string, ms: number): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'close');
  let newest = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    // A line without its end was cut by the kill; it could only be too small.
    newest = Math.max(newest, Number(line));
  });
  await once(child.stdout, 'data');
  await sleep(ms);
  child.kill('SIGKILL');
  await exit;
  return newest;
}

/** Every revision since compaction is there, whole, in order, and adds up to the current state. */
async function checkWhole(store: Store): Promise<void> {
  const changes = await collect(store, store.compactedRevision, store.revision - store.compactedRevision);
  const state = new Map([...store.range('', { atRevision: store.compactedRevision })].map(({ key, revision }) => [key, revision]));
  changes.forEach((change, i) => checkChange(change, store.compactedRevision + i + 1, state));
  const current = [...store.range('')];
  assert.equal(new Map(current.map(({ key, revision }) => [key, revision])), state);
  for (const { key, revision, bytes } of current) assert.is(text(bytes), text(valueOf(key)(revision)));
}

function checkChange({ key, revision, type, bytes, previous }: Change, expected: number, state: Map<string, number>): void {
  assert.is(revision, expected);
  assert.is(text(bytes), text(valueOf(key)(revision)));
  assert.is(previous, state.get(key) ?? 0);
  if (type === 'delete') state.delete(key);
  else state.set(key, revision);
}

const test = suite('lmdb store, crashes');

test(`${ROUNDS} times kill -9: what was acknowledged is there, nothing is torn, no revision is missing`, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wherry-store-'));
  for (let round = 0; round < ROUNDS; round++) {
    const acknowledged = await writeAndKill(directory, 30 + Math.random() * 250);
    const store = await openLmdbStore({ directory });
    assert.ok(store.revision >= acknowledged, `round ${round}: revision ${store.revision}, acknowledged ${acknowledged}`);
    await checkWhole(store);
    await store.close();
  }
  await rm(directory, { recursive: true });
});

test('a full disk refuses writes, keeps the rest going, and is forgotten once there is room', async () => {
  const disk = mountSmallDisk(await mkdtemp(join(tmpdir(), 'wherry-disk-')));
  if (!disk) return console.log('skipped: only root on Linux can mount a small disk');
  try {
    await fillUp(disk.directory);
  } finally {
    await disk.unmount();
  }
});

/** A tmpfs of 4 MB; undefined if this user may not mount one. */
function mountSmallDisk(directory: string): { directory: string; unmount: () => Promise<void> } | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', directory], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  return {
    directory,
    unmount: async () => {
      execFileSync('umount', [directory]);
      await rm(directory, { recursive: true });
    },
  };
}

async function fillUp(directory: string): Promise<void> {
  const store = await openLmdbStore({ directory });
  const seen: number[] = [];
  const end = new AbortController();
  store.subscribe(0, (changes) => seen.push(...changes.map(({ revision }) => revision)), end.signal);
  const key = '/full/a';
  let revision = await put(store, key, 0, valueOf(key));
  let refused = 0;
  for (let i = 0; refused < 5; i++) {
    // Every other time a single write, which is committed in another way than several.
    const others = i % 2 ? [] : [put(store, `/full/${i}`, 0, valueOf(`/full/${i}`)), put(store, `/full/${i}+`, 0, valueOf(`/full/${i}+`))];
    const [first, ...rest] = await Promise.allSettled([put(store, key, revision, valueOf(key)), ...others]);
    for (const outcome of rest) assert.is(outcome.status, first.status, 'one turn, one transaction');
    if (first.status === 'fulfilled') revision = first.value;
    else {
      refused += 1;
      assert.instance(first.reason, StoreError);
      assert.match((first.reason as Error).message, /commit of \d+ changes: .*[Nn]o space/);
    }
    assert.is(store.get(key)?.revision, revision);
  }
  await checkWhole(store);
  await makeRoom(store, directory);
  assert.is(await put(store, key, revision, valueOf(key)), store.revision);
  await checkWhole(store);
  assert.equal(seen, Array.from({ length: store.revision }, (_, i) => i + 1), 'subscribers saw what was committed, once');
  end.abort();
  await store.close();
  const again = await openLmdbStore({ directory });
  await checkWhole(again);
  await again.close();
}

/** What an administrator does. */
async function makeRoom(store: Store, directory: string): Promise<void> {
  const { revision } = store;
  execFileSync('mount', ['-o', 'remount,size=16m', directory]);
  await store.compact(revision);
}

if (process.argv[2]) await writeForever(process.argv[2]);
else test.run();
