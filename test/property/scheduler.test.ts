import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Node } from '../../shared/kinds/node.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { plugins } from '../../master/scheduler/plugins/index.ts';
import { Scores } from '../../master/scheduler/scores.ts';
import { Shapes, type Shape } from '../../master/scheduler/shape.ts';
import { Snapshot } from '../../master/scheduler/snapshot.ts';
import { seeded, type Random } from './random.ts';

const test = suite('scheduler properties');

interface Placed { readonly pod: Pod; readonly shape: Shape; readonly node: string }

const randomNode = (random: Random, index: number): Node => ({
  apiVersion: 'v1', kind: 'Node', metadata: { name: `n${index}`, labels: { zone: random.one(['a', 'b']) } },
  spec: { ...(random.chance(0.2) ? { taints: [{ key: 'k', effect: 'NoSchedule' as const }] } : {}), ...(random.chance(0.1) ? { unschedulable: true } : {}) },
  status: { allocatable: { cpu: `${1 + random.below(4)}`, memory: `${1 + random.below(8)}Gi`, pods: `${1 + random.below(10)}` }, daemonEndpoints: {} },
});

/** Few different pods, so that shapes repeat. */
function randomPod(random: Random, index: number): Pod {
  const requests = { cpu: `${random.below(4) * 250}m`, memory: `${random.below(4) * 256}Mi` };
  const ports = random.chance(0.3) ? [{ containerPort: 80, hostPort: 8000 + random.below(2), protocol: 'TCP', ...(random.chance(0.3) ? { hostIP: '10.0.0.1' } : {}) }] : [];
  return {
    apiVersion: 'v1', kind: 'Pod', metadata: { name: `p${index}`, namespace: 'default', labels: { app: random.one(['x', 'y']) } },
    spec: {
      containers: [{ name: 'c', resources: { requests }, ports }],
      ...(random.chance(0.3) ? { tolerations: [{ operator: 'Exists' }] } : {}), ...(random.chance(0.3) ? { nodeSelector: { zone: 'a' } } : {}),
    },
    status: {},
  } as unknown as Pod;
}

/** Whether a node takes a pod beside others, worked out from the objects alone. */
function fits(pod: Pod, node: Node, others: readonly Pod[]): boolean {
  const tolerant = Boolean(pod.spec.tolerations);
  if ((node.spec.unschedulable || node.spec.taints?.length) && !tolerant) return false;
  if (pod.spec.nodeSelector && node.metadata.labels?.['zone'] !== pod.spec.nodeSelector['zone']) return false;
  const all = [...others, pod];
  const request = ({ spec }: Pod, name: string): number => parseInt(spec.containers[0]!.resources?.requests?.[name] ?? '0', 10);
  // A node that shrank below what it runs still takes a pod that asks for nothing of what is short.
  const over = (name: string, limit: number): boolean => request(pod, name) > 0 && all.reduce((total, other) => total + request(other, name), 0) > limit;
  const allocatable = node.status.allocatable!;
  if (all.length > Number(allocatable['pods']) || over('cpu', Number(allocatable['cpu']) * 1000) || over('memory', parseInt(allocatable['memory']!, 10) * 1024)) return false;
  const port = pod.spec.containers[0]!.ports?.[0];
  return !port || !others.some(({ spec }) => {
    const other = spec.containers[0]!.ports?.[0];
    return other?.hostPort === port.hostPort && (!other?.hostIP || !port.hostIP || other.hostIP === port.hostIP);
  });
}

/** A world that changes at random, with the scheduler's own view of it. */
class World {
  readonly random: Random;
  readonly snapshot = new Snapshot();
  readonly shapes = new Shapes();
  readonly scores = new Map<Shape, Scores>();
  readonly nodes = new Map<string, Node>();
  readonly placed: Placed[] = [];
  #count = 0;

  constructor(random: Random) {
    this.random = random;
  }

  on(node: string): Pod[] {
    return this.placed.filter((placed) => placed.node === node).map(({ pod }) => pod);
  }

  changeNode(): void {
    const node = randomNode(this.random, this.random.below(80));
    const name = node.metadata.name!;
    if (this.random.chance(0.3)) {
      this.nodes.delete(name);
      this.snapshot.removeNode(name);
    } else {
      this.nodes.set(name, node);
      this.snapshot.setNode(node);
    }
  }

  endPod(): void {
    const [gone] = this.placed.splice(this.random.below(this.placed.length), 1);
    if (gone) this.snapshot.removePod(gone.pod.metadata.name!);
  }

  /** Places a pod with kept scores, and checks the choice against all objects. */
  place(): void {
    const pod = randomPod(this.random, this.#count++);
    const shape = this.shapes.of(pod);
    let scores = this.scores.get(shape);
    if (!scores) this.scores.set(shape, scores = new Scores(shape, this.snapshot, plugins));
    const slot = scores.best();
    const possible = [...this.nodes.values()].filter((node) => fits(pod, node, this.on(node.metadata.name!))).map((node) => node.metadata.name!);
    if (slot === undefined) return assert.equal(possible, [], 'a pod that fits somewhere was refused');
    const node = this.snapshot.facts(slot).name;
    assert.ok(possible.includes(node), `${node} does not take the pod`);
    // What is kept must be what a look at everything would find.
    const fresh = new Scores(shape, this.snapshot, plugins).scoreOf(slot);
    assert.is(scores.scoreOf(slot), fresh);
    for (const other of possible) assert.ok(scores.scoreOf(this.snapshot.slotOf(other)!) <= fresh, `${other} is better than ${node}`);
    this.snapshot.setPod(pod.metadata.name!, shape, node);
    this.placed.push({ pod, shape, node });
  }
}

for (let seed = 1; seed <= 20; seed++) {
  test(`puts pods only where they fit, and where a full scan would (seed ${seed})`, () => {
    const world = new World(seeded(seed));
    for (let step = 0; step < 400; step++) {
      const choice = world.random.next();
      if (choice < 0.2) world.changeNode();
      else if (choice < 0.35 && world.placed.length > 0) world.endPod();
      else world.place();
    }
  });
}

test.run();
