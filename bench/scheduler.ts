import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../shared/clock.ts';
import { kinds } from '../shared/kinds/index.ts';
import { nodes, type Node } from '../shared/kinds/node.ts';
import { pods, type Pod } from '../shared/kinds/pod.ts';
import { silentLog } from '../shared/log.ts';
import { keyOf, type KubeObject } from '../shared/meta.ts';
import { bind } from '../master/registry/binding.ts';
import { Registry } from '../master/registry/registry.ts';
import { plugins } from '../master/scheduler/plugins/index.ts';
import { Scheduler } from '../master/scheduler/scheduler.ts';
import { Scores } from '../master/scheduler/scores.ts';
import { Shapes } from '../master/scheduler/shape.ts';
import { Snapshot } from '../master/scheduler/snapshot.ts';
import { openLmdbStore } from '../master/store/lmdb.ts';
import type { Op, Store } from '../master/store/store.ts';
import { median, note, report } from './report.ts';

/**
 * Pods placed on 5,000 nodes and durably bound, per second: all pods wait in the store when the scheduler starts. The
 * baseline looks at every node anew for every pod, and binds in the same way.
 */
const NODES = 5000;
const PODS = 30_000;
const NAIVE_PODS = 3000;
const CONTROLLERS = 20;
const ROUNDS = 3;

const parent = process.env['BENCH_DIR'] ?? '.';

export async function bench(): Promise<void> {
  const [ours, naive]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await measure(PODS, scheduled));
    naive.push(await measure(NAIVE_PODS, scanned));
    note(`scheduler: ${Math.round(ours.at(-1)!)} pods/s, full scan ${Math.round(naive.at(-1)!)} pods/s`);
  }
  report('scheduler.rate', median(ours), 'pods/s', median(naive));
}

async function measure(count: number, run: (registry: Registry, count: number) => Promise<number>): Promise<number> {
  const directory = await mkdtemp(join(parent, 'bench-scheduler-'));
  const store = await openLmdbStore({ directory });
  try {
    const registry = new Registry({ store, clock: systemClock, random: Math.random, kinds, allocators: [], cacheBytes: 256 * 1024 * 1024 });
    await fill(registry, count);
    const ms = await run(registry, count);
    return count / ms * 1000;
  } finally {
    await store.close();
    await rm(directory, { recursive: true });
  }
}

/** Nodes and waiting pods, as the API would have stored them. */
async function fill(registry: Registry, count: number): Promise<void> {
  const pod = (await registry.create(pods, 'default', podDocument(), { dryRun: true })).object;
  const owners = Array.from({ length: CONTROLLERS }, () => randomUUID());
  await put(registry.store, Array.from({ length: NODES }, (_, index) => node(index)), nodes.prefix);
  await put(registry.store, Array.from({ length: count }, (_, index): Pod => ({
    ...pod,
    metadata: {
      ...pod.metadata, name: `pod-${index}`, uid: randomUUID(),
      ownerReferences: [{ apiVersion: 'v1', kind: 'ReplicationController', name: `rc-${index % CONTROLLERS}`, uid: owners[index % CONTROLLERS]!, controller: true }],
    },
  })), pods.prefix);
}

async function put(store: Store, objects: readonly KubeObject[], prefix: string): Promise<void> {
  for (let from = 0; from < objects.length; from += 1000) {
    await store.write(objects.slice(from, from + 1000).map((object): Op => ({
      type: 'put', key: prefix + keyOf(object), expect: 0,
      value: (revision) => Buffer.from(JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } })),
    })));
  }
}

const node = (index: number): Node => ({
  apiVersion: 'v1', kind: 'Node', metadata: { name: `node-${index}`, labels: { 'kubernetes.io/hostname': `node-${index}`, zone: `z${index % 10}` }, uid: randomUUID() },
  spec: { podCIDR: '10.0.0.0/24' },
  status: { capacity: { cpu: '4', memory: '8Gi', pods: '110' }, allocatable: { cpu: '4', memory: '8Gi', pods: '110' }, daemonEndpoints: {} },
});

const podDocument = (): unknown => ({
  metadata: { name: 'template', labels: { app: 'web', tier: 'front' } },
  spec: {
    containers: [{
      name: 'web', image: 'registry.example.com/web:1.2.3', ports: [{ name: 'http', containerPort: 8080 }],
      resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '200m', memory: '128Mi' } },
      env: Array.from({ length: 10 }, (_, index) => ({ name: `VARIABLE_${index}`, value: `value number ${index}` })),
      readinessProbe: { httpGet: { path: '/ready', port: 8080 } }, livenessProbe: { httpGet: { path: '/alive', port: 8080 } },
    }],
    tolerations: ['not-ready', 'unreachable'].map((what) => ({ key: `node.kubernetes.io/${what}`, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })),
  },
});

/** Milliseconds from the first placement to the last durable bind. */
async function scheduled(registry: Registry, count: number): Promise<number> {
  const abort = new AbortController();
  let [bound, began] = [0, 0];
  const all = new Promise<void>((resolve) => {
    registry.changes(registry.store.revision, (changes) => {
      bound += changes.length;
      if (bound >= count) resolve();
    }, abort.signal);
  });
  const scheduler = new Scheduler({
    registry, clock: systemClock, log: silentLog, plugins, recorder: { event: () => {} }, onStarted: () => { began = performance.now(); },
  });
  const running = scheduler.run(abort.signal);
  await all;
  const ms = performance.now() - began;
  abort.abort();
  await running;
  return ms;
}

async function scanned(registry: Registry, _count: number): Promise<number> {
  const [snapshot, shapes] = [new Snapshot(), new Shapes()];
  for (const each of registry.each(nodes)) snapshot.setNode(each);
  const waiting = registry.all(pods);
  const began = performance.now();
  const binds: Promise<number>[] = [];
  for (const pod of waiting) {
    const shape = shapes.of(pod);
    const name = snapshot.facts(new Scores(shape, snapshot, plugins).best()!).name;
    snapshot.setPod(keyOf(pod), shape, name);
    binds.push(bind(registry, 'default', pod.metadata.name!, { target: { name } }, { clock: systemClock }));
    if (binds.length % 128 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(binds);
  return performance.now() - began;
}
