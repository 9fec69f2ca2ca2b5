import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FrameDecoder } from '../../../master/hub/frame-decoder.ts';
import { encodeMessage, ProtocolError } from '../../../shared/protocol.ts';

const test = suite('frame decoder');
const ack = (revision: number, items?: number): Buffer => encodeMessage('ack', { epoch: 'e', revision, ...(items === undefined ? {} : { items }) });

test('the same acknowledgement is taken apart once, another one anew', () => {
  const decoder = new FrameDecoder();
  const first = decoder.decode(ack(5));
  assert.equal(first, { name: 'ack', payload: { epoch: 'e', revision: 5 } });
  assert.is(decoder.decode(ack(5)), first);
  assert.equal(decoder.decode(encodeMessage('heartbeat', {})).name, 'heartbeat');
  assert.is(decoder.decode(ack(5)), first, 'others come in between');
  assert.equal(decoder.decode(ack(6)).payload, { epoch: 'e', revision: 6 });
  assert.equal(decoder.decode(ack(5, 3)).payload, { epoch: 'e', revision: 5, items: 3 });
  assert.equal(decoder.decode(ack(5)).payload, { epoch: 'e', revision: 5 });
});

test('nothing of a frame is kept: its memory is used again', () => {
  const decoder = new FrameDecoder();
  const memory = Buffer.alloc(256);
  const read = (frame: Buffer): ReturnType<FrameDecoder['decode']> => decoder.decode(memory.subarray(0, frame.copy(memory)));
  const first = read(ack(5));
  assert.equal(read(ack(6)).payload, { epoch: 'e', revision: 6 });
  assert.equal(first.payload, { epoch: 'e', revision: 5 });
  assert.equal(read(ack(5)).payload, { epoch: 'e', revision: 5 });
});

test('what is no message of an agent stays refused', () => {
  const decoder = new FrameDecoder();
  decoder.decode(ack(5));
  for (const frame of [Buffer.from([0]), ack(5).subarray(0, 4), encodeMessage('statusAck', { seq: 1 })]) assert.throws(() => decoder.decode(frame), (error: unknown) => error instanceof ProtocolError);
});

test.run();
