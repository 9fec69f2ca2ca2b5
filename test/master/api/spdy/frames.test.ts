import { deflateSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  dataHead, goAwayFrame, pingFrame, rstStreamFrame, SpdyError, SpdyParser, synReplyFrame, synStreamFrame, type SpdyEvent,
} from '../../../../master/api/spdy/frames.ts';
import { dictionary, HeaderCodec } from '../../../../master/api/spdy/headers.ts';
import { seeded, type Random } from '../../../property/random.ts';

const test = suite('spdy frames');

/** Pieces of one data frame as one event. */
function joined(events: Iterable<SpdyEvent>): SpdyEvent[] {
  const result: SpdyEvent[] = [];
  let open: { id: number; parts: Uint8Array[] } | undefined;
  for (const event of events) {
    if (event.type !== 'data') { result.push(event); continue; }
    open = open?.id === event.id ? open : { id: event.id, parts: [] };
    open.parts.push(event.bytes);
    if (!event.fin) continue;
    result.push({ ...event, bytes: Buffer.concat(open.parts) });
    open = undefined;
  }
  return result;
}

function randomFrame(random: Random): { event: SpdyEvent; bytes: Buffer } {
  const id = 1 + random.below(2 ** 31 - 2);
  const payload = Buffer.from(random.many(300, () => random.below(256)));
  switch (random.below(6)) {
    case 0: return { event: { type: 'synStream', id, fin: true, block: payload }, bytes: synStreamFrame(id, payload, true) };
    case 1: return { event: { type: 'synReply', id, fin: false, block: payload }, bytes: synReplyFrame(id, payload) };
    case 2: return { event: { type: 'rstStream', id, code: 5 }, bytes: rstStreamFrame(id, 5) };
    case 3: return { event: { type: 'ping', id }, bytes: pingFrame(id) };
    case 4: return { event: { type: 'goAway' }, bytes: goAwayFrame(id, 0) };
    default: return { event: { type: 'data', id, bytes: payload, fin: true }, bytes: Buffer.concat([dataHead(id, payload.length, true), payload]) };
  }
}

test('frames come out as they went in, however they are cut', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = seeded(seed);
    const frames = random.many(10, () => randomFrame(random));
    const bytes = Buffer.concat(frames.map((frame) => frame.bytes));
    const parser = new SpdyParser();
    const events: SpdyEvent[] = [];
    for (let at = 0; at < bytes.length;) {
      const size = 1 + random.below(40);
      events.push(...parser.push(bytes.subarray(at, at + size)));
      at += size;
    }
    const plain = (list: readonly SpdyEvent[]): unknown => list.map((event) => ({ ...event, ...('block' in event ? { block: Buffer.from(event.block).toString('hex') } : {}), ...('bytes' in event ? { bytes: Buffer.from(event.bytes).toString('hex') } : {}) }));
    assert.equal(plain(joined(events)), plain(frames.map(({ event }) => event)), `seed ${seed}`);
  }
});

test('an empty data frame that ends a stream is seen though nothing follows', () => {
  assert.equal([...new SpdyParser().push(dataHead(5, 0, true))].map((event) => event.type === 'data' && event.fin), [true]);
});

test('what is no SPDY/3 is refused, what is unknown is passed over', () => {
  assert.throws(() => [...new SpdyParser().push(Buffer.from('GET / HTTP/1.1\r\n\r\n').map((byte, index) => (index === 0 ? byte | 0x80 : byte)))], (error: unknown) => error instanceof SpdyError);
  assert.throws(() => [...new SpdyParser().push(Buffer.from('8003000100ffffff', 'hex'))], /control frame of 16777215 bytes/);
  assert.throws(() => [...new SpdyParser().push(Buffer.from('800300030000000400000001', 'hex'))], /control frame of type 3 with 4 bytes/);
  assert.equal([...new SpdyParser().push(Buffer.concat([Buffer.from('800300040000000400000000', 'hex'), Buffer.from('8003004d00000000', 'hex'), pingFrame(1)]))], [{ type: 'ping', id: 1 }]);
});

test('no bytes crash the parser', () => {
  for (let seed = 0; seed < 500; seed++) {
    const random = seeded(seed);
    try {
      const parser = new SpdyParser();
      for (let n = 0; n < 20; n++) for (const event of parser.push(Buffer.from(random.many(60, () => (random.chance(0.3) ? random.one([0x80, 3, 0, 1, 8]) : random.below(256)))))) void event;
    } catch (error) {
      assert.instance(error, SpdyError);
    }
  }
});

test('headers survive packing, block after block in one context', async () => {
  const [client, server] = [new HeaderCodec(), new HeaderCodec()];
  for (let seed = 0; seed < 50; seed++) {
    const random = seeded(seed);
    const headers = new Map(random.many(8, () => [random.one(['streamtype', 'port', 'requestid', 'x', `name-${seed}`]), random.one(['data', 'error', '80', '', 'é'.repeat(random.below(500))])] as const));
    assert.equal([...await server.unpack(await client.pack(headers))], [...headers]);
  }
  client.close();
  server.close();
});

/** Zlib's checksum, which names the dictionary in a stream's first bytes. */
function adler32(bytes: Uint8Array): number {
  let [a, b] = [1, 0];
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return b * 65_536 + a;
}

test('the dictionary is SPDY/3\'s own', async () => {
  assert.is(dictionary.length, 1423);
  assert.is(adler32(dictionary).toString(16), 'e3c6a7c2');
  const codec = new HeaderCodec();
  assert.is((await codec.pack(new Map())).toString('hex', 2, 6), 'e3c6a7c2');
  codec.close();
});

test('what is no block is an error, not a crash', async () => {
  const codec = new HeaderCodec();
  let failure: unknown;
  await codec.unpack(Buffer.from('no zlib at all')).catch((error: unknown) => { failure = error; });
  assert.instance(failure, SpdyError);
  codec.close();
});

test('a block that unpacks to too much is refused', async () => {
  const codec = new HeaderCodec();
  let failure: unknown;
  await codec.unpack(deflateSync(Buffer.alloc(3_000_000), { dictionary })).catch((error: unknown) => { failure = error; });
  assert.instance(failure, SpdyError);
  assert.match((failure as Error).message, /more than 65536 bytes/);
  codec.close();
});

test.run();
