import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Evictor, type Tenant } from '../../../agent/pods/evictor.ts';
import { parseThresholds, type Observation, type Signal } from '../../../agent/pods/thresholds.ts';
import { silentLog } from '../../../shared/log.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('evictor');
const disk = { capacityBytes: 1000, availableBytes: 500 };

class Node {
  readonly clock = new FakeClock();
  readonly seen = new Map<Signal, Observation>();
  readonly tenants: (Tenant & { active: boolean; running: boolean; bytes: number })[] = [];
  readonly evicted: { name: string; message: string; graceSeconds: number | undefined }[] = [];
  readonly short: string[] = [];
  reclaimed = 0;
  onReclaim = (): void => {};

  pod(name: string, bytes: number, more: object = {}): void {
    const tenant = {
      pod: podOf(name, { containers: [{ name: 'main', image: 'a:1' }], ...more }), active: true, running: true, bytes,
      evict: (message: string, { graceSeconds }: { readonly graceSeconds?: number }) => { this.evicted.push({ name, message, graceSeconds }); tenant.active = false; return true; },
    };
    this.tenants.push(tenant);
  }

  evictor(thresholds: string, graceMs = 0, transitionMs = 300_000): Evictor {
    return new Evictor({
      thresholds: parseThresholds(thresholds, () => graceMs), transitionMs, maxGraceSeconds: 7, clock: this.clock, log: silentLog,
      tenants: () => this.tenants, observe: () => Promise.resolve(this.seen), disk: () => Promise.resolve(disk), onShort: (what) => { this.short.push(what); },
      use: () => Promise.resolve({ node: { nanocores: 0, memoryBytes: 0, windowMs: 1000 }, pods: this.tenants.map(({ pod, bytes }) => ({ pod, containers: [{ name: 'main', nanocores: 0, memoryBytes: bytes, pids: bytes, windowMs: 1000 }] })) }),
      diskUse: () => Promise.resolve(new Map(this.tenants.map(({ pod, bytes }) => [pod.metadata.uid!, new Map([['main', bytes]])]))),
      reclaim: () => { this.reclaimed++; this.onReclaim(); return Promise.resolve(); },
    });
  }

  set(signal: Signal, available: number): void {
    this.seen.set(signal, { available, capacity: 1000 });
  }

  async look(evictor: Evictor): Promise<readonly string[]> {
    const pressures = await evictor.look(disk);
    await evictor.settled();
    this.clock.advance(10_000);
    return pressures;
  }

  get names(): string[] {
    return this.evicted.map(({ name }) => name);
  }
}

test('one pod at a time, the next one only when the last has gone', async () => {
  const node = new Node();
  for (const [name, bytes] of [['small', 1], ['large', 100], ['middle', 10]] as const) node.pod(name, bytes);
  const evictor = node.evictor('memory.available<100');
  node.set('memory.available', 50);
  assert.equal(await node.look(evictor), ['MemoryPressure']);
  await node.look(evictor);
  assert.equal(node.names, ['large']);
  assert.equal(node.short, ['memory'], 'told once');
  assert.is(node.evicted[0]!.message, 'The node was low on resource: memory. Threshold quantity: 100, available: 50. Container main was using 1Ki, request is 0, has larger consumption of memory. ');
  node.tenants[1]!.running = false;
  await node.look(evictor);
  assert.equal(node.names, ['large', 'middle']);
  node.set('memory.available', 150);
  for (let i = 0; i < 10; i++) await node.look(evictor);
  assert.equal(node.names, ['large', 'middle'], 'enough is enough');
});

test('one that does not go is not waited for for ever', async () => {
  const node = new Node();
  node.pod('stuck', 9);
  node.pod('next', 1);
  const evictor = node.evictor('memory.available<100');
  node.set('memory.available', 50);
  for (let i = 0; i < 6; i++) await node.look(evictor);
  assert.equal(node.names, ['stuck', 'next']);
});

test('a condition stays for the transition period', async () => {
  const node = new Node();
  const evictor = node.evictor('memory.available<100', 0, 25_000);
  node.set('memory.available', 50);
  assert.equal(await node.look(evictor), ['MemoryPressure']);
  node.set('memory.available', 500);
  assert.equal([await node.look(evictor), await node.look(evictor), await node.look(evictor)], [['MemoryPressure'], ['MemoryPressure'], []]);
});

test('the system\'s pods stay, though nothing else is left', async () => {
  const node = new Node();
  node.pod('system', 100, { priority: 2_000_000_000 });
  const evictor = node.evictor('memory.available<100');
  node.set('memory.available', 50);
  await node.look(evictor);
  assert.equal(node.names, []);
  node.pod('other', 1);
  await node.look(evictor);
  assert.equal(node.names, ['other']);
});

test('on a disk, what nobody uses goes first, and pods only if that was not enough', async () => {
  const node = new Node();
  node.pod('writer', 2 ** 21);
  node.pod('reader', 4096);
  const evictor = node.evictor('nodefs.available<10%');
  node.set('nodefs.available', 50);
  node.onReclaim = () => node.set('nodefs.available', 500);
  assert.equal(await node.look(evictor), ['DiskPressure']);
  assert.equal([node.reclaimed, node.names], [1, []]);
  node.onReclaim = () => {};
  node.set('nodefs.available', 50);
  await node.look(evictor);
  assert.equal([node.reclaimed, node.names], [2, ['writer']]);
  assert.is(node.evicted[0]!.message, 'The node was low on resource: ephemeral-storage. Threshold quantity: 100, available: 50. Container main was using 2Mi, request is 0, has larger consumption of ephemeral-storage. ');
  node.tenants[0]!.running = false;
  await node.look(evictor);
  assert.equal(node.names, ['writer'], 'whose end would give nothing back stays');
});

test('a soft threshold is borne for its grace, and pods then get time to end', async () => {
  const node = new Node();
  node.pod('p', 1);
  const evictor = node.evictor('memory.available<100', 25_000);
  node.set('memory.available', 50);
  await node.look(evictor);
  await node.look(evictor);
  node.set('memory.available', 500);
  await node.look(evictor);
  node.set('memory.available', 50);
  for (let i = 0; i < 3; i++) await node.look(evictor);
  assert.equal(node.names, [], 'the time starts over');
  await node.look(evictor);
  assert.equal([node.names, node.evicted[0]!.graceSeconds, node.short], [['p'], 7, ['memory']]);
});

test('what cannot be measured is tried again, and nothing is evicted blindly', async () => {
  const node = new Node();
  node.pod('p', 2 ** 20);
  const evictor = node.evictor('nodefs.available<10%');
  node.set('nodefs.available', 50);
  node.onReclaim = () => { throw new Error('no engine'); };
  await node.look(evictor);
  assert.equal(node.names, []);
  node.onReclaim = () => {};
  await node.look(evictor);
  assert.equal(node.names, ['p']);
});

test.run();
