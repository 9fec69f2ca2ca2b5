import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { LookupAddress } from 'node:dns';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { masterLookup, type AddressesOptions } from '../../../agent/session/addresses.ts';

const test = suite('addresses');
const directory = await mkdtemp(join(tmpdir(), 'addresses-'));
const hostsFile = join(directory, 'hosts');
await writeFile(hostsFile, '# 192.0.2.9 master.example\n192.0.2.7 Listed.example alias # comment\n');
test.after(() => rm(directory, { recursive: true, force: true }));

/** A name server that gives every name `answer`, says that there is none, or keeps silent. */
async function server(answer: readonly number[] | 'none' | 'silence'): Promise<{ address: string; socket: Socket }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.on('message', (query, { port, address }) => {
    if (answer === 'silence') return;
    const reply = Buffer.from(query);
    const question = query.subarray(0, query.indexOf(0, 12) + 5);
    const found = answer !== 'none' && question.readUInt16BE(question.length - 4) === 1;
    reply.writeUInt16BE(answer === 'none' ? 0x8183 : 0x8180, 2);
    const head = Buffer.from(question);
    head.writeUInt16BE(answer === 'none' ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(found ? 1 : 0, 6);
    head.writeUInt16BE(0, 8);
    head.writeUInt16BE(0, 10);
    const record = found ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...answer]) : Buffer.alloc(0);
    socket.send(Buffer.concat([head, record]), port, address);
  });
  return { address: `127.0.0.1:${(socket.address() as AddressInfo).port}`, socket };
}

const look = (name: string, options: AddressesOptions): Promise<string> => new Promise((resolve) => {
  masterLookup({ hostsFile, ...options })(name, { all: true }, (error, found) => resolve(error ? String(error.code) : (found as LookupAddress[]).map(({ address }) => address).join()));
});

test('a name server that answers is believed', async () => {
  const { address, socket } = await server([192, 0, 2, 1]);
  assert.is(await look('master.example', { servers: [address], last: () => '192.0.2.5' }), '192.0.2.1');
  socket.close();
});

test('one that is silent, or gone: where the master was last', async () => {
  const { address, socket } = await server('silence');
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
  const { address, socket } = await server('none');
  assert.match(await look('nobody.invalid', { servers: [address], last: () => undefined }), /ENOTFOUND|EAI_AGAIN/);
  socket.close();
});

test.run();
