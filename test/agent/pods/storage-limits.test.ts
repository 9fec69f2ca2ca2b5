import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exceededStorage, storageLimit, StorageLimits } from '../../../agent/pods/storage-limits.ts';
import type { ContainerView } from '../../../agent/pods/view.ts';
import { watchVolumeLimits, type LimitedPod } from '../../../agent/pods/volume-limits.ts';
import { silentLog } from '../../../shared/log.ts';
import { SimulatedClock } from '../../fakes/link.ts';
import { podOf } from '../../fakes/pod.ts';

/** What pods may take of the disk, and how often that is looked at. */
const test = suite('storage limits');
const container = (name: string, limit?: string, more: object = {}) => ({ name, image: 'a:1', ...(limit ? { resources: { limits: { 'ephemeral-storage': limit } } } : {}), ...more });
const pod = (containers: object[], spec: object = {}, name = 'p') => podOf(name, { containers, ...spec });
const use = (containers: Record<string, number>, volumes = 0) => ({ containers: new Map(Object.entries(containers)), volumes });
const mi = 2 ** 20;

test('the limit of all containers together', () => {
  assert.is(storageLimit(pod([container('a')])), undefined);
  assert.is(storageLimit(pod([container('a', '1024Ki'), container('b', '1Mi'), container('c')])), '2Mi');
  assert.is(storageLimit(pod([container('a', '1Mi')], { initContainers: [container('i', '5Mi'), container('j', '3Mi')] })), '5Mi', 'init containers run one after the other');
  assert.is(storageLimit(pod([container('a', '2Mi')], { initContainers: [container('i', '1Mi', { restartPolicy: 'Always' }), container('j', '1Mi')] })), '3Mi', 'sidecars stay');
  assert.is(storageLimit(pod([container('a', '1Mi')], { overhead: { 'ephemeral-storage': '1Mi' } })), '2Mi');
});

test('the pod as a whole comes first, then each container', () => {
  const one = pod([container('a', '1024Ki')]);
  assert.is(exceededStorage(one, use({ a: mi })), undefined);
  assert.is(exceededStorage(one, use({ a: mi + 1 })), 'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ');
  assert.is(exceededStorage(one, use({ a: 1 }, mi)), 'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ', 'with what volumes hold');
  const two = pod([container('a', '1Mi'), container('b', '1Mi')]);
  assert.is(exceededStorage(two, use({ a: mi, b: mi + 1 })), 'Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ');
  assert.is(exceededStorage(two, use({ a: 1, b: mi + 1 })), 'Container b exceeded its local ephemeral storage limit "1Mi". ');
  assert.is(exceededStorage(pod([container('a'), container('b', '1Mi')]), use({ a: 9 * mi, b: 1 })), 'Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ');
  assert.is(exceededStorage(pod([container('a')]), use({ a: 9 * mi })), undefined);
});

interface Given { readonly written?: Record<string, number>; readonly logs?: Record<string, number>; readonly stored?: number; readonly tookMs?: number }

function limits(clock: SimulatedClock, given: Given) {
  const asked: string[] = [];
  const storage = new StorageLimits({
    clock, volumes: { usage: () => Promise.resolve(new Map([['v', given.stored ?? 0]])) },
    runtime: {
      writtenBytes: async (_, uid) => {
        asked.push(uid);
        if (given.tookMs) await clock.pass(given.tookMs);
        return new Map(Object.entries(given.written ?? {}));
      },
      logBytes: (id) => Promise.resolve(given.logs?.[id] ?? 0),
    },
  });
  return { storage, asked };
}

const view = (name: string, more: Partial<ContainerView> = {}) => ({ id: `id-${name}`, name, state: 'running', attempt: 0, createdMs: 1, dead: false, ...more }) as ContainerView;

test('what a container has written and logged counts while it runs; only pods with a limit are measured', async () => {
  const clock = new SimulatedClock();
  const { storage, asked } = limits(clock, { written: { 'id-a': 600 * 1024, 'id-old': 9 * mi, 'id-POD': 9 * mi }, logs: { 'id-a': 600 * 1024 } });
  const free = { pod: pod([container('a')], {}, 'free'), views: [view('a')] };
  const limited = { pod: pod([container('a', '1Mi'), container('b', '1Mi')]), views: [view('a'), view('POD'), view('a', { id: 'id-old', state: 'exited' }), view('b', { id: 'id-old', state: 'exited' })] };
  assert.equal([...await storage.exceeding([free, limited])], [[limited, 'Container a exceeded its local ephemeral storage limit "1Mi". ']]);
  assert.equal(asked, [limited.pod.metadata.uid]);
  assert.equal([...await limits(clock, {}).storage.exceeding([free])], []);
});

test('the engine is asked every half minute, or more seldom where it takes long; logs are looked at each time', async () => {
  const clock = new SimulatedClock();
  const given = { tookMs: 0, logs: {} as Record<string, number> };
  const { storage, asked } = limits(clock, given);
  const users = [{ pod: pod([container('a', '1Mi')]), views: [view('a')] }];
  const rounds = async (count: number): Promise<number> => {
    asked.length = 0;
    for (let i = 0; i < count; i++) { await storage.exceeding(users); await clock.pass(10_000); }
    return asked.length;
  };
  assert.is(await rounds(9), 3);
  given.tookMs = 2000;
  assert.is(await rounds(10), 1, 'for 2 s of its time it is left alone for 100 s');
  given.logs['id-a'] = 2 * mi;
  assert.is((await storage.exceeding(users)).size, 1);
});

test('pods over a limit are ended, every ten seconds; the system\'s stay', async () => {
  const clock = new SimulatedClock();
  const ended: string[] = [];
  const limitedPod = (name: string, more: object = {}, active = true): LimitedPod => {
    const one = pod([container('a', '1Mi')], more, name);
    return { pod: one, active, views: [view('a')], evict: (message) => { ended.push(`${name}: ${message}`); } };
  };
  const { storage } = limits(clock, { logs: { 'id-a': 2 * mi } });
  const volumes = { usage: () => Promise.resolve(new Map([['v', 2 * mi]])) };
  const stop = new AbortController();
  const pods = [limitedPod('p'), limitedPod('system', { priority: 2_000_000_000 }), limitedPod('over', {}, false), limitedPod('dir', { volumes: [{ name: 'v', emptyDir: { sizeLimit: '1Mi' } }], containers: [container('a')] })];
  const running = watchVolumeLimits({ clock, log: silentLog, volumes, storage, pods: () => pods }, stop.signal);
  await clock.pass(9_000);
  assert.equal(ended, []);
  await clock.pass(1_000);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => { setImmediate(resolve); });
  assert.equal(ended, ['dir: Usage of EmptyDir volume "v" exceeds the limit "1Mi". ', 'p: Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ']);
  stop.abort();
  await running;
});

test.run();
