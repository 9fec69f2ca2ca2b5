import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { afterEnd } from '../../../agent/pods/restart.ts';

const test = suite('restart');
const ended = { exitCode: 1, createdMs: 0, finishedMs: 5000, endedMs: 5000, backoffMs: 0 };

test('policies', () => {
  assert.is(afterEnd(ended, 'Never', 9000).kind, 'done');
  assert.is(afterEnd({ ...ended, exitCode: 0 }, 'OnFailure', 9000).kind, 'done');
  assert.is(afterEnd(ended, 'OnFailure', 9000).kind, 'start');
  assert.is(afterEnd({ ...ended, exitCode: 0 }, 'Always', 9000).kind, 'start');
});

test('at once, then 10 s, 20 s … 5 min', () => {
  let backoffMs = 0;
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    const next = afterEnd({ ...ended, backoffMs }, 'Always', 5000 + backoffMs);
    assert.is(next.kind, 'start');
    if (backoffMs > 0) assert.equal(afterEnd({ ...ended, backoffMs }, 'Always', 5000), { kind: 'wait', untilMs: 5000 + backoffMs, backoffMs });
    waits.push(backoffMs / 1000);
    if (next.kind === 'start') ({ backoffMs } = next);
  }
  assert.equal(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
});

test('forgotten after ten good minutes', () => {
  assert.equal(afterEnd({ ...ended, backoffMs: 300_000, finishedMs: 600_001 }, 'Always', 600_001), { kind: 'start', backoffMs: 10_000 });
});

test('a clock that is set neither holds a container back nor lets it loose', () => {
  for (const finishedMs of [-86_400_000, 86_405_000]) {
    assert.equal(afterEnd({ ...ended, backoffMs: 10_000, finishedMs: Math.min(finishedMs, 500_000) }, 'Always', 5000), { kind: 'wait', untilMs: 15_000, backoffMs: 10_000 });
    assert.is(afterEnd({ ...ended, backoffMs: 10_000, finishedMs: Math.min(finishedMs, 500_000) }, 'Always', 15_000).kind, 'start');
  }
});

test.run();
