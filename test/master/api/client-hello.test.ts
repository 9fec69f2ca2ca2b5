import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { connect, type ConnectionOptions } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { maxHelloBytes, readClientHello } from '../../../master/api/client-hello.ts';
import { seeded } from '../../property/random.ts';

const test = suite('client hello');

/** What OpenSSL says first. */
function helloOf(options: ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (bytes) => { socket.destroy(); server.close(); resolve(bytes); });
    });
    server.listen(0, '127.0.0.1', () => { connect({ ...options, host: '127.0.0.1', port: (server.address() as AddressInfo).port }).on('error', () => {}); });
  });
}

/** The same message in records of so many bytes. */
function fragmented(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

const agent = await helloOf({ servername: 'kubernetes.default.svc', ALPNProtocols: ['wherry', 'http/1.1'] });
const bare = await helloOf({ maxVersion: 'TLSv1.2' });
const told = { serverName: 'kubernetes.default.svc', protocols: ['wherry', 'http/1.1'] };

test('name and protocols, of TLS 1.3 and 1.2, with and without', async () => {
  assert.equal(readClientHello(agent), told);
  assert.equal(readClientHello(bare), { serverName: '', protocols: [] });
  assert.equal(readClientHello(await helloOf({ servername: 'a.example', ALPNProtocols: ['h2'], maxVersion: 'TLSv1.2' })), { serverName: 'a.example', protocols: ['h2'] });
});

test('in as many records as one likes, and with something behind it', () => {
  for (const size of [1, 3, 4, 5, 100, agent.length]) assert.equal(readClientHello(fragmented(agent, size)), told, `records of ${size} bytes`);
  assert.equal(readClientHello(Buffer.concat([agent, Buffer.from('more')])), told);
});

test('whatever is cut short waits for more', () => {
  for (const whole of [agent, fragmented(agent, 7)]) for (let length = 0; length < whole.length; length++) assert.is(readClientHello(whole.subarray(0, length)), 'more', `${length} bytes`);
});

test('what is something else is nothing', () => {
  for (const text of ['GET / HTTP/1.1\r\n\r\n', 'SSH-2.0-x', '\x16\x02\x00', '\x16\x03\x01\x00\x00', '\x16\x03\x01\x00\x04\x02\x00\x00\x00']) assert.is(readClientHello(Buffer.from(text, 'latin1')), undefined, JSON.stringify(text));
});

test('one that never ends is given up', () => {
  assert.is(readClientHello(Buffer.from([22, 3, 1, 64, 0, 1, 0xff, 0xff, 0xff])), undefined);
  const long = Buffer.alloc(maxHelloBytes);
  Buffer.from([22, 3, 1, 0xff, 0xff, 1, 0, 0x40, 0]).copy(long);
  assert.is(readClientHello(long), undefined);
});

test('lengths that lead out of the message are an error of it, not of ours: no bytes do harm', () => {
  let [whole, none, more] = [0, 0, 0];
  for (let seed = 0; seed < 20_000; seed++) {
    const random = seeded(seed);
    const bytes = Buffer.from(random.one([agent, bare, fragmented(agent, 50)]));
    const changes = 1 + random.below(4);
    // The head is left alone most of the time: changed, all else would go unread.
    for (let change = 0; change < changes; change++) bytes[random.chance(0.1) ? random.below(9) : 9 + random.below(bytes.length - 9)] = random.one([0, 1, 255, random.below(256)]);
    const read = readClientHello(random.chance(0.2) ? bytes.subarray(0, random.below(bytes.length)) : bytes);
    if (read === 'more') more++;
    else if (read === undefined) none++;
    else {
      whole++;
      assert.type(read.serverName, 'string');
      assert.ok(read.protocols.join('').length + read.serverName.length <= bytes.length);
    }
  }
  assert.ok(whole > 1000 && none > 1000 && more > 1000, `${whole} read, ${none} refused, ${more} cut short`);
});

test.run();
