import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { collectImages } from '../../../agent/pods/gc.ts';
import { RuntimeError } from '../../../agent/runtime/runtime.ts';
import { silentLog } from '../../../shared/log.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';
import { FakeNode } from './fake-node.ts';

/** The disk of the engine, where images and containers are, is full. */
const test = suite('engine\'s disk full');
const pod = (name: string) => podOf(name, { containers: [{ name: 'a', image: 'a:1' }] });

test('what runs goes on, what cannot be made says why and is tried now and then, and begins when there is room', async () => {
  const node = new FakeNode();
  await node.start();
  await node.assign(pod('old'));
  const before = node.running('old').map(({ id }) => id);
  let [full, tries] = [true, 0];
  node.runtime.before = (call) => {
    if (!full || call !== 'create') return;
    tries++;
    throw new RuntimeError('failed', 'mkdir /var/lib/docker/overlay2/x: no space left on device');
  };
  await node.assign(pod('new'));
  await node.pass(120_000);
  assert.ok(tries >= 4 && tries <= 20, `${tries} tries in two minutes`);
  assert.is(node.status('new').phase, 'Pending');
  assert.match([...node.events.values()].map(({ reason, message }) => `${reason} ${message}`).join('\n'), /FailedCreatePodSandBox .*no space left on device/);
  assert.equal(node.running('old').map(({ id }) => id), before);
  await node.crash('old');
  await node.pass(3000);
  assert.match(node.status('old').containerStatuses?.[0]?.state?.waiting?.message ?? '', /no space left on device/);
  full = false;
  await node.pass(40_000);
  for (const name of ['old', 'new']) assert.is(node.running(name).length, 1, name);
  await node.cleanUp();
});

test('images that nothing uses make room from 85 % to 80 %, the longest unused first', async () => {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  const names = ['pause', 'used:1', 'old:1', 'older:1', 'fresh:1'];
  for (const name of names) runtime.addImage(name);
  await runtime.create('c', { Image: 'used:1', Labels: {}, HostConfig: {} } as never);
  const lastUsedMs = (id: string): number => ({ 'sha256:used:1': 0, 'sha256:older:1': 1, 'sha256:old:1': 2, 'sha256:fresh:1': 3 })[id] ?? 4;
  /** How many go when all of it uses so many percent, and each image `each` of them. */
  const collected = (usedPercent: number, each: number): Promise<number> => {
    for (const name of names) runtime.addImage(name);
    runtime.disk = async () => ({ capacityBytes: 100, availableBytes: 100 - usedPercent + each * (names.length - runtime.local.size) });
    return collectImages({ runtime, clock, log: silentLog, keep: 'pause', lastUsedMs });
  };
  assert.is(await collected(84, 4), 0);
  assert.is(await collected(86, 4), 2);
  assert.equal([...runtime.local.keys()].sort(), ['fresh:1', 'pause', 'used:1']);
  assert.is(await collected(99, 1), 3, 'all that can go');
  assert.equal([...runtime.local.keys()].sort(), ['pause', 'used:1']);
});

test.run();
