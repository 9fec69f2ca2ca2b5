import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { channels, FrameReader, maxWhole, readSize, resizeFrame, streamFrame } from '../../shared/stream-frames.ts';
import { ProtocolError } from '../../shared/protocol.ts';
import { seeded } from '../property/random.ts';

const test = suite('stream frames');

test('frames come out as they went in, however they are cut', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = seeded(seed);
    const sent = random.many(12, () => ({ channel: random.one([0, 1, 2, 3, 4, 255]), text: 'x'.repeat(random.below(random.chance(0.3) ? 3 : 400)) }));
    const bytes = Buffer.concat(sent.map(({ channel, text }) => streamFrame(channel, Buffer.from(text))));
    const reader = new FrameReader();
    const got = new Map<number, string>();
    let whole = 0;
    let empty = 0;
    for (let at = 0; at < bytes.length;) {
      const size = 1 + random.below(50);
      for (const { channel, bytes: piece } of reader.push(bytes.subarray(at, at + size))) {
        got.set(channel, (got.get(channel) ?? '') + Buffer.from(piece).toString());
        if (channel > 2) whole++;
        if (piece.length === 0) empty++;
      }
      at += size;
    }
    for (const channel of [0, 1, 2, 3, 4, 255]) {
      assert.is(got.get(channel) ?? '', sent.filter((frame) => frame.channel === channel).map(({ text }) => text).join(''), `seed ${seed}`);
    }
    assert.is(whole, sent.filter(({ channel }) => channel > 2).length, `seed ${seed}`);
    assert.is(empty, sent.filter(({ text }) => text === '').length, `seed ${seed}`);
    assert.ok(reader.idle);
  }
});

test('a frame that has to be kept has a limit', () => {
  const head = (channel: number, length: number): Buffer => { const bytes = Buffer.alloc(5); bytes[0] = channel; bytes.writeUInt32BE(length, 1); return bytes; };
  assert.throws(() => [...new FrameReader().push(head(channels.status, maxWhole + 1))], (error: unknown) => error instanceof ProtocolError);
  assert.equal([...new FrameReader().push(head(channels.stdout, 2 ** 32 - 1))], []);
});

test('terminal sizes', () => {
  const [piece] = new FrameReader().push(resizeFrame({ width: 300, height: 24 }));
  assert.is(piece?.channel, channels.resize);
  assert.equal(readSize(piece!.bytes), { width: 300, height: 24 });
  assert.is(readSize(Buffer.from('80')), undefined);
});

test.run();
