import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { headBytes, putHead, unmask, WireReader } from '../../shared/wire.ts';
import { seeded, type Random } from '../property/random.ts';

const test = suite('wire');

const bytesOf = (random: Random, length: number): Buffer => Buffer.from(Array.from({ length }, () => random.below(256)));

function frame(payload: Buffer, mask: Buffer | undefined, kind = 0x82): Buffer {
  const wire = Buffer.alloc(headBytes(payload.length, mask !== undefined) + payload.length);
  putHead(wire, 0, payload.length, mask !== undefined, kind);
  const start = wire.length - payload.length;
  for (const [at, byte] of payload.entries()) wire[start + at] = byte ^ (mask ? mask[at & 3]! : 0);
  if (mask) mask.copy(wire, start - 4);
  return wire;
}

test('a mask comes off at every length and place', () => {
  const random = seeded(1);
  for (let place = 0; place < 9; place++) {
    for (let length = 0; length < 40; length++) {
      const [plain, mask] = [bytesOf(random, length), bytesOf(random, 4)];
      const memory = Buffer.concat([Buffer.alloc(place), Buffer.from(plain.map((byte, at) => byte ^ mask[at & 3]!)), Buffer.alloc(3)]);
      unmask(memory.subarray(place, place + length), mask);
      assert.ok(memory.equals(Buffer.concat([Buffer.alloc(place), plain, Buffer.alloc(3)])), `${length} bytes at ${place}`);
    }
  }
});

/** Feeds a connection's bytes in random pieces, from a buffer that is written over each time. */
function feed(random: Random, wire: Buffer, masked: boolean): { messages: Buffer[]; other: Buffer } {
  const messages: Buffer[] = [];
  const other: Buffer[] = [];
  const reader = new WireReader({ masked, message: (bytes) => messages.push(Buffer.from(bytes)), other: (bytes) => other.push(bytes) });
  const most = random.one([1, 3, 20, 1000, 70_000]);
  for (let at = 0; at < wire.length;) {
    const chunk = Buffer.from(wire.subarray(at, at + 1 + random.below(most)));
    at += chunk.length;
    reader.push(chunk);
    chunk.fill(0xee);
  }
  return { messages, other: Buffer.concat(other) };
}

test('however the bytes are cut, plain messages come out whole, and what is none goes to the other parser as it came', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed);
    const masked = random.chance(0.5);
    const mask = (): Buffer | undefined => (masked ? random.chance(0.3) ? Buffer.alloc(4) : bytesOf(random, 4) : undefined);
    const wire: Buffer[] = [];
    const [messages, other]: [Buffer[], Buffer[]] = [[], []];
    for (let count = random.below(12); count > 0; count--) {
      if (random.chance(0.3)) {
        const ping = frame(bytesOf(random, random.below(126)), mask(), random.one([0x88, 0x89, 0x8a]));
        other.push(ping);
        wire.push(ping);
      } else {
        const payload = bytesOf(random, random.one([0, 1, 125, 126, 127, 3000, random.chance(0.1) ? 66_000 : 9]));
        messages.push(payload);
        wire.push(frame(payload, mask()));
      }
    }
    // From the first of what is neither on, the other parser has everything.
    if (random.chance(0.3)) {
      const odd = Buffer.concat([frame(Buffer.from('half'), mask(), random.one([0x02, 0x01, 0x81, 0xc2])), frame(Buffer.from('more'), mask())]);
      other.push(odd);
      wire.push(odd);
    }
    const got = feed(random, Buffer.concat(wire), masked);
    assert.is(got.messages.length, messages.length, `seed ${seed}`);
    assert.ok(got.messages.every((bytes, i) => bytes.equals(messages[i]!)), `seed ${seed}`);
    assert.ok(got.other.equals(Buffer.concat(other)), `seed ${seed}`);
  }
});

test('a message that is masked the wrong way, or far too long, is for the other parser to refuse', () => {
  for (const [wire, masked] of [[frame(Buffer.from('x'), undefined), true], [frame(Buffer.from('x'), Buffer.of(1, 2, 3, 4)), false]] as const) {
    const { messages, other } = feed(seeded(1), wire, masked);
    assert.is(messages.length, 0);
    assert.ok(other.equals(wire));
  }
  const head = Buffer.alloc(10);
  putHead(head, 0, 2 ** 40, false);
  assert.ok(feed(seeded(1), head, false).other.equals(head));
});

test.run();
