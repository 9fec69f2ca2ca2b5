import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Journal } from '../../../agent/state/journal.ts';
import { crc32 } from '../../../agent/state/crc32.ts';
import { silentLog } from '../../../shared/log.ts';
import type { Item } from '../../../shared/protocol.ts';
import { configMap, stateContract } from '../../contract/state.ts';
import { MemoryState } from '../../fakes/memory-state.ts';
import { seeded } from '../../property/random.ts';

const test = suite('journal');
const made: string[] = [];

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'journal-'));
  made.push(path);
  return path;
}

const opened = (path: string): Promise<Journal> => Journal.open({ directory: path, log: silentLog });
const places = new Map<object, string>();

stateContract('memory', { open: async () => new MemoryState() });
stateContract('journal', {
  open: async () => {
    const path = await directory();
    const journal = await opened(path);
    places.set(journal, path);
    return journal;
  },
  reopen: async (state) => {
    await state.close();
    return opened(places.get(state)!);
  },
});

test('crc32 is the common one', () => {
  assert.is(crc32(Buffer.from('123456789')), 0xcbf43926);
  assert.is(crc32(Buffer.from('6789'), crc32(Buffer.from('12345'))), 0xcbf43926);
});

test('what is written is in proportion to what changed', async () => {
  const journal = await opened(await directory());
  const items = Array.from({ length: 2000 }, (_, i) => configMap(`c${i}`, 1, 'x'.repeat(200)));
  await journal.apply({ epoch: 'e', revision: 1, complete: true, items, removed: [] });
  const before = journal.bytesWritten;
  await journal.apply({ epoch: 'e', revision: 2, complete: false, items: [configMap('c7', 2, 'y'.repeat(200))], removed: [] });
  assert.ok(journal.bytesWritten - before < 700, `${journal.bytesWritten - before} bytes for one item`);
  const noted = journal.bytesWritten;
  await Promise.all(Array.from({ length: 10 }, (_, i) => journal.note(`n${i}`, i)));
  await journal.note('n3', 3);
  assert.ok(journal.bytesWritten - noted < 150, `${journal.bytesWritten - noted} bytes for ten notes`);
  await journal.close();
});

test('compaction keeps the file within twice of what is live', async () => {
  const path = await directory();
  let journal = await opened(path);
  for (let revision = 1; revision <= 300; revision++) {
    await journal.apply({ epoch: 'e', revision, complete: revision === 1, items: [configMap(`c${revision % 10}`, revision, 'x'.repeat(5000))], removed: [] });
  }
  assert.ok((await stat(join(path, 'journal'))).size < 250_000);
  await journal.close();
  journal = await opened(path);
  assert.is(journal.items.size, 10);
  assert.is(journal.held.revision, 300);
  await journal.close();
});

/** A directory with a history of three compactions or so, and the states that it went through. */
async function history(random: () => number): Promise<{ path: string; states: Map<number, string> }> {
  const path = await directory();
  const journal = await opened(path);
  const states = new Map<number, string>([[0, '[]']]);
  for (let revision = 1; revision <= 60; revision++) {
    const name = `c${Math.floor(random() * 12)}`;
    const removed = random() < 0.2 ? [`configMap/default/c${Math.floor(random() * 12)}`] : [];
    await journal.apply({ epoch: 'e', revision, complete: revision === 1, items: removed.includes(`configMap/default/${name}`) ? [] : [configMap(name, revision, 'x'.repeat(Math.floor(random() * 20_000)))], removed });
    states.set(revision, contents(journal));
  }
  await journal.close();
  return { path, states };
}

const contents = (journal: Journal): string => JSON.stringify([...journal.items].sort(([a], [b]) => (a < b ? -1 : 1)));

test('any truncation leaves an earlier state, whole, which says its revision', async () => {
  const random = seeded(7).next;
  const { path, states } = await history(random);
  const bytes = await readFile(join(path, 'journal'));
  for (let i = 0; i < 60; i++) {
    const copy = await directory();
    const cut = Math.floor(bytes.length * (1 - random() ** 3));
    const junk = random() < 0.3 ? Buffer.alloc(Math.floor(random() * 9000)) : Buffer.alloc(0);
    await writeFile(join(copy, 'journal'), Buffer.concat([bytes.subarray(0, cut), junk]));
    const journal = await opened(copy);
    if (journal.held.epoch) assert.is(contents(journal), states.get(journal.held.revision), `cut at ${cut}`);
    await journal.apply({ epoch: 'e', revision: 100, complete: true, items: [configMap('z', 100)], removed: [] });
    await journal.close();
    const again = await opened(copy);
    assert.is(again.items.size, 1, 'what is written after healing is readable');
    assert.is(again.held.revision, 100);
    await again.close();
  }
});

test('flipped bits never make a state that was not, nor lose what the generation before still has', async () => {
  const random = seeded(11).next;
  const { path, states } = await history(random);
  for (let i = 0; i < 80; i++) {
    const copy = await directory();
    for (const name of ['journal', 'journal.old']) await copyFile(join(path, name), join(copy, name));
    const target = join(copy, random() < 0.8 ? 'journal' : 'journal.old');
    const bytes = await readFile(target);
    for (let flips = 0; flips < 1 + random() * 3; flips++) bytes[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8);
    await writeFile(target, bytes);
    const journal = await opened(copy);
    if (journal.held.epoch) assert.is(contents(journal), states.get(journal.held.revision));
    assert.ok(journal.items.size > 0, 'something is known still');
    const known = new Set([...states.values()].flatMap((text) => (JSON.parse(text) as unknown[]).map((entry) => JSON.stringify(entry))));
    for (const entry of journal.items) assert.ok(known.has(JSON.stringify(entry)), 'every item is one that was');
    await journal.close();
  }
});

test('items of a later version are passed over, and nothing else with them', async () => {
  const path = await directory();
  const later = (index: number): Item => ({ type: 'later', revision: 1, object: { metadata: { name: `l${index}`, namespace: 'default' } } }) as unknown as Item;
  let journal = await opened(path);
  for (let revision = 1; revision <= 20; revision++) await journal.apply({ epoch: 'e', revision, complete: revision === 1, items: [configMap(`c${revision}`, revision, 'x'), later(revision)], removed: ['later/default/l1'] });
  await journal.close();
  journal = await opened(path);
  assert.equal([journal.held, journal.items.size, journal.healed], [{ epoch: 'e', revision: 20 }, 20, false]);
  assert.ok([...journal.items.values()].every(({ type }) => type === 'configMap'));
  await journal.close();
});

test('garbage for a file is survived', async () => {
  const random = seeded(13).next;
  for (let i = 0; i < 40; i++) {
    const copy = await directory();
    await writeFile(join(copy, 'journal'), Buffer.from(Array.from({ length: Math.floor(random() * 300) }, () => Math.floor(random() * 256))));
    const journal = await opened(copy);
    assert.equal({ ...journal.held }, { epoch: '', revision: 0 });
    await journal.close();
  }
});

test('a crash between the steps of a compaction leaves one generation or the other', async () => {
  const { path, states } = await history(seeded(17).next);
  const whole = await readFile(join(path, 'journal'));
  for (const draft of [whole.subarray(0, 1000), whole]) {
    const copy = await directory();
    await writeFile(join(copy, 'journal'), whole);
    await writeFile(join(copy, 'journal.old.new'), whole);
    await writeFile(join(copy, 'journal.new'), draft);
    const journal = await opened(copy);
    assert.is(contents(journal), states.get(60));
    await journal.close();
    assert.ok(!(await readdir(copy)).includes('journal.new'));
  }
});

test('a disk that refuses makes nothing visible, and a later write goes through', async () => {
  const path = await directory();
  let full = false;
  const journal = await Journal.open({ directory: path, log: silentLog, beforeWrite: () => { if (full) throw new Error('ENOSPC'); } });
  await journal.apply({ epoch: 'e', revision: 1, complete: true, items: [configMap('a', 1)], removed: [] });
  full = true;
  for (const attempt of [journal.apply({ epoch: 'e', revision: 2, complete: false, items: [configMap('b', 2)], removed: [] }), journal.note('n', 1)]) {
    let why = '';
    await attempt.catch((error: Error) => { why = error.message; });
    assert.is(why, 'ENOSPC');
  }
  assert.is(journal.items.size, 1);
  assert.is(journal.held.revision, 1);
  full = false;
  await journal.apply({ epoch: 'e', revision: 2, complete: false, items: [configMap('c', 2)], removed: [] });
  await journal.close();
  const again = await opened(path);
  assert.equal([...again.items.keys()].sort(), ['configMap/default/a', 'configMap/default/c']);
  await again.close();
});

const noRoom = (): never => { throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }); };

test('a full disk: told once, nothing is rewritten, and what could not be kept is kept when there is room', async () => {
  const path = await directory();
  const told: (string | undefined)[] = [];
  let full = false;
  const journal = await Journal.open({ directory: path, log: silentLog, onTrouble: (error) => told.push(error?.message), beforeWrite: () => { if (full) noRoom(); } });
  await journal.apply({ epoch: 'e', revision: 1, complete: true, items: [configMap('a', 1, 'x'.repeat(50_000))], removed: [] });
  full = true;
  const before = journal.bytesWritten;
  for (let tries = 0; tries < 5; tries++) await journal.note('n', tries).catch(() => {});
  await journal.flush().catch(() => {});
  assert.equal(told, ['ENOSPC: no space left on device, write']);
  assert.is(journal.bytesWritten, before);
  full = false;
  await journal.flush();
  assert.is(told.at(-1), undefined);
  assert.ok(journal.bytesWritten - before < 200, 'the file is gone on with, not written anew');
  await journal.close();
  const again = await opened(path);
  assert.is(again.notes.get('n'), 4);
  assert.is(again.healed, false);
  await again.close();
});

test('flush finds out that there is room though nothing waits to be written', async () => {
  let full = false;
  const told: boolean[] = [];
  const journal = await Journal.open({ directory: await directory(), log: silentLog, onTrouble: (error) => told.push(error !== undefined), beforeWrite: () => { if (full) noRoom(); } });
  full = true;
  await journal.apply({ epoch: 'e', revision: 1, complete: true, items: [configMap('a', 1)], removed: [] }).catch(() => {});
  full = false;
  await journal.flush();
  assert.equal(told, [true, false]);
  await journal.close();
});

test('a state that was healed says so, until it is opened whole', async () => {
  const { path } = await history(seeded(19).next);
  const whole = await readFile(join(path, 'journal'));
  for (const bytes of [whole.subarray(0, whole.length - 3), Buffer.concat([whole, Buffer.from([0, 0, 9])])]) {
    await writeFile(join(path, 'journal'), bytes);
    const journal = await opened(path);
    assert.is(journal.healed, true);
    await journal.close();
    const again = await opened(path);
    assert.is(again.healed, false);
    await again.close();
  }
  const fresh = await opened(await directory());
  assert.is(fresh.healed, false);
  await fresh.close();
});

test('a lock from a process that is gone, or that makes no sense, is taken over', async () => {
  const path = await directory();
  for (const make of [() => symlink('999999:1:abc:def', join(path, 'lock')), () => symlink('nonsense', join(path, 'lock')), () => writeFile(join(path, 'lock'), '{"pid":1}')]) {
    await make();
    await (await opened(path)).close();
    assert.equal((await readdir(path)).filter((name) => name.startsWith('lock')), []);
  }
});

test('one process at a time has a directory, and a killed one does not keep it', async () => {
  const path = await directory();
  const journal = await opened(path);
  let why = '';
  await opened(path).catch((error: Error) => { why = error.message; });
  assert.match(why, /is in use by process \d+/);
  await journal.close();
  const child = fork(fileURLToPath(import.meta.url), ['hold', path], { stdio: 'ignore' });
  await once(child, 'message');
  await opened(path).catch((error: Error) => { why = error.message; });
  assert.match(why, new RegExp(`in use by process ${child.pid}`));
  child.kill('SIGKILL');
  await once(child, 'exit');
  await (await opened(path)).close();
});

test('kill -9 at any time loses nothing that was acknowledged', async () => {
  const path = await directory();
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), 'write', path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let acknowledged = 0;
    let text = '';
    child.stdout.on('data', (data: Buffer) => {
      text += String(data);
      const lines = text.split('\n');
      text = lines.pop()!;
      acknowledged = Number(lines.pop() ?? acknowledged);
      if (acknowledged % 1000 > 150 + round * 100) child.kill('SIGKILL');
    });
    await once(child, 'exit');
    const journal = await opened(path);
    assert.ok(journal.held.revision >= acknowledged, `${journal.held.revision} of ${acknowledged}`);
    assert.is(journal.items.get('configMap/default/last')?.revision, journal.held.revision);
    await journal.close();
  }
});

test.after(async () => {
  for (const path of made) await rm(path, { recursive: true, force: true });
});

async function child(what: string, path: string): Promise<void> {
  const journal = await opened(path);
  if (what === 'hold') {
    process.send?.('held');
    await new Promise((resolve) => { setTimeout(resolve, 60_000); });
  }
  const base = Math.ceil((journal.held.revision + 1) / 1000) * 1000;
  for (let revision = base; ; revision++) {
    await journal.apply({ epoch: 'e', revision, complete: revision === 1000, items: [configMap(`c${revision % 50}`, revision, 'x'.repeat(1000)), configMap('last', revision)], removed: [] });
    process.stdout.write(`${revision}\n`);
  }
}

if (process.argv[2] === 'hold' || process.argv[2] === 'write') {
  await mkdir(process.argv[3]!, { recursive: true });
  await child(process.argv[2], process.argv[3]!);
} else test.run();
