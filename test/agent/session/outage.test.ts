import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Outage } from '../../../agent/session/outage.ts';
import { silentLog } from '../../../shared/log.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { FakeState } from '../../fakes/state.ts';

const test = suite('outage');
const day = 86_400_000;
const of = (clock: FakeClock, state: FakeState, matters = true): Outage => new Outage({ state, clock, log: silentLog, matters: () => matters });

test('counts from the start, not while the master is there, then from its last word', () => {
  const clock = new FakeClock();
  const outage = of(clock, new FakeState());
  clock.advance(5000);
  assert.is(outage.ms, 5000);
  outage.link(undefined);
  assert.is(outage.ms, undefined);
  clock.advance(60_000);
  outage.link(clock.monotonic() - 40_000);
  assert.is(outage.ms, 40_000);
  clock.jump(-day);
  clock.advance(1000);
  assert.is(outage.ms, 41_000, 'whatever the machine\'s clock does');
});

test('outlives the agent, also under a clock that was set back', () => {
  const clock = new FakeClock();
  const state = new FakeState();
  const first = of(clock, state);
  first.link(undefined);
  first.link(clock.monotonic());
  clock.advance(60_000);
  assert.is(of(clock, state).ms, 60_000);
  first.keep();
  clock.jump(-day);
  const second = of(clock, state);
  assert.is(second.ms, 60_000, 'what was kept is the least');
  clock.advance(10_000);
  assert.is(second.ms, 70_000);
  second.link(undefined);
  assert.is(state.notes.size, 0);
  assert.is(of(clock, state).ms, 0, 'a new outage is a new one');
});

test('costs no write where nothing depends on it', () => {
  const clock = new FakeClock();
  const state = new FakeState();
  const outage = of(clock, state, false);
  outage.keep();
  outage.link(undefined);
  outage.link(clock.monotonic());
  assert.is(state.notes.size, 0);
});

test('a note that makes no sense is none', () => {
  const state = new FakeState();
  state.notes.set('silence', { sinceMs: 'x' });
  assert.is(of(new FakeClock(), state).ms, 0);
});

test.run();
