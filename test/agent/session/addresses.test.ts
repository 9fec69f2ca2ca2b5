import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { LookupAddress } from 'node:dns';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { masterLookup, type AddressesOptions } from '../../../agent/session/addresses.ts';
import { nameServer } from '../../fakes/name-server.ts';

const test = suite('addresses');
const directory = await mkdtemp(join(tmpdir(), 'addresses-'));
const hostsFile = join(directory, 'hosts');
await writeFile(hostsFile, '# 192.0.2.9 master.example\n192.0.2.7 Listed.example alias # comment\n');
test.after(() => rm(directory, { recursive: true, force: true }));

const look = (name: string, options: AddressesOptions): Promise<string> => new Promise((resolve) => {
  masterLookup({ hostsFile, ...options })(name, { all: true }, (error, found) => resolve(error ? String(error.code) : (found as LookupAddress[]).map(({ address }) => address).join()));
});

test('a name server that answers is believed', async () => {
  const { address, socket } = await nameServer([192, 0, 2, 1]);
  assert.is(await look('master.example', { servers: [address], last: () => '192.0.2.5' }), '192.0.2.1');
  socket.close();
});

test('one that is silent, or gone: where the master was last', async () => {
  const { address, socket } = await nameServer('silence');
  const began = performance.now();
  assert.is(await look('master.example', { servers: [address], last: (name) => (name === 'master.example' ? '192.0.2.5' : undefined) }), '192.0.2.5');
  assert.ok(performance.now() - began < 15_000);
  socket.close();
  assert.is(await look('master.example', { servers: ['127.0.0.1:1'], last: () => '192.0.2.5' }), '192.0.2.5');
});

test('/etc/hosts comes first', async () => {
  assert.is(await look('listed.example', { servers: ['127.0.0.1:1'], last: () => undefined }), '192.0.2.7');
  assert.is(await look('alias', { servers: ['127.0.0.1:1'], last: () => undefined }), '192.0.2.7');
});

test('a name that nobody knows is an error, also for the system', async () => {
  const { address, socket } = await nameServer('none');
  assert.match(await look('nobody.invalid', { servers: [address], last: () => undefined }), /ENOTFOUND|EAI_AGAIN/);
  socket.close();
});

test.run();
