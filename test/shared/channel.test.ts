import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Channel, streamWindow } from '../../shared/channel.ts';
import type { ByteStream } from '../../shared/byte-stream.ts';
import { ProtocolError } from '../../shared/protocol.ts';
import { seeded, type Random } from '../property/random.ts';

const test = suite('channel');

/** A connection in memory that delivers frames when told to, and counts what each stream has under way. */
class Pipe {
  readonly master: Channel;
  readonly agent: Channel;
  readonly #queues: Record<'master' | 'agent', { frame: Uint8Array; sent: (() => void) | undefined }[]> = { master: [], agent: [] };
  /** Bytes sent minus credit given, by direction and stream. */
  readonly outstanding = new Map<string, number>();
  worst = 0;

  /** `batched`: several frames are sent at once, as over a WebSocket. */
  constructor(batched = false) {
    this.master = this.#channel('master', batched);
    this.agent = this.#channel('agent', batched);
  }

  #channel(side: 'master' | 'agent', batched: boolean): Channel {
    const send = (frame: Uint8Array, sent?: () => void): void => { this.#watch(side, frame); this.#queues[side].push({ frame, sent }); };
    return new Channel({
      side, send,
      bufferedBytes: () => this.#queues[side].reduce((sum, { frame }) => sum + frame.length, 0),
      ...(batched ? { batches: { headBytes: () => 4, putHead: (to: Buffer, at: number, length: number) => { to.writeUInt32BE(length, at); }, send: (batch: Uint8Array, sent: () => void) => sendFrames(Buffer.from(batch), send, sent) } } : {}),
    });
  }

  #watch(side: 'master' | 'agent', frame: Uint8Array): void {
    const id = Buffer.from(frame).readUInt32BE(1);
    const other = side === 'master' ? 'agent' : 'master';
    const add = (key: string, by: number): void => { this.outstanding.set(key, (this.outstanding.get(key) ?? 0) + by); };
    if (frame[0] === 1) add(`${side}/${id}`, frame.length - 5);
    if (frame[0] === 2) add(`${other}/${id}`, -Buffer.from(frame).readUInt32BE(5));
    this.worst = Math.max(this.worst, ...this.outstanding.values());
  }

  /** Delivers one frame of a side; false if there is none. */
  deliver(side: 'master' | 'agent'): boolean {
    const next = this.#queues[side].shift();
    if (!next) return false;
    (side === 'master' ? this.agent : this.master).receive(Uint8Array.from(next.frame));
    next.sent?.();
    return true;
  }

  async drain(): Promise<void> {
    for (let idle = 0; idle < 3;) {
      const moved = [this.deliver('master'), this.deliver('agent')].some(Boolean);
      await new Promise((resolve) => { setImmediate(resolve); });
      idle = moved ? 0 : idle + 1;
    }
  }
}

/** Takes a batch apart again; its last frame says that it has left, once all have. */
function sendFrames(batch: Buffer, send: (frame: Uint8Array, sent?: () => void) => void, sent: () => void): void {
  for (let at = 0; at < batch.length;) {
    const end = at + 4 + batch.readUInt32BE(at);
    assert.ok(Math.floor(at / 16_384) === Math.floor((end - 1) / 16_384) || end - at < 1024 || at % 16_384 > 15_000, 'a frame is in one TLS record');
    send(batch.subarray(at + 4, end), end === batch.length ? sent : undefined);
    at = end;
  }
}

/** The same as {@link readAll} with a sink that now and then asks to wait, and whose bytes are overwritten after it has seen them. */
async function flowAll(stream: ByteStream, random: Random): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  await stream.flow((bytes) => {
    chunks.push(Buffer.from(bytes));
    return random.chance(0.3) ? new Promise((resolve) => { setImmediate(resolve); }) : undefined;
  });
  return Buffer.concat(chunks);
}

/** The same as {@link writeAll} from one buffer that is written over each time. */
async function passAll(stream: ByteStream, data: Buffer, random: Random): Promise<void> {
  const scratch = Buffer.alloc(20_000);
  for (let at = 0; at < data.length;) {
    const size = Math.min(data.length - at, 1 + random.below(random.chance(0.1) ? 20_000 : 3000));
    data.copy(scratch, 0, at, at + size);
    await stream.pass(scratch.subarray(0, size));
    scratch.fill(0xee);
    at += size;
  }
  stream.end();
}

async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const bytes of stream) chunks.push(bytes);
  return Buffer.concat(chunks);
}

async function writeAll(stream: ByteStream, data: Buffer, random: Random): Promise<void> {
  for (let at = 0; at < data.length;) {
    const size = 1 + random.below(random.chance(0.1) ? 100_000 : 3000);
    await stream.write(data.subarray(at, at + size));
    at += size;
  }
  stream.end();
}

const bytesOf = (random: Random, max: number): Buffer => Buffer.alloc(random.below(max), String(random.next()));

test('any interleaving of many streams delivers every byte once and in order, within the credit', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed);
    const pipe = new Pipe(seed % 2 === 0);
    const work: Promise<void>[] = [];
    for (let i = 0; i < 1 + random.below(6); i++) {
      const [opener, taker] = random.chance(0.5) ? [pipe.master, pipe.agent] : [pipe.agent, pipe.master];
      const near = opener.open();
      const far = taker.accept(near.id);
      for (const [from, to] of [[near, far], [far, near]] as const) {
        const data = bytesOf(random, random.chance(0.2) ? 2_000_000 : 20_000);
        const write = random.chance(0.5) ? writeAll : passAll;
        work.push(write(from, data, random), (random.chance(0.5) ? readAll(to) : flowAll(to, random)).then((got) => assert.ok(got.equals(data), `seed ${seed}`)));
      }
    }
    let over = false;
    const all = Promise.all(work).then(() => { over = true; });
    while (!over) {
      for (let i = random.below(8); i > 0; i--) pipe.deliver(random.chance(0.5) ? 'master' : 'agent');
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    await all;
    await pipe.drain();
    assert.ok(pipe.worst <= streamWindow, `${pipe.worst} bytes under way`);
    assert.is(pipe.master.size + pipe.agent.size, 0, 'no stream is left');
  }
});

test('a reader that does not read stops the writer, and nobody else', async () => {
  const pipe = new Pipe();
  const [a, b] = [pipe.master.open(), pipe.master.open()];
  pipe.agent.accept(a.id);
  const reader = readAll(pipe.agent.accept(b.id));
  let written = 0;
  void (async () => { for (;;) { await a.write(Buffer.alloc(10_000)); written += 10_000; } })().catch(() => {});
  await pipe.drain();
  assert.ok(written <= streamWindow + 10_000 && written >= streamWindow - 20_000, `${written}`);
  await Promise.all([b.write(Buffer.from('through')), pipe.drain()]);
  b.end();
  await pipe.drain();
  assert.is((await reader).toString(), 'through');
});

test('stream data waits while much is queued, so that a control message does not wait for it', async () => {
  const pipe = new Pipe();
  const a = pipe.master.open();
  pipe.agent.accept(a.id);
  void a.write(Buffer.alloc(200_000)).catch(() => {});
  let queued = 0;
  while (pipe.deliver('master')) queued++;
  assert.ok(queued > 5);
  const other = new Pipe();
  void other.master.open().write(Buffer.alloc(200_000)).catch(() => {});
  assert.ok([...other.outstanding.values()].every((bytes) => bytes <= 64 * 1024 + 16 * 1024));
});

test('half-close leaves the other direction open', async () => {
  const pipe = new Pipe();
  const near = pipe.master.open();
  const far = pipe.agent.accept(near.id);
  near.end();
  await pipe.drain();
  assert.is((await readAll(far)).length, 0);
  const answer = readAll(near);
  await Promise.all([far.write(Buffer.from('late')), pipe.drain()]);
  far.end();
  await pipe.drain();
  assert.is((await answer).toString(), 'late');
});

test('a reset carries code and reason after the bytes before it, and ends writers', async () => {
  const pipe = new Pipe();
  const near = pipe.master.open();
  const far = pipe.agent.accept(near.id);
  await Promise.all([far.write(Buffer.from('some')), pipe.drain()]);
  far.reset(404, 'container "x" not found');
  await pipe.drain();
  const seen: string[] = [];
  try {
    for await (const bytes of near) seen.push(Buffer.from(bytes).toString());
  } catch (error) {
    seen.push(`${(error as { code: number }).code} ${(error as Error).message}`);
  }
  assert.equal(seen, ['some', '404 container "x" not found']);
  let why = '';
  await near.write(Buffer.from('x')).catch((error: Error) => { why = error.message; });
  assert.is(why, 'container "x" not found');
  assert.is(pipe.master.size + pipe.agent.size, 0);
});

test('leaving the loop early resets the stream', async () => {
  const pipe = new Pipe();
  const near = pipe.master.open();
  const far = pipe.agent.accept(near.id);
  await Promise.all([far.write(Buffer.from('some')), pipe.drain()]);
  for await (const _ of near) break;
  await pipe.drain();
  assert.is(far.failure?.message, 'the reader went away');
});

test('what is against the rules is refused', () => {
  const frame = (type: number, id: number, payload: Buffer = Buffer.alloc(0)): Buffer => {
    const head = Buffer.alloc(5, type);
    head.writeUInt32BE(id, 1);
    return Buffer.concat([head, payload]);
  };
  const broken = (run: (pipe: Pipe, id: number) => void): void => {
    const pipe = new Pipe();
    const id = pipe.master.open().id;
    assert.throws(() => run(pipe, id), (error: unknown) => error instanceof ProtocolError);
  };
  broken((pipe, id) => { for (let i = 0; i < 5; i++) pipe.master.receive(frame(1, id, Buffer.alloc(100_000))); });
  broken((pipe) => pipe.master.receive(frame(1, 998, Buffer.alloc(1))));
  broken((pipe) => pipe.master.receive(frame(1, 7, Buffer.alloc(1))));
  broken((pipe, id) => pipe.master.receive(frame(9, id)));
  broken((pipe, id) => pipe.master.receive(frame(2, id, Buffer.from([0, 0, 0, 1]))));
  broken((pipe, id) => pipe.master.receive(frame(2, id)));
  broken((pipe) => pipe.master.receive(Buffer.from([1, 2])));
  broken((pipe) => pipe.master.accept(4));
  broken((pipe) => { pipe.master.accept(3); pipe.master.accept(3); });
  broken((pipe, id) => { pipe.master.receive(frame(3, id)); pipe.master.receive(frame(1, id, Buffer.alloc(1))); });
});

test('closing resets all streams and refuses new ones', async () => {
  const pipe = new Pipe();
  const near = pipe.master.open();
  pipe.master.close('node "n1" is not connected any more');
  assert.is(near.failure?.code, 503);
  assert.throws(() => pipe.master.open(), /not connected any more/);
});

test.run();
