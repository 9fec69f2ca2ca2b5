import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { apply } from '../../agent/pods/apply.ts';
import { Images } from '../../agent/pods/images.ts';
import { forget, observe } from '../../agent/pods/observe.ts';
import { finished, plan, type Ending, type Plan } from '../../agent/pods/plan.ts';
import { PodState, type PodContext } from '../../agent/pods/pod-state.ts';
import { sandboxOf } from '../../agent/pods/view.ts';
import { label, sandboxName } from '../../agent/runtime/labels.ts';
import { RuntimeError } from '../../agent/runtime/runtime.ts';
import { Volumes } from '../../agent/volumes/index.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { silentLog } from '../../shared/log.ts';
import { FakeClock } from '../fakes/clock.ts';
import { podOf } from '../fakes/pod.ts';
import { FakeRuntime } from '../fakes/runtime.ts';

/** Mulberry32: the same seed gives the same run. */
function randomOf(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One pod, one fake engine, and an agent that may die at any call to it. */
class World {
  readonly clock = new FakeClock();
  readonly runtime = new FakeRuntime(this.clock);
  readonly random: () => number;
  readonly context: PodContext;
  pod: Pod;
  ending: Ending | undefined;
  state: PodState;
  /** Container ids that were stopped, killed or removed while they ran. */
  readonly ended = new Set<string>();
  faultShare = 0;

  constructor(seed: number, root: string) {
    this.random = randomOf(seed);
    for (const image of ['a:1', 'a:2', 'pause']) this.runtime.addImage(image);
    const none = { servers: [], searches: [], options: [] };
    const nowhere = { configMap: () => undefined, secret: () => undefined, claim: () => undefined };
    this.context = {
      runtime: this.runtime, clock: this.clock, log: silentLog, events: { event: () => {} }, owner: 'test', pauseImage: 'pause', bridge: () => Promise.resolve('bridge'),
      images: new Images({ runtime: this.runtime, clock: this.clock, log: silentLog }),
      volumes: new Volumes({ root, sources: { ...nowhere, field: () => '', resource: () => '' } }),
      loadPause: async () => {}, node: () => ({ name: 'n', ips: ['192.0.2.1'], cpus: 2, memoryBytes: 2 ** 32 }), oomFloor: () => 0,
      naming: { cluster: () => ({ servers: [], domain: 'cluster.local' }), host: async () => ({ own: none, forPods: none }) }, references: () => nowhere, services: () => [], outage: { ms: undefined, keep: () => {} }, admit: () => undefined, seccompRoot: '/none',
    };
    this.pod = this.#randomPod(seed);
    this.state = new PodState(this.context, this.pod, () => {});
    this.runtime.before = (call, id) => {
      if (this.random() < this.faultShare) throw new RuntimeError('failed', `injected fault in ${call}`);
      const running = this.runtime.held.get(id)?.details.state === 'running';
      if (running && call !== 'start') this.ended.add(id);
    };
  }

  pick<T>(...from: T[]): T {
    return from[Math.floor(this.random() * from.length)]!;
  }

  #randomPod(seed: number): Pod {
    const many = (prefix: string, count: number, more: () => object): object[] =>
      Array.from({ length: count }, (_, i) => ({ name: `${prefix}${i}`, image: 'a:1', imagePullPolicy: 'IfNotPresent', ...more() }));
    return podOf(`p${seed}`, {
      containers: many('c', 1 + Math.floor(this.random() * 3), () => ({})),
      initContainers: many('i', Math.floor(this.random() * 3), () => (this.random() < 0.3 ? { restartPolicy: 'Always' } : {})),
      restartPolicy: this.pick('Always', 'OnFailure', 'Never'),
    });
  }

  get containers() {
    return [...this.runtime.held.values()].map((c) => c.details);
  }

  /** Looks at everything, as after a restart of the agent or a resync. */
  async look(): Promise<void> {
    const found = await this.runtime.containers(label.owner, 'test');
    for (const id of this.state.views.keys()) if (!found.some((c) => c.id === id)) forget(this.state, id);
    for (const { id } of found) await observe(this.state, id);
  }

  plan(): Plan {
    const { state } = this;
    return plan({
      pod: this.pod, views: [...state.views.values()], now: this.clock.monotonic(), ending: this.ending, volumes: state.volumes, images: new Set(state.images.keys()),
      heldUntil: state.heldUntil, stopping: state.stopping, replacing: state.replacing, probes: new Map(), restartCounts: new Map(),
    });
  }

  async round(): Promise<Plan> {
    await this.look();
    const made = this.plan();
    await apply(this.state, made.steps, new AbortController().signal);
    await this.state.settled();
    this.check();
    return made;
  }

  /** Never two running containers of one name. */
  check(): void {
    const running = this.containers.filter((c) => c.state === 'running').map((c) => c.labels[label.container]);
    assert.is(new Set(running).size, running.length, `twice running: ${running.join()}`);
  }

  /** Lets init containers succeed, and time pass, until nothing is to be done. Gives the number of rounds. */
  async settle(): Promise<number> {
    for (let rounds = 1; rounds < 300; rounds++) {
      const made = await this.round();
      const inits = this.containers.filter((c) => c.state === 'running' && this.#isInit(c.labels[label.container] ?? ''));
      for (const { id } of inits) this.runtime.end(id, 0);
      if (made.steps.length === 0 && inits.length === 0) {
        if (made.wakeAtMs === Infinity) return rounds;
        this.clock.advance(made.wakeAtMs - this.clock.monotonic());
      }
    }
    throw new Error(`does not settle: ${JSON.stringify({ plan: this.plan(), containers: this.containers.map((c) => [c.name, c.state, c.exitCode]) })}`);
  }

  #isInit(name: string): boolean {
    return this.pod.spec.initContainers?.some((c) => c.name === name && c.restartPolicy !== 'Always') ?? false;
  }

  /** Something that happens to pods. */
  disturb(): void {
    const victim = this.pick(...this.containers);
    switch (this.pick('end', 'end', 'restart', 'sandbox', 'duplicate', 'vanish')) {
      case 'end': if (victim) this.runtime.end(victim.id, this.pick(0, 1)); break;
      case 'restart': this.restartAgent(); break;
      case 'sandbox': {
        const sandbox = this.containers.find((c) => c.labels[label.container] === sandboxName);
        if (sandbox) this.runtime.end(sandbox.id, 137);
        break;
      }
      case 'duplicate': if (victim) this.#duplicate(victim.id); break;
      case 'vanish': if (victim) this.runtime.held.delete(victim.id); break;
    }
  }

  #duplicate(id: string): void {
    const copy = structuredClone({ ...this.runtime.held.get(id)! });
    const name = `dup${Math.floor(this.random() * 1e9)}`;
    if (copy.details.state === 'running') return;
    this.runtime.held.set(name, { ...copy, details: { ...copy.details, id: name, name } });
  }

  restartAgent(): void {
    this.state = new PodState(this.context, this.pod, () => {});
  }
}

const test = suite('plan properties');
const seeds = Array.from({ length: Number(process.env['SEEDS'] ?? 150) }, (_, i) => i + 1);
let root = '';
test.before(async () => { root = await mkdtemp(join(tmpdir(), 'wherry-plan-')); });
test.after(() => rm(root, { recursive: true, force: true }));

for (const faultShare of [0, 0.15]) {
  test(`whatever happens, plans converge to the empty plan (faults: ${faultShare})`, async () => {
    for (const seed of seeds) {
      const world = new World(seed, root);
      world.faultShare = faultShare;
      for (let i = 0; i < 6; i++) {
        for (let rounds = Math.floor(world.random() * 5); rounds > 0; rounds--) await world.round();
        world.disturb();
      }
      world.faultShare = 0;
      await world.settle();
      const now = world.clock.monotonic();
      const views = [...world.state.views.values()];
      if (finished({ pod: world.pod, views, now, replacing: new Set() })) {
        assert.not.ok(sandboxOf(views), `seed ${seed}: a finished pod has no sandbox`);
        continue;
      }
      const running = world.containers.filter((c) => c.state === 'running').map((c) => c.labels[label.container]);
      const policy = world.pod.spec.restartPolicy;
      for (const { name } of world.pod.spec.containers) {
        if (policy === 'Always') assert.ok(running.includes(name), `seed ${seed}: ${name} runs`);
      }
      assert.ok(running.includes(sandboxName), `seed ${seed}: the sandbox runs`);
    }
  });
}

test('a healthy container is never ended: not by more planning, not by a new agent', async () => {
  for (const seed of seeds) {
    const world = new World(seed, root);
    await world.settle();
    const before = world.containers.filter((c) => c.state === 'running').map((c) => [c.id, c.startedMs]);
    world.ended.clear();
    for (let i = 0; i < 3; i++) {
      world.restartAgent();
      world.clock.advance(3_600_000);
      await world.settle();
    }
    assert.equal(world.containers.filter((c) => c.state === 'running').map((c) => [c.id, c.startedMs]), before, `seed ${seed}`);
    assert.is(world.ended.size, 0);
  }
});

test('a changed image restarts that container and no other', async () => {
  for (const seed of seeds) {
    const world = new World(seed, root);
    await world.settle();
    const [first, ...others] = world.pod.spec.containers;
    const before = world.containers.filter((c) => c.state === 'running' && c.labels[label.container] !== first!.name).map((c) => c.id);
    world.pod = { ...world.pod, spec: { ...world.pod.spec, containers: [{ ...first!, image: 'a:2' }, ...others] } };
    world.state.pod = world.pod;
    await world.settle();
    const after = world.containers.filter((c) => c.state === 'running');
    assert.is(after.find((c) => c.labels[label.container] === first!.name)?.imageId, 'sha256:a:2', `seed ${seed}`);
    assert.equal(after.filter((c) => c.labels[label.container] !== first!.name).map((c) => c.id), before, `seed ${seed}`);
  }
});

test('a deleted pod leaves nothing, at whatever point it was', async () => {
  for (const seed of seeds) {
    const world = new World(seed, root);
    world.faultShare = 0.1;
    for (let rounds = Math.floor(world.random() * 8); rounds > 0; rounds--) await world.round();
    if (world.random() < 0.5) world.disturb();
    world.ending = { kind: 'deleted', graceSeconds: 30 };
    world.faultShare = 0;
    await world.settle();
    assert.is(world.plan().gone, true, `seed ${seed}`);
    assert.equal(world.containers, []);
  }
});

test.run();
