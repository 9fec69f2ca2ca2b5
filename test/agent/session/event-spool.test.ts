import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventSpool } from '../../../agent/session/event-spool.ts';
import { silentLog } from '../../../shared/log.ts';
import type { EventReport } from '../../../shared/protocol.ts';
import { SimulatedClock } from '../../fakes/link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';

const test = suite('event spool');
const event = (key: string, lastMs: number, count = 1): EventReport => ({
  namespace: 'default', key, involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'p', uid: 'u' },
  reason: 'BackOff', message: 'm', type: 'Warning', component: 'kubelet', count, firstMs: 1, lastMs,
});

/** A spool at work on a list of waiting events. */
function spooled(state = new MemoryState()) {
  const clock = new SimulatedClock();
  const waiting = new Map<string, EventReport>();
  let linked = false;
  let writes = 0;
  const counted = new Proxy(state, { get: (target, name) => {
    if (name === 'note') return (key: string, value: unknown) => { writes++; return target.note(key, value); };
    const value = Reflect.get(target, name) as unknown;
    return typeof value === 'function' ? value.bind(target) as unknown : value;
  } });
  const spool = new EventSpool({ state: counted, clock, log: silentLog, waiting: () => waiting.values(), linked: () => linked });
  const abort = new AbortController();
  const running = spool.run(abort.signal);
  return {
    clock, state, spool, put: (one: EventReport) => waiting.set(one.key, one), taken: (key: string) => waiting.delete(key), link: (up: boolean) => { linked = up; },
    stop: async () => { abort.abort(); await running; }, get writes() { return writes; },
  };
}

test('events of an outage are written within half a minute, and read back in order', async () => {
  const at = spooled();
  at.put(event('b', 200));
  at.put(event('a', 100));
  await at.clock.pass(31_000);
  assert.equal(at.spool.restored().map(({ key }) => key), ['a', 'b']);
  await at.stop();
});

test('a repeating event is written once in ten minutes', async () => {
  const at = spooled();
  for (let minute = 0; minute < 60; minute++) {
    at.put(event('a', minute * 60_000, minute + 1));
    await at.clock.pass(60_000);
  }
  assert.ok(at.writes <= 7, `${at.writes} writes in an hour`);
  await at.stop();
  assert.is(at.spool.restored()[0]?.count, 60, 'and once more at the end');
});

test('nothing is written while the master takes events, and what it has taken is forgotten', async () => {
  const at = spooled();
  at.link(true);
  at.put(event('a', 1));
  await at.clock.pass(120_000);
  assert.is(at.writes, 0);
  at.link(false);
  await at.clock.pass(31_000);
  assert.is(at.spool.restored().length, 1);
  at.taken('a');
  at.link(true);
  await at.clock.pass(31_000);
  assert.is(at.state.notes.size, 0);
  await at.stop();
});

test('notes that are no events are not taken for some', () => {
  const at = spooled();
  at.state.notes.set('event/x', { nonsense: true });
  assert.equal(at.spool.restored(), []);
});

test.run();
