import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../shared/clock.ts';
import { kinds } from '../../shared/kinds/index.ts';
import { configMaps } from '../../shared/kinds/configmap.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { AccountKeys } from '../../master/account-key.ts';
import { backupMaster, restoreMaster } from '../../master/backup.ts';
import { openPki } from '../../master/pki.ts';
import { Registry } from '../../master/registry/registry.ts';
import { openLmdbStore } from '../../master/store/lmdb.ts';
import type { Store } from '../../master/store/store.ts';
import { StaticTokens } from '../../master/tokens.ts';
import { enrolled, startAgent, temporaryDirectories } from '../fakes/tls-agent.ts';
import { startTlsMaster, until } from '../fakes/tls-master.ts';

const test = suite('backup and restore');
const { directory, cleanUp } = temporaryDirectories('backup-');

async function makeData(): Promise<{ readonly base: string; readonly dataDir: string; readonly store: Store; readonly registry: Registry }> {
  const base = await directory();
  const dataDir = join(base, 'master');
  await mkdir(dataDir);
  await openPki(join(dataDir, 'pki'), ['localhost']);
  await StaticTokens.open(dataDir);
  await (await AccountKeys.open(join(dataDir, 'pki'), systemClock)).rotate(1000);
  const store = await openLmdbStore({ directory: join(dataDir, 'store') });
  const registry = new Registry({ store, clock: systemClock, random: Math.random, kinds, allocators: [] });
  for (const name of ['default', 'kube-node-lease']) await registry.create(namespaces, '', { metadata: { name } });
  return { base, dataDir, store, registry };
}

const failure = (made: Promise<unknown>): Promise<string> => made.then(() => '', (error: Error) => error.message);

test('a backup of a store in use is one committed state, with keys and tokens; restored, it has another epoch', async () => {
  const { base, dataDir, store, registry } = await makeData();
  let stop = false;
  const writing = (async () => { for (let i = 0; !stop; i++) await registry.create(configMaps, 'default', { metadata: { name: `c${i}` } }); })();
  while (store.revision < 20) await new Promise((resolve) => { setTimeout(resolve, 2); });
  const target = join(base, 'saved', 'monday');
  const made = await backupMaster({ dataDir, store, version: 'v', nowMs: 0 }, target);
  stop = true;
  await writing;
  assert.ok(made.revision >= 20 && made.revision <= store.revision);
  assert.equal((await readdir(target)).sort(), ['backup.json', 'pki', 'store', 'tokens.csv']);
  assert.equal(await readdir(join(target, 'store')), ['data.mdb']);
  for (const [path, mode] of [['', 0o700], ['pki', 0o700], ['pki/ca.key', 0o600], ['tokens.csv', 0o600], ['store/data.mdb', 0o600]] as const) {
    assert.is((await stat(join(target, path))).mode & 0o777, mode, path);
  }
  assert.match(await failure(backupMaster({ dataDir, store, version: 'v', nowMs: 0 }, target)), /saved\/monday is not empty, and nothing is overwritten/);
  assert.match(await failure(restoreMaster(target, dataDir)), /master is not empty, and nothing is overwritten/);
  await store.close();

  const [first, second] = [join(base, 'first'), join(base, 'second')];
  await mkdir(first);
  for (const to of [first, second]) {
    assert.equal(await restoreMaster(target, to), made);
    for (const name of ['pki/ca.key', 'pki/ca.crt', 'pki/server.key', 'pki/admin.crt', 'pki/sa.key', 'pki/sa-previous.json', 'tokens.csv']) {
      assert.is(await readFile(join(to, name), 'utf8'), await readFile(join(dataDir, name), 'utf8'), name);
    }
  }
  const stores = await Promise.all([first, second].map((path) => openLmdbStore({ directory: join(path, 'store') })));
  assert.is(new Set([store.epoch, made.epoch, ...stores.map(({ epoch }) => epoch)]).size, 4, 'four databases, four epochs');
  for (const restored of stores) {
    assert.is(restored.revision, made.revision);
    // Namespaces, and then one config map per revision: whole and without a gap.
    assert.is([...restored.range('')].filter(({ key }) => key.includes('configmap')).length, made.revision - 2);
    await restored.close();
  }
  assert.equal((await readdir(base)).sort(), ['first', 'master', 'saved', 'second'], 'nothing half done is left');
});

test('what is no whole backup is refused in one line, and leaves nothing', async () => {
  const { base, dataDir, store } = await makeData();
  const target = join(base, 'saved');
  await backupMaster({ dataDir, store, version: 'v', nowMs: 0 }, target);
  await store.close();
  const to = join(base, 'to');
  assert.match(await failure(restoreMaster(join(base, 'nowhere'), to)), /nowhere is no backup of a master: there is no [^\n]*\/nowhere\/backup\.json$/);
  const manifest = await readFile(join(target, 'backup.json'), 'utf8');
  await writeFile(join(target, 'backup.json'), manifest.replace('"format": 1', '"format": 2'));
  assert.match(await failure(restoreMaster(target, to)), /not of a backup that this version reads/);
  await writeFile(join(target, 'backup.json'), manifest);
  await truncate(join(target, 'store', 'data.mdb'), 10_000);
  assert.match(await failure(restoreMaster(target, to)), /to: .*data\.mdb/);
  assert.equal((await readdir(base)).sort(), ['master', 'saved']);
  const { size } = await stat(join(base, 'master', 'pki', 'ca.key'));
  await rm(join(dataDir, 'tokens.csv'));
  const again = await openLmdbStore({ directory: join(dataDir, 'store') });
  assert.match(await failure(backupMaster({ dataDir, store: again, version: 'v', nowMs: 0 }, join(base, 'next'))), /next: .*tokens\.csv/);
  await again.close();
  assert.ok(size > 0 && !(await readdir(base)).some((name) => name.startsWith('next')));
});

const pod = (name: string): object => ({ metadata: { name }, spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i', envFrom: [{ configMapRef: { name: 'settings' } }] }] } });

test('an agent that holds later revisions of the time before converges, and its unchanged pods are left alone', async () => {
  const { base, dataDir, store, registry } = await makeData();
  await registry.create(configMaps, 'default', { metadata: { name: 'settings' }, data: { a: '1' } });
  for (const name of ['web', 'old']) await registry.create(pods, 'default', pod(name));
  const pki = await openPki(join(dataDir, 'pki'), ['127.0.0.1', 'kubernetes.default.svc']);
  // Certificates live for 6 s, so that the agent has one that is newer than the backup.
  const before = await startTlsMaster({ store, pki, certificateMs: 6000 });
  const { path } = await enrolled(directory, before);
  let agent = await startAgent(path, before.url, { random: () => 0 });
  const { state } = agent;
  await until('it has what is its', () => state.items.size === 3);
  const target = join(base, 'saved');
  const made = await backupMaster({ dataDir, store, version: 'v', nowMs: 0 }, target);
  // What comes after the backup is lost with the disk.
  await registry.create(pods, 'default', pod('later'));
  await registry.delete(pods, 'default', 'old', { gracePeriodSeconds: 0 });
  await registry.modify(configMaps, 'default', 'settings', (current) => Object.assign(current, { data: { a: '2' } }));
  for (let i = 0; i < 50; i++) await registry.create(configMaps, 'default', { metadata: { name: `more-${i}` } });
  await until('it follows', () => state.items.has('pod/default/later') && !state.items.has('pod/default/old') && state.held.revision > made.revision);
  await until('its certificate is renewed', () => agent.lines.some(({ message }) => message === 'certificate renewed'));
  const web = state.items.get('pod/default/web');
  const held = state.held;
  await agent.stop();
  await before.stop();
  await store.close();

  const restoredDir = join(base, 'restored');
  await restoreMaster(target, restoredDir);
  const restored = await openLmdbStore({ directory: join(restoredDir, 'store') });
  const after = await startTlsMaster({ store: restored, pki: await openPki(join(restoredDir, 'pki'), ['127.0.0.1', 'kubernetes.default.svc']) });
  agent = await startAgent(path, after.url, { state });
  await until('it holds what the backup says', () => !state.items.has('pod/default/later') && state.items.has('pod/default/old'));
  assert.is.not(state.held.epoch, held.epoch);
  assert.ok(state.held.revision < held.revision, 'the newer revision of another time counts for nothing');
  assert.equal(state.items.get('pod/default/web'), web, 'to the byte what was held: nothing for a pod worker to do');
  assert.match(JSON.stringify(state.items.get('configMap/default/settings')), /"a":"1"/);
  assert.is(agent.lines.filter(({ level }) => level === 'warn').length, 0, 'its certificate, newer than the backup, is taken');
  await agent.stop();
  await after.stop();
  await restored.close();
});

test.after(cleanUp);

test.run();
