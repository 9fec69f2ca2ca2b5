import { setImmediate as turn } from 'node:timers/promises';
import { Registry } from '../master/registry/registry.ts';
import { Fleet } from '../master/status/fleet.ts';
import { openMemoryStore } from '../master/store/memory.ts';
import { systemClock } from '../shared/clock.ts';
import { kinds } from '../shared/kinds/index.ts';
import { namespaces } from '../shared/kinds/namespace.ts';
import { nodes } from '../shared/kinds/node.ts';
import { pods } from '../shared/kinds/pod.ts';
import { median, note, report } from './report.ts';

const fleetSize = 2000;
const podsPerNode = 10;
const rounds = 21;

/** What a watched fleet costs the master, per node with ten pods: memory, CPU of a look at nothing new, bytes of its row. */
export async function bench(): Promise<void> {
  const registry = new Registry({ store: openMemoryStore(), clock: systemClock, random: Math.random, kinds, allocators: [] });
  await registry.create(namespaces, '', { metadata: { name: 'default' } });
  for (let node = 0; node < fleetSize; node++) {
    await registry.create(nodes, '', { metadata: { name: `edge-${node}` } });
    for (let pod = 0; pod < podsPerNode; pod++) await registry.create(pods, 'default', { metadata: { name: `p-${node}-${pod}` }, spec: { nodeName: `edge-${node}`, containers: [{ name: 'a', image: 'a:1' }] } });
  }
  const sinceMs = performance.now();
  const fleet = new Fleet({ registry, clock: systemClock, link: () => ({ connected: true, sinceMs, seenMs: performance.now(), lag: 0, version: '0.1.0' }) });
  const abort = new AbortController();
  const begun = performance.now();
  await fleet.load(abort.signal);
  report('status.load', (performance.now() - begun) * 1000 / fleetSize, 'µs/node');
  await fleet.take();
  const looks: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const at = process.cpuUsage();
    const { changed } = await fleet.take();
    if (changed.length > 0) throw new Error(`${changed.length} nodes changed though nothing happened`);
    const { user, system } = process.cpuUsage(at);
    looks.push((user + system) / fleetSize);
    await turn();
  }
  report('status.look', median(looks), 'µs CPU/node');
  report('status.row', Buffer.byteLength(JSON.stringify([...fleet.rows.values()])) / fleetSize, 'bytes/node');
  abort.abort();
  note(`${fleetSize} nodes with ${podsPerNode} pods each; twice a second while somebody watches, never otherwise`);
}
