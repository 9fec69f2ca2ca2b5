import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isHealthy, judgeTrial, type Signs, type TrialView } from '../../../agent/upgrade/trial.ts';

const test = suite('upgrade trial');
const healthy: Signs = { version: '2', state: true, engine: true, master: true };
const view = (change: Partial<TrialView>): TrialView => ({ startedMs: 1000, nowMs: 1000, limitMs: 120_000, settleMs: 5000, signs: undefined, healthyMs: undefined, ended: undefined, ...change });

test('it waits for the limit, and rolls back at it with what is missing', () => {
  assert.equal(judgeTrial(view({})), { type: 'wait', ms: 120_000 });
  assert.equal(judgeTrial(view({ nowMs: 120_999 })), { type: 'wait', ms: 1 });
  assert.equal(judgeTrial(view({ nowMs: 121_000 })), { type: 'back', why: 'not healthy within 120 s: it said nothing' });
  assert.equal(judgeTrial(view({ nowMs: 121_000, signs: { ...healthy, master: false, engine: false } })), { type: 'back', why: 'not healthy within 120 s: Docker did not answer it, no session with the master' });
});

test('healthy for the settling time is kept, also when that ends after the limit', () => {
  assert.equal(judgeTrial(view({ nowMs: 3000, signs: healthy, healthyMs: 2000 })), { type: 'wait', ms: 4000 });
  assert.equal(judgeTrial(view({ nowMs: 7000, signs: healthy, healthyMs: 2000 })), { type: 'keep' });
  assert.equal(judgeTrial(view({ nowMs: 122_000, signs: healthy, healthyMs: 120_000 })), { type: 'wait', ms: 3000 });
  assert.equal(judgeTrial(view({ nowMs: 125_000, signs: healthy, healthyMs: 120_000 })), { type: 'keep' });
});

test('one that ends is rolled back, however healthy it was', () => {
  assert.equal(judgeTrial(view({ nowMs: 9000, signs: healthy, healthyMs: 2000, ended: 'SIGSEGV' })), { type: 'back', why: 'it ended after 8 s: SIGSEGV' });
  assert.equal(judgeTrial(view({ nowMs: 1040, ended: 'exit status 1' })), { type: 'back', why: 'it ended after 0 s: exit status 1' });
});

test('health takes every sign', () => {
  assert.is(isHealthy(undefined), false);
  assert.is(isHealthy(healthy), true);
  for (const sign of ['state', 'engine', 'master'] as const) assert.is(isHealthy({ ...healthy, [sign]: false }), false, sign);
});

test('whatever it is given, it is over when the limit and the settling time have passed', () => {
  for (let nowMs = 0; nowMs <= 200_000; nowMs += 977) {
    for (const healthyMs of [undefined, 1000, 60_000, 120_999].filter((at) => at === undefined || at <= nowMs)) {
      const verdict = judgeTrial(view({ nowMs, healthyMs, signs: healthyMs === undefined ? undefined : healthy }));
      if (nowMs >= 1000 + 120_000 + 5000) assert.is.not(verdict.type, 'wait');
      if (verdict.type === 'wait') assert.ok(verdict.ms > 0);
      if (verdict.type === 'keep') assert.ok(healthyMs !== undefined && nowMs - healthyMs >= 5000);
    }
  }
});

test.run();
