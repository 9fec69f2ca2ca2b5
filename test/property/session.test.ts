import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Session } from '../../agent/session.ts';
import { configMaps } from '../../shared/kinds/configmap.ts';
import { endpointSlices } from '../../shared/kinds/endpointslice.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { services } from '../../shared/kinds/service.ts';
import { createLog } from '../../shared/log.ts';
import { itemKey, type Item } from '../../shared/protocol.ts';
import { configMapItem, endpointsItem, podItem, serviceItem } from '../../master/hub/items.ts';
import { dependenciesOf } from '../../master/hub/references.ts';
import { LinkedCluster, nodeOf } from '../fakes/cluster-link.ts';
import { MemoryState } from '../fakes/memory-state.ts';
import { seeded } from './random.ts';

const test = suite('session property');
const log = createLog({ component: 'test', level: (process.env['LOG'] as 'debug' | undefined) ?? 'error' });
const schedules = Number(process.env['SCHEDULES'] ?? 300);
const nodeNames = ['n1', 'n2'];

/** A cluster to which things happen at random, and what must hold of it throughout. */
class World {
  readonly #random: () => number;
  readonly cluster: LinkedCluster;
  readonly #agents = new Map<string, { state: MemoryState; session: Session; stop: () => Promise<void> }>();
  /** Last phase reported, by pod uid. */
  readonly #reported = new Map<string, string>();
  #serial = 0;

  constructor(random: () => number) {
    this.#random = random;
    this.cluster = new LinkedCluster({ log, random, delayMs: () => (random() < 0.1 ? random() * 2000 : random() * 20) });
  }

  async start(): Promise<void> {
    for (const name of ['default', 'kube-node-lease']) await this.cluster.registry.create(namespaces, '', { metadata: { name } });
    for (const name of ['a', 'b']) await this.cluster.registry.create(configMaps, 'default', { metadata: { name }, data: { n: '0' } });
    await this.cluster.startMaster();
    for (const node of nodeNames) this.#startAgent(node, this.#newState());
  }

  async stop(): Promise<void> {
    for (const { stop } of this.#agents.values()) await stop();
    await this.cluster.stopMaster();
  }

  #newState(): MemoryState {
    return new MemoryState(() => new Promise((resolve, reject) => {
      const fails = this.#random() < 0.03;
      this.cluster.clock.after(this.#random() * 30, () => (fails ? reject(new Error('disk full')) : resolve()));
    }));
  }

  #startAgent(node: string, state: MemoryState): void {
    const quiet = createLog({ component: node, level: (process.env['LOG'] as 'debug' | undefined) ?? 'error', write: process.env['LOG'] ? (line) => { process.stderr.write(line); } : () => {} });
    const agent = { state, ...this.cluster.startAgent(node, state, { log: quiet, resendMs: 5000, backoff: { baseMs: 200, maxMs: 2000, healthyMs: 5000 } }) };
    this.#agents.set(node, agent);
    agent.session.setNode(nodeOf(node));
    // As the pod manager does after a restart.
    for (const pod of this.cluster.registry.each(pods)) if (pod.spec.nodeName === node && this.#reported.has(pod.metadata.uid!)) this.#report(node, pod);
  }

  #report(node: string, pod: Pod, phase = this.#reported.get(pod.metadata.uid!) ?? 'Pending'): void {
    this.#reported.set(pod.metadata.uid!, phase);
    this.#agents.get(node)!.session.report({ namespace: 'default', name: pod.metadata.name!, uid: pod.metadata.uid!, gone: false, status: { phase: 'Running', message: phase } });
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.#random() * list.length)];
  }

  async step(): Promise<void> {
    const { registry, clock } = this.cluster;
    const node = this.#pick(nodeNames)!;
    const all = registry.all(pods);
    const pod = this.#pick(all);
    const actions: (() => Promise<unknown> | void)[] = [
      () => registry.create(pods, 'default', this.#newPod(node)),
      () => registry.create(pods, 'default', this.#newPod(node)),
      () => pod && this.#report(pod.spec.nodeName!, pod, `said ${this.#serial++}`),
      () => pod && this.#report(pod.spec.nodeName!, pod, `said ${this.#serial++}`),
      () => pod && registry.delete(pods, 'default', pod.metadata.name!, { gracePeriodSeconds: 30 }),
      () => pod && registry.delete(pods, 'default', pod.metadata.name!, { gracePeriodSeconds: 0 }),
      () => pod && registry.modify(pods, 'default', pod.metadata.name!, (current) => Object.assign(current, { metadata: { ...current.metadata, labels: { n: String(this.#serial++) } } })),
      () => this.#touchConfigMap(),
      () => this.#touchService(),
      () => this.#touchSlice(),
      () => this.#touchSlice(),
      () => this.cluster.links.get(node)?.cut(),
      () => this.cluster.links.get(node)?.ends[Math.floor(this.#random() * 2)]!.destroy(),
      () => this.#restartAgent(node),
      async () => { if (this.#random() < 0.3) await this.#restartMaster(); },
      async () => { if (this.#random() < 0.3) await registry.store.compact(Math.floor(registry.store.revision * this.#random())); },
    ];
    await this.#pick(actions)!();
    const rest = this.#random();
    await clock.pass(rest < 0.4 ? 0 : rest < 0.9 ? this.#random() * 50 : this.#random() * 20_000);
  }

  /** Some of the time it comes back without a memory of what was removed while nobody was connected. */
  async #restartMaster(): Promise<void> {
    const { registry, clock } = this.cluster;
    await this.cluster.stopMaster();
    if (this.#random() < 0.5) {
      await this.#touchService();
      await this.#touchConfigMap();
      const pod = this.#pick(registry.all(pods));
      if (pod) await registry.delete(pods, 'default', pod.metadata.name!, { gracePeriodSeconds: 0 });
      await registry.store.compact(registry.store.revision);
    }
    await clock.pass(this.#random() * 5000);
    await this.cluster.startMaster();
  }

  async #restartAgent(node: string): Promise<void> {
    const agent = this.#agents.get(node)!;
    await agent.stop();
    await agent.state.close();
    this.#startAgent(node, this.#random() < 0.2 ? this.#newState() : agent.state);
  }

  #newPod(nodeName: string): object {
    return {
      metadata: { name: `pod-${this.#serial++ % 6}-${this.#serial}` },
      spec: { nodeName, containers: [{ name: 'c', image: 'i', ...(this.#random() < 0.5 ? { envFrom: [{ configMapRef: { name: this.#pick(['a', 'b', 'c'])! } }] } : {}) }] },
    };
  }

  async #touchConfigMap(): Promise<void> {
    const { registry } = this.cluster;
    const name = this.#pick(['a', 'b', 'c'])!;
    if (!registry.find(configMaps, 'default', name)) await registry.create(configMaps, 'default', { metadata: { name }, data: {} });
    else if (this.#random() < 0.3) await registry.delete(configMaps, 'default', name);
    else await registry.modify(configMaps, 'default', name, (current) => Object.assign(current, { data: { n: String(this.#serial++).padEnd(this.#random() < 0.3 ? 20_000 : 1) } }));
  }

  async #touchService(): Promise<void> {
    const { registry } = this.cluster;
    const name = this.#pick(['s', 't'])!;
    if (!registry.find(services, 'default', name)) await registry.create(services, 'default', { metadata: { name }, spec: { clusterIP: 'None', selector: { a: 'b' } } });
    else await registry.delete(services, 'default', name);
  }

  async #touchSlice(): Promise<void> {
    const { registry } = this.cluster;
    const name = this.#pick(['s-1', 't-1'])!;
    const endpoints = Array.from({ length: 6 }, (_, i) => i).filter(() => this.#random() < 0.8)
      .map((i) => ({ addresses: [`10.0.0.${i}`], conditions: { ready: this.#random() < 0.9 }, nodeName: 'n1' }));
    const document = { metadata: { name, labels: { 'kubernetes.io/service-name': 's' } }, addressType: 'IPv4', ports: [{ name: '', port: 80, protocol: 'TCP' }], endpoints };
    if (!registry.find(endpointSlices, 'default', name)) await registry.create(endpointSlices, 'default', document);
    else if (this.#random() < 0.1) await registry.delete(endpointSlices, 'default', name);
    else await registry.update(endpointSlices, 'default', name, document);
  }

  /** Everything that a node should hold, by key, in comparable form. */
  #wanted(node: string): Map<string, string> {
    const { registry } = this.cluster;
    const items: (Item | undefined)[] = [
      ...registry.all(services).map((object) => serviceItem(object, 0)), ...registry.all(endpointSlices).map((object) => endpointsItem(object, 0)),
    ];
    for (const pod of registry.each(pods)) {
      if (pod.spec.nodeName !== node) continue;
      items.push(podItem(pod, 0));
      for (const key of dependenciesOf(pod)) {
        const object = registry.find(configMaps, 'default', key.split('/')[2]!);
        if (object) items.push(configMapItem(object, 0));
      }
    }
    return comparable(items.filter((item) => item !== undefined));
  }

  /** What is still not as it should be; `''` when all has converged. */
  problem(): string {
    for (const node of nodeNames) {
      const wanted = this.#wanted(node);
      const held = comparable([...this.#agents.get(node)!.state.items.values()]);
      for (const [key, text] of wanted) if (held.get(key) !== text) return `${node} holds ${held.get(key)} for ${text}`;
      for (const key of held.keys()) if (!wanted.has(key)) return `${node} still holds ${key}`;
    }
    for (const pod of this.cluster.registry.each(pods)) {
      const phase = this.#reported.get(pod.metadata.uid!);
      if (phase !== undefined && pod.status.message !== phase) return `${pod.metadata.name} is ${pod.status.message}, reported ${phase}`;
    }
    return '';
  }

  /** No state ever went backwards within an epoch, and no item within a delta was older than what it replaced. */
  checkOrder(): void {
    for (const { state } of this.#agents.values()) {
      let last = 0;
      const revisions = new Map<string, number>();
      for (const batch of state.applied) {
        assert.ok(batch.revision >= last, `${batch.revision} after ${last}`);
        assert.ok(batch.complete || batch.revision > last, `delta to ${batch.revision} applied twice`);
        last = batch.revision;
        if (batch.complete) revisions.clear();
        for (const item of batch.items) {
          assert.ok((revisions.get(itemKey(item)) ?? 0) <= item.revision, `${itemKey(item)} went back`);
          revisions.set(itemKey(item), item.revision);
        }
      }
    }
  }
}

function comparable(items: readonly Item[]): Map<string, string> {
  return new Map(items.map((item) => {
    const plain: unknown = item.type === 'endpoints' ? { ...item, endpoints: [...item.endpoints].sort((a, b) => (a.addresses[0]! < b.addresses[0]! ? -1 : 1)) } : item;
    return [itemKey(item), JSON.stringify(plain, (_, value: unknown) => (value !== null && typeof value === 'object' && !Array.isArray(value) ? sorted(value) : value)).replace(/"revision":\d+/, '')];
  }));
}

const sorted = (value: object): object => Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));

test(`${schedules} random schedules of writes, cuts, restarts and disk failures converge`, async () => {
  const first = Number(process.env['SEED'] ?? 1);
  for (let seed = first; seed < first + schedules; seed++) {
    const world = new World(seeded(seed).next);
    await world.start();
    for (let i = 0; i < 30; i++) await world.step();
    const converged = await world.cluster.clock.pass(180_000, () => world.problem() === '');
    assert.ok(converged, `seed ${seed}: ${world.problem()}`);
    world.checkOrder();
    await world.stop();
  }
});

test.run();
