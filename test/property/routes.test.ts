import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listenerKey, planRoutes } from '../../agent/net/routes.ts';
import type { EndpointsItem, Item, ServiceItem } from '../../shared/protocol.ts';

const test = suite('routes, properties');
const node = { nodeName: 'n1', nodeAddresses: ['192.168.1.5'] };
const rounds = 2_000;

/** A small generator with a seed, so that a failure can be run again. */
function generator(seed: number): { below(limit: number): number; chance(part: number): boolean; one<T>(list: readonly T[]): T } {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return { below, chance: (part) => next() < part, one: (list) => list[below(list.length)]! };
}
type Generator = ReturnType<typeof generator>;

const names = ['a', 'b', 'c'];
const protocols = ['TCP', 'UDP', 'SCTP'] as const;

function randomService(g: Generator, name: string): ServiceItem {
  return {
    type: 'service', revision: 1, namespace: 'default', name,
    serviceType: g.one(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']),
    clusterIPs: g.one([[], ['None'], [`10.96.0.${g.below(3)}`], [`10.96.0.${g.below(3)}`, 'fd00:96::1']]),
    ports: Array.from({ length: g.below(3) }, () => ({
      name: g.one(['', 'x', 'y']), protocol: g.one(protocols), port: 1 + g.below(3), ...(g.chance(0.5) ? { nodePort: 30_000 + g.below(3) } : {}),
    })),
    affinitySeconds: g.one([0, 10_800]), internalTrafficPolicy: g.one(['Cluster', 'Local']), externalTrafficPolicy: g.one(['Cluster', 'Local']),
    publishNotReadyAddresses: g.chance(0.2),
  };
}

function randomSlice(g: Generator, index: number): EndpointsItem {
  return {
    type: 'endpoints', revision: 1, namespace: 'default', name: `slice-${index}`, service: g.one(names),
    ports: Array.from({ length: g.below(3) }, () => ({ name: g.one(['', 'x', 'y']), protocol: g.one(protocols), port: 8_000 + g.below(2) })),
    endpoints: Array.from({ length: g.below(4) }, () => ({
      addresses: g.one([[], [`10.1.0.${g.below(4)}`], ['192.168.1.5'], ['fd00::1']]), ready: g.chance(0.6), serving: g.chance(0.7), terminating: g.chance(0.3),
      ...(g.chance(0.8) ? { nodeName: g.one(['n1', 'n2']) } : {}),
    })),
  };
}

function randomItems(g: Generator): Item[] {
  return [...names.filter(() => g.chance(0.8)).map((name) => randomService(g, name)), ...Array.from({ length: g.below(5) }, (_, index) => randomSlice(g, index))];
}

function shuffled<T>(g: Generator, list: readonly T[]): T[] {
  const left = [...list];
  return list.map(() => left.splice(g.below(left.length), 1)[0]!);
}

for (let seed = 1; seed <= rounds; seed++) {
  const g = generator(seed);
  const items = randomItems(g);
  const listeners = planRoutes(items, node);
  const services = items.filter((item) => item.type === 'service');
  const slices = items.filter((item) => item.type === 'endpoints');
  const problem = ((): string | undefined => {
    const keys = listeners.map(listenerKey);
    if (new Set(keys).size !== keys.length) return 'two listeners share a socket';
    if (keys.some((key, index) => index > 0 && keys[index - 1]! >= key)) return 'listeners are not sorted';
    if (JSON.stringify(planRoutes(shuffled(g, items), node)) !== JSON.stringify(listeners)) return 'the order of items matters';
    for (const listener of listeners) {
      const service = services.find((one) => listener.service.startsWith(`default/${one.name}:`));
      if (!service || service.serviceType === 'ExternalName') return 'a listener without a service';
      const policy = service.clusterIPs.includes(listener.address) ? service.internalTrafficPolicy : service.externalTrafficPolicy;
      const offered = slices.filter((slice) => slice.service === service.name).flatMap((slice) => slice.endpoints);
      const seen = new Set<string>();
      for (const backend of listener.backends) {
        if (seen.has(`${backend.address}:${backend.port}`)) return 'a backend twice';
        seen.add(`${backend.address}:${backend.port}`);
        const sources = offered.filter((endpoint) => endpoint.addresses[0] === backend.address);
        if (!sources.some((endpoint) => endpoint.ready || service.publishNotReadyAddresses || (endpoint.serving && endpoint.terminating))) return 'a backend that nobody offers';
        if (policy === 'Local' && backend.nodeName !== node.nodeName) return 'a backend elsewhere under policy Local';
      }
    }
    return undefined;
  })();
  if (problem) test(`seed ${seed}`, () => assert.unreachable(`${problem}: ${JSON.stringify({ items, listeners }, null, 1)}`));
}

test(`${rounds} random sets of services and slices were planned soundly`, () => {});

test.run();
