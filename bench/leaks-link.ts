import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { namespaces } from '../shared/kinds/namespace.ts';
import { pods } from '../shared/kinds/pod.ts';
import { LinkedCluster, nodeOf } from '../test/fakes/cluster-link.ts';
import { settle } from '../test/fakes/link.ts';
import { MemoryState } from '../test/fakes/memory-state.ts';
import { note, report } from './report.ts';

/**
 * Real sessions of both ends over sockets in memory, whose connections break again and again: `leaks.reconnects`, by how
 * many % the heap has grown after 100,000 of them.
 */
const reconnects = Number(process.env['RECONNECTS'] ?? 100_000);
const agents = 50;
/** Rounds after which every cache, buffer and optimised function is there. */
const warmRounds = 100;
/** One of so many breaks is a pulled cable, which either end only notices by the other's silence. */
const cableEvery = 10;
/** Longer than any backoff after a good session, and than a silence that ends one. */
const roundMs = 60_000;

type Agents = readonly { readonly name: string; readonly state: MemoryState; readonly agent: ReturnType<LinkedCluster['startAgent']> }[];

export async function bench(): Promise<void> {
  // The cache of parsed objects is meant to fill; here it is full from the start.
  const cluster = new LinkedCluster({ cacheBytes: 128 * 1024 });
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster();
  const started: Agents = await Promise.all(Array.from({ length: agents }, (_, index) => startAgent(cluster, `n${index}`)));
  for (let round = 0; round < warmRounds; round++) await breakAll(cluster, started, round);
  const before = await heapBytes(cluster);
  const rounds = Math.ceil(reconnects / agents);
  for (let round = 0; round < rounds; round++) await breakAll(cluster, started, round);
  const after = await heapBytes(cluster);
  note(`${rounds * agents} reconnects: ${(before / 2 ** 20).toFixed(2)} → ${(after / 2 ** 20).toFixed(2)} MB of heap in use by ${agents} agents' sessions and their master`);
  report('leaks.reconnects', (after / before - 1) * 100, `% that the heap of master and agents' sessions grew by over ${rounds * agents} reconnects`);
  for (const { agent } of started) await agent.stop();
  await cluster.stopMaster();
}

async function startAgent(cluster: LinkedCluster, name: string): Promise<Agents[number]> {
  await cluster.registry.create(pods, 'default', { metadata: { name: `pod-${name}` }, spec: { nodeName: name, containers: [{ name: 'web', image: 'nginx' }] } });
  const state = new MemoryState();
  const agent = cluster.startAgent(name, state);
  agent.session.setNode(nodeOf(name));
  return { name, state, agent };
}

/** Breaks every connection once, with a report on its way, and waits until all agents are back. @throws Error when one is not */
async function breakAll(cluster: LinkedCluster, all: Agents, round: number): Promise<void> {
  for (const [index, { name, agent }] of all.entries()) {
    const pod = cluster.registry.find(pods, 'default', `pod-${name}`);
    agent.session.report({ namespace: 'default', name: `pod-${name}`, uid: pod?.metadata.uid ?? '', gone: false, status: { phase: 'Running' } });
    const link = cluster.links.get(name)!;
    if ((round + index) % cableEvery === 0) link.cut();
    else link.ends[(round + index) % 2]!.destroy();
  }
  await cluster.clock.pass(roundMs);
  const away = all.filter(({ name }) => !cluster.hub.isConnected(name));
  if (away.length > 0) throw new Error(`${away.length} agents are not back ${roundMs / 1000} s after the break`);
  // What the fakes note for tests is not what is measured.
  cluster.frames.splice(0);
  for (const { state } of all) state.applied.splice(0);
}

async function heapBytes(cluster: LinkedCluster): Promise<number> {
  // Leases and nodes are written all the while; history is no leak.
  await cluster.registry.store.compact(cluster.registry.store.revision);
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let turn = 0; turn < 4; turn++) {
    await settle();
    gc();
  }
  return process.memoryUsage().heapUsed;
}
