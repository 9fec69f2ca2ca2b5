import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HostResolverFiles } from '../../agent/host-resolver.ts';
import { SimulatedClock } from '../fakes/link.ts';

const test = suite('host-resolver');
let folder = '';
test.before.each(async () => { folder = await mkdtemp(join(tmpdir(), 'host-resolver-')); });
test.after.each(() => rm(folder, { recursive: true, force: true }));

const clock = new SimulatedClock();
const files = () => new HostResolverFiles({ clock, path: join(folder, 'resolv.conf'), upstreamPath: join(folder, 'upstream.conf') });
const write = (name: string, ...lines: string[]): Promise<void> => writeFile(join(folder, name), `${lines.join('\n')}\n`);

test('a resolver that pods reach is theirs too', async () => {
  await write('resolv.conf', 'nameserver 192.0.2.1', 'search lan');
  const { own, forPods } = await files().settings();
  assert.equal([own.servers, forPods], [['192.0.2.1'], own]);
});

test('one on loopback is not: those that it asks are', async () => {
  await write('resolv.conf', 'nameserver 127.0.0.53', 'search lan', 'options edns0');
  await write('upstream.conf', 'nameserver 192.0.2.7', 'nameserver 127.0.0.1');
  const { own, forPods } = await files().settings();
  assert.equal(own.servers, ['127.0.0.53']);
  assert.equal(forPods, { servers: ['192.0.2.7'], searches: ['lan'], options: ['edns0'] });
});

test('where that is not known, the others; a host without a file has none', async () => {
  assert.equal((await files().settings()).own.servers, []);
  await write('resolv.conf', 'nameserver 127.0.0.1', 'nameserver 192.0.2.9');
  assert.equal((await files().settings()).forPods.servers, ['192.0.2.9']);
});

test('a changed file is seen soon', async () => {
  await write('resolv.conf', 'nameserver 192.0.2.1');
  const made = files();
  assert.equal((await made.settings()).own.servers, ['192.0.2.1']);
  await write('resolv.conf', 'nameserver 192.0.2.2');
  assert.equal((await made.settings()).own.servers, ['192.0.2.1']);
  await clock.pass(6_000);
  assert.equal((await made.settings()).own.servers, ['192.0.2.2']);
});

test.run();
