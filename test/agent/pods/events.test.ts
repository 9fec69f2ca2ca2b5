import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventLog, involvedPod } from '../../../agent/pods/events.ts';
import type { EventReport } from '../../../shared/protocol.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('events');
const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1' }], initContainers: [{ name: 'i', image: 'a:1' }] });

function make(): { log: EventLog; clock: FakeClock; reports: EventReport[] } {
  const reports: EventReport[] = [];
  const clock = new FakeClock();
  return { clock, reports, log: new EventLog({ clock, report: (event) => reports.push(event) }) };
}

test('a repeated event keeps its key and is counted', () => {
  const { log, clock, reports } = make();
  log.event(involvedPod(pod, 'a'), 'Warning', 'BackOff', 'again');
  clock.advance(1000);
  log.event(involvedPod(pod, 'a'), 'Warning', 'BackOff', 'again');
  log.event(involvedPod(pod, 'i'), 'Warning', 'BackOff', 'again');
  assert.equal(reports.map((r) => [r.count, r.involvedObject.fieldPath]), [[1, 'spec.containers{a}'], [2, 'spec.containers{a}'], [1, 'spec.initContainers{i}']]);
  assert.is(reports[0]!.key, reports[1]!.key);
  assert.is.not(reports[0]!.key, reports[2]!.key);
  assert.is(reports[1]!.lastMs - reports[1]!.firstMs, 1000);
});

test('an object that does nothing else is stopped, and let go on later', () => {
  const { log, clock, reports } = make();
  for (let i = 0; i < 100; i++) log.event(involvedPod(pod), 'Warning', 'Unhealthy', String(i));
  assert.is(reports.length, 25);
  clock.advance(600_000);
  for (let i = 0; i < 100; i++) log.event(involvedPod(pod), 'Warning', 'Unhealthy', String(i));
  assert.is(reports.length, 27);
});

test.run();
