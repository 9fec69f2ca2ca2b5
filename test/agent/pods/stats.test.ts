import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { machineUse, rate, Stats } from '../../../agent/pods/stats.ts';
import type { ContainerStats } from '../../../agent/runtime/runtime.ts';
import { decodeUsage, encodeUsage } from '../../../shared/usage.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('stats');
const pod = podOf('p', { containers: [{ name: 'main', image: 'a:1' }] });
const turns = async (): Promise<void> => { for (let i = 0; i < 20; i++) await Promise.resolve(); };

class Machine {
  readonly clock = new FakeClock(0);
  readonly cores = new Map([['a', 0.5]]);
  looks = 0;
  readonly stats = new Stats({
    clock: this.clock,
    running: () => [{ pod, containers: [...this.cores.keys()].map((id) => ({ id, name: `c-${id}` })) }],
    machine: () => Promise.resolve({ cpuNanoseconds: this.clock.monotonic() * 1e6 * 1.5, memoryBytes: 3000 }),
    runtime: { stats: (id): Promise<ContainerStats | undefined> => {
      this.looks++;
      const cores = this.cores.get(id);
      return Promise.resolve(cores === undefined ? undefined : { cpuNanoseconds: this.clock.monotonic() * 1e6 * cores, memoryBytes: 2048, pids: 3 });
    } },
  });

  async ask() {
    const answer = this.stats.report();
    await turns();
    this.clock.advance(1000);
    return answer;
  }
}

test('the first answer takes a second, later ones are over the time since', async () => {
  const machine = new Machine();
  assert.equal(await machine.ask(), { windowMs: 1000, cpu: 1.5e9, memory: 3000, pods: [['default', 'p', 'uid-p', 1000, [['c-a', 5e8, 2048]]]] });
  assert.is(machine.looks, 2);
  machine.clock.advance(14_000);
  const { pods } = await machine.stats.report();
  assert.equal([pods[0]![3], pods[0]![4], machine.looks], [14_000, [['c-a', 5e8, 2048]], 3]);
});

test('who asks at once, or soon after, gets the same answer', async () => {
  const machine = new Machine();
  const [a, b] = [machine.ask(), machine.stats.report()];
  assert.equal(await a, await b);
  await machine.stats.report();
  assert.is(machine.looks, 2);
});

test('a container that is new has a window of its own, one that has ended has none', async () => {
  const machine = new Machine();
  await machine.ask();
  machine.clock.advance(20_000);
  machine.cores.set('b', 0.25);
  const { pods } = await machine.ask();
  assert.equal(pods[0]![4], [['c-a', 5e8, 2048], ['c-b', 2.5e8, 2048]]);
  machine.cores.clear();
  machine.clock.advance(20_000);
  assert.equal((await machine.stats.report()).pods, []);
});

test('a counter that begins anew, or is old, makes no rate', () => {
  const sample = (atMs: number, cpuNanoseconds: number) => ({ atMs, cpuNanoseconds, memoryBytes: 1 });
  assert.is(rate(sample(0, 100), sample(1000, 50)), undefined);
  assert.is(rate(undefined, sample(1000, 50)), undefined);
  assert.equal(rate(sample(0, 0), sample(2000, 1e9)), { nanocores: 5e8, memoryBytes: 1, windowMs: 2000 });
});

test('the machine: time at work, and memory without what is free or idle pages of files', () => {
  const stat = 'cpu  100 10 50 9999 777 5 3 2 40 0\ncpu0 1 1 1 1\n';
  const meminfo = 'MemTotal:  1000 kB\nMemFree:  300 kB\nMemAvailable: 600 kB\nInactive(file):   200 kB\n';
  assert.equal(machineUse(stat, meminfo), { cpuNanoseconds: 1.7e9, memoryBytes: 500 * 1024 });
});

test('usage comes back as it went, and nothing else is taken for it', () => {
  const usage = { windowMs: 1, cpu: 2, memory: 3, pods: [['ns', 'p', 'u', 4, [['c', 5, 6]]]] } satisfies Parameters<typeof encodeUsage>[0];
  assert.equal(decodeUsage(encodeUsage(usage)), usage);
  assert.throws(() => decodeUsage(encodeUsage({ ...usage, cpu: -1 })));
  assert.throws(() => decodeUsage(new Uint8Array([1, 2, 3])));
});

test.run();
