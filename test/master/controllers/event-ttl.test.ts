import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pods } from '../../../shared/kinds/pod.ts';
import { eventTtl } from '../../../master/controllers/event-ttl.ts';
import { Cluster, ManualClock, podDocument } from './cluster.ts';

const test = suite('events');

async function started(): Promise<{ cluster: Cluster; clock: ManualClock }> {
  const clock = new ManualClock();
  const cluster = new Cluster({ clock });
  await cluster.start([eventTtl()]);
  return { cluster, clock };
}

test('repeated events are counted', async () => {
  const { cluster, clock } = await started();
  const pod = await cluster.create(pods, 'default', podDocument('p'));
  for (let times = 0; times < 3; times++) {
    cluster.recorder.event(pod, 'Warning', 'BackOff', 'again', 'agent');
    await cluster.until(() => cluster.events()[0]?.count === times + 1);
    clock.advance(1000);
  }
  const [event] = cluster.events();
  assert.equal([cluster.events().length, event!.firstTimestamp, event!.lastTimestamp], [1, '2026-01-01T00:00:00Z', '2026-01-01T00:00:02Z']);
  assert.equal([event!.involvedObject.kind, event!.involvedObject.name, event!.involvedObject.uid], ['Pod', 'p', pod.metadata.uid]);
  await cluster.stop();
});

test('many events that differ only in their text become one, and floods are cut', async () => {
  const { cluster } = await started();
  const pod = await cluster.create(pods, 'default', podDocument('p'));
  for (let index = 0; index < 40; index++) cluster.recorder.event(pod, 'Normal', 'Many', `message ${index}`, 'agent');
  await cluster.until(() => cluster.events().length === 10);
  await cluster.settle();
  const combined = cluster.events().filter((event) => event.message?.startsWith('(combined from similar events): '));
  assert.is(cluster.events().length, 10);
  assert.is(combined.length, 1);
  assert.is(cluster.events().reduce((sum, event) => sum + (event.count ?? 0), 0), 25);
  await cluster.stop();
});

test('events go an hour after they were last written', async () => {
  const { cluster, clock } = await started();
  const pod = await cluster.create(pods, 'default', podDocument('p'));
  cluster.recorder.event(pod, 'Normal', 'Old', 'old', 'agent');
  await cluster.until(() => cluster.events().length === 1);
  clock.advance(1_800_000);
  cluster.recorder.event(pod, 'Normal', 'New', 'new', 'agent');
  await cluster.until(() => cluster.events().length === 2);
  await cluster.settle();
  clock.advance(1_860_000);
  await cluster.until(() => cluster.events().length === 1);
  assert.is(cluster.events()[0]!.reason, 'New');
  await cluster.stop();
});

test.run();
