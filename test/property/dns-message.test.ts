import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeDns, emptyMessage, encodeDns, type DnsMessage, type DnsQuestion, type DnsRecord } from '../../agent/net/dns-message.ts';
import { FormatError, nameWire, readName } from '../../agent/net/dns-name.ts';
import { seeded, type Random } from './random.ts';

const test = suite('dns messages, properties');
const rounds = 600;

/** Labels of all sorts: usual ones, and ones with dots, backslashes, digits after them, and any bytes. */
function label(random: Random): string {
  if (random.chance(0.7)) return random.one(['web', 'default', 'svc', 'cluster', 'local', '_http', 'Web', 'a-1']);
  const bytes = Buffer.from(Array.from({ length: 1 + random.below(20) }, () => (random.chance(0.5) ? random.one([0x2e, 0x5c, 0x31, 0x61]) : random.below(256))));
  return readName(Buffer.concat([Buffer.from([bytes.length]), bytes, Buffer.alloc(1)]), 0).name;
}

const name = (random: Random): string => random.many(6, () => label(random)).join('.');
const bytesOf = (random: Random, length: number): Buffer => Buffer.from(Array.from({ length }, () => random.below(256)));

function data(random: Random, type: number): Buffer {
  switch (type) {
    case 2: case 5: case 12: case 39: return nameWire(name(random));
    case 15: return Buffer.concat([bytesOf(random, 2), nameWire(name(random))]);
    case 33: return Buffer.concat([bytesOf(random, 6), nameWire(name(random))]);
    case 6: return Buffer.concat([nameWire(name(random)), nameWire(name(random)), bytesOf(random, 20)]);
    default: return bytesOf(random, random.below(40));
  }
}

function record(random: Random): DnsRecord {
  const type = random.one([1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 64, 257, 65_000]);
  return { name: name(random), type, class: random.one([1, 3, 255]), ttl: random.below(2 ** 32), data: data(random, type) };
}

const question = (random: Random): DnsQuestion => ({ name: name(random), type: random.below(65_536), class: random.below(65_536) });

function message(random: Random): DnsMessage {
  const flag = (): boolean => random.chance(0.5);
  const edns = flag() ? { udpSize: random.below(65_536), version: random.below(256), dnssecOk: flag(), options: bytesOf(random, random.below(20)) } : undefined;
  return {
    id: random.below(65_536), response: flag(), opcode: random.below(16), authoritative: flag(), truncated: flag(), recursionDesired: flag(), recursionAvailable: flag(),
    authenticData: flag(), checkingDisabled: flag(), rcode: random.below(edns ? 4096 : 16), edns,
    questions: random.many(2, () => question(random)), answers: random.many(5, () => record(random)), authorities: random.many(3, () => record(random)), additionals: random.many(3, () => record(random)),
  };
}

/** Buffers compare by their bytes. */
const plain = (value: DnsMessage): unknown => JSON.parse(JSON.stringify(value, (_key, inner: unknown) => (inner instanceof Uint8Array ? Buffer.from(inner).toString('hex') : inner)));
const comparable = (made: DnsMessage): unknown => {
  const hex = (records: readonly DnsRecord[]): unknown[] => records.map((one) => ({ ...one, data: Buffer.from(one.data).toString('hex') }));
  return plain({ ...made, answers: hex(made.answers) as never, authorities: hex(made.authorities) as never, additionals: hex(made.additionals) as never, edns: made.edns && { ...made.edns, options: Buffer.from(made.edns.options).toString('hex') as never } });
};

test('decode(encode(x)) = x', () => {
  for (let seed = 1; seed <= rounds; seed++) {
    const made = message(seeded(seed));
    assert.equal(comparable(decodeDns(encodeDns(made))), comparable(made), `seed ${seed}`);
  }
});

test('no answer is longer than asked for, and what is left of it is its beginning', () => {
  for (let seed = 1; seed <= rounds; seed++) {
    const random = seeded(seed);
    const made = { ...message(random), questions: [{ name: 'web.default.svc.cluster.local', type: 1, class: 1 }], truncated: false };
    const limit = 128 + random.below(1000);
    const bytes = encodeDns(made, limit);
    assert.ok(bytes.length <= limit, `seed ${seed}: ${bytes.length} > ${limit}`);
    const found = decodeDns(bytes);
    const cut = found.answers.length < made.answers.length || found.authorities.length < made.authorities.length;
    assert.is(found.truncated, cut, `seed ${seed}`);
    assert.equal(comparable({ ...emptyMessage, answers: found.answers }), comparable({ ...emptyMessage, answers: made.answers.slice(0, found.answers.length) }), `seed ${seed}`);
    assert.is(found.edns?.udpSize, made.edns?.udpSize);
  }
});

function decodes(bytes: Buffer, what: string): void {
  try {
    decodeDns(bytes);
  } catch (error) {
    if (!(error instanceof FormatError)) throw new Error(`${what}: ${bytes.toString('hex')}`, { cause: error });
  }
}

test('no bytes do anything but decode or be refused', () => {
  for (let seed = 1; seed <= rounds; seed++) {
    const random = seeded(seed);
    decodes(bytesOf(random, random.below(80)), `random bytes, seed ${seed}`);
    const good = encodeDns(message(random));
    const bad = Buffer.from(good);
    for (let i = 0; i <= random.below(6); i++) bad[random.below(bad.length)] = random.one([0, 255, 0xc0, random.below(256)]);
    decodes(bad, `changed bytes, seed ${seed}`);
    decodes(good.subarray(0, random.below(good.length + 1)), `cut off, seed ${seed}`);
  }
});

test('names that point at themselves, at each other or far on end', () => {
  const header = Buffer.from('000001000001000000000000', 'hex');
  for (const hex of ['c00c', 'c00e00c00c', '01610161c00c', 'ffff', '3f61', '40', '80', 'c0']) {
    assert.throws(() => decodeDns(Buffer.concat([header, Buffer.from(hex, 'hex'), Buffer.from('00010001', 'hex')])), (error: unknown) => error instanceof FormatError, hex);
  }
  for (const bad of ['.', 'a..b', '.a', 'a.', 'x'.repeat(64), Array.from({ length: 130 }, () => 'a').join('.')]) assert.throws(() => nameWire(bad), (error: unknown) => error instanceof FormatError, bad);
});

test('a chain of pointers is not followed again and again', () => {
  // Each pointer leads to the one before it, and each of ten thousand questions to the last: by itself, every step is allowed.
  const bytes = Buffer.alloc(65_535);
  bytes.writeUInt16BE(10_000, 4);
  let last = 12;
  for (let at = 17; at < bytes.length; at += 2) {
    bytes.writeUInt16BE(0xc000 | last, at);
    if (at < 0x3fff) last = at;
  }
  assert.throws(() => decodeDns(bytes), /name of too many pointers/);
});

test.run();
