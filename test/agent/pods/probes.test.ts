import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Probes } from '../../../agent/pods/probes.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { at, view } from './views.ts';

const test = suite('probes');

/** Lets everything that is ready run. */
const turn = (): Promise<void> => new Promise((resolve) => { setTimeout(resolve, 2); });

test('thresholds, and the startup probe before the others', async () => {
  const clock = new FakeClock(at);
  const runtime = new FakeRuntime(clock);
  runtime.addImage('a:1');
  const id = await runtime.create('x', { Image: 'a:1', Labels: {}, HostConfig: {} });
  await runtime.start(id);
  const exec = (word: string, more: object = {}) => ({ exec: { command: [word] }, periodSeconds: 1, ...more });
  const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1', startupProbe: exec('up'), readinessProbe: exec('ready', { successThreshold: 2 }), livenessProbe: exec('live', { failureThreshold: 2 }) }] });
  const set = (word: string, ok: boolean): void => { runtime.execs.set(word, { exitCode: ok ? 0 : 1, output: '', timedOut: false }); };
  for (const word of ['up', 'ready', 'live']) set(word, false);
  let changes = 0;
  const probes = new Probes({ runtime, clock, events: { event: () => {} }, changed: () => { changes++; } });
  probes.watch(pod, [view('a', { id })], ['10.0.0.2'], () => false);
  const seconds = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) { clock.advance(1000); await turn(); }
  };
  const state = () => { const { started, ready, unhealthy } = probes.views.get(id)!; return [started, ready, unhealthy]; };
  await seconds(2);
  assert.equal(state(), [false, false, undefined]);
  for (const word of ['up', 'ready', 'live']) set(word, true);
  await seconds(1);
  assert.equal(state(), [true, false, undefined]);
  await seconds(3);
  assert.equal(state(), [true, true, undefined]);
  set('ready', false);
  await seconds(3);
  assert.equal(state(), [true, false, undefined]);
  set('live', false);
  await seconds(1);
  assert.is(state()[2], undefined);
  await seconds(1);
  assert.is(state()[2], 'liveness');
  assert.is(changes, 4);
  probes.stop();
});

test('a pod that ends is still looked at for readiness, and for nothing else; what cannot be made out counts neither way', async () => {
  const clock = new FakeClock(at);
  const runtime = new FakeRuntime(clock);
  runtime.addImage('a:1');
  const id = await runtime.create('x', { Image: 'a:1', Labels: {}, HostConfig: {} });
  await runtime.start(id);
  const exec = (word: string) => ({ exec: { command: [word] }, periodSeconds: 1, failureThreshold: 1 });
  const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1', readinessProbe: exec('ready'), livenessProbe: exec('live') }] });
  const told: string[] = [];
  const probes = new Probes({ runtime, clock, events: { event: (_, __, reason, message) => { told.push(`${reason}: ${message}`); } }, changed: () => {} });
  const watch = (ending: boolean): void => probes.watch(pod, [view('a', { id })], ['10.0.0.2'], () => false, ending);
  watch(false);
  const second = async (): Promise<void> => { clock.advance(1000); await turn(); };
  await second();
  assert.is(probes.views.get(id)!.ready, true);
  watch(true);
  runtime.execs.set('live', { exitCode: 1, output: '', timedOut: false });
  runtime.execs.set('ready', { exitCode: 1, output: 'not now', timedOut: false });
  await second();
  await second();
  const { ready, unhealthy } = probes.views.get(id)!;
  assert.equal([ready, unhealthy, told[0]], [false, undefined, 'Unhealthy: Readiness probe failed: not now']);
  runtime.execs.set('ready', { exitCode: 0, output: '', timedOut: false });
  await second();
  assert.is(probes.views.get(id)!.ready, true);
  runtime.end(id, 1);
  await second();
  assert.match(told.at(-1)!, /^Unhealthy: Readiness probe errored and resulted in unknown state: container .* is not running$/);
  assert.is(probes.views.get(id)!.ready, true);
  probes.stop();
});

test.run();
