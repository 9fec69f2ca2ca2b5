import { Writable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PacedWriter } from '../../shared/paced-writer.ts';
import { WireReader } from '../../shared/wire.ts';
import { seeded } from '../property/random.ts';

const test = suite('paced writer');

/** A connection that takes what it is given one write after the other, when told to. */
class Slow extends Writable {
  readonly got: Buffer[] = [];
  #done: (() => void) | undefined;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.got.push(Buffer.from(chunk));
    this.#done = done;
  }

  go(): void {
    const done = this.#done;
    this.#done = undefined;
    done?.();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

test('every byte arrives once and in order, and no more waits than a little above the mark', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seeded(seed);
    const slow = new Slow();
    const writer = new PacedWriter(slow);
    const sent: Buffer[] = [];
    const scratch = Buffer.alloc(100_000);
    let over = false;
    const work = (async () => {
      for (let count = 0; count < 60; count++) {
        const size = random.chance(0.1) ? random.below(100_000) : random.below(16_500);
        const bytes = scratch.subarray(0, size).fill(count + 1);
        sent.push(Buffer.from(bytes));
        await writer.write([bytes.subarray(0, size >> 1), bytes.subarray(size >> 1)]);
        // The bytes are the caller's again.
        scratch.fill(0);
        assert.ok(slow.writableLength <= 128 * 1024 + 100_000, `${slow.writableLength}`);
      }
      writer.flush();
      over = true;
    })();
    while (!over || slow.writableLength > 0) {
      if (random.chance(0.7)) slow.go();
      await turn();
    }
    await work;
    assert.ok(Buffer.concat(slow.got).equals(Buffer.concat(sent)), `seed ${seed}`);
  }
});

test('what comes during a write leaves in one piece after it', async () => {
  const slow = new Slow();
  const writer = new PacedWriter(slow);
  for (let count = 0; count < 10; count++) void writer.message([Buffer.from('12345')]);
  assert.equal(slow.got.map(({ length }) => length), [7]);
  slow.go();
  await turn();
  assert.equal(slow.got.map(({ length }) => length), [7, 63]);
});

test('pieces of a sequence join while they wait, in order and with their heads right', async () => {
  let joined = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed);
    const slow = new Slow();
    const writer = new PacedWriter(slow);
    const sent = new Map<number, Buffer[]>();
    const grow = (head: Buffer, count: number): void => { head.writeUInt32BE(count, 1); };
    let pieces = 0;
    for (let count = 0; count < 80; count++) {
      const key = random.below(3);
      const bytes = Buffer.alloc(1 + random.below(random.chance(0.5) ? 300 : 17_000), random.below(256));
      const head = Buffer.of(key, 0, 0, 0, 0);
      grow(head, bytes.length);
      sent.set(key, [...sent.get(key) ?? [], bytes]);
      pieces++;
      if (random.chance(0.1)) void writer.message([Buffer.of(9)]);
      const held = writer.piece({ key, head, bytes, grow }, true);
      while (held && slow.writableLength > 60_000) { slow.go(); await turn(); }
    }
    writer.flush();
    while (slow.writableLength > 0) { slow.go(); await turn(); }
    const got = new Map<number, Buffer[]>();
    const reader = new WireReader({ masked: false, other: () => assert.unreachable(), message: (bytes) => {
      const message = Buffer.from(bytes);
      if (message[0] === 9) return;
      assert.is(message.readUInt32BE(1), message.length - 5, `seed ${seed}`);
      pieces--;
      got.set(message[0]!, [...got.get(message[0]!) ?? [], message.subarray(5)]);
    } });
    reader.push(Buffer.concat(slow.got));
    for (const [key, bytes] of sent) assert.ok(Buffer.concat(bytes).equals(Buffer.concat(got.get(key) ?? [])), `seed ${seed}`);
    joined += pieces;
  }
  assert.ok(joined > 100, `${joined} pieces joined`);
});

test('a writer that waits is told when the connection is gone', async () => {
  const slow = new Slow();
  slow.on('error', () => {});
  const writer = new PacedWriter(slow);
  let held: Promise<void> | undefined;
  while (!held) held = writer.write([Buffer.alloc(10_000)]);
  slow.destroy(new Error('gone'));
  await held;
  assert.is(writer.write([Buffer.alloc(10)]), undefined);
});

test.run();
