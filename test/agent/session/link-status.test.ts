import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LinkStatus } from '../../../agent/session/link-status.ts';
import { fromWebSocket, type ByteCount, type WebSocketLike } from '../../../shared/socket.ts';
import { FakeClock } from '../../fakes/clock.ts';

const test = suite('link status');

test('since when, what went wrong, and when it is tried again', () => {
  const clock = new FakeClock(1_000_000);
  const link = new LinkStatus(clock);
  link.enrolling();
  link.enrolling({ why: 'no answer', againInMs: 500 });
  assert.equal([link.view.phase, link.view.sinceMs, link.view.nextTryMs, link.view.lastError], ['enrolling', 1_000_000, 1_000_500, { message: 'no answer', atMs: 1_000_000 }]);
  clock.advance(1000);
  link.trying();
  assert.equal([link.view.phase, link.view.nextTryMs], ['connecting', undefined]);
  link.welcomed();
  clock.advance(5000);
  // The settings changed within the session.
  link.welcomed();
  assert.equal([link.view.phase, link.view.sinceMs, link.view.sessions], ['connected', 1_001_000, 1]);
  link.ended('gone', 2000);
  clock.advance(2000);
  link.trying();
  link.ended('refused', 4000);
  // Not since the last try, but since it was connected.
  assert.equal([link.view.phase, link.view.sinceMs, link.view.nextTryMs, link.view.lastError?.message], ['waiting', 1_006_000, 1_012_000, 'refused']);
});

test('frames are counted with their heads, in both directions', () => {
  const count: ByteCount = { sent: 0, received: 0 };
  const listeners: ((data: Uint8Array, isBinary: boolean) => void)[] = [];
  const socket = {
    bufferedAmount: 0, send: (_: Uint8Array, __: object, done: () => void) => done(),
    on: (event: string, listener: (data: Uint8Array, isBinary: boolean) => void) => { if (event === 'message') listeners.push(listener); },
    pause: () => undefined, resume: () => undefined, close: () => undefined, terminate: () => undefined,
  } as unknown as WebSocketLike;
  const frames = fromWebSocket(socket, count);
  const got: number[] = [];
  frames.listen({ frame: (bytes) => got.push(bytes.length), end: () => undefined });
  for (const size of [3, 200, 70_000]) {
    frames.send(new Uint8Array(size));
    for (const listener of listeners) listener(new Uint8Array(size), true);
  }
  // RFC 6455: 2, 4 and 10 bytes of head; what a client sends has a mask of 4 besides.
  assert.equal(count, { sent: 3 + 6 + 200 + 8 + 70_000 + 14, received: 3 + 2 + 200 + 4 + 70_000 + 10 });
  assert.equal(got, [3, 200, 70_000]);
});

test.run();
