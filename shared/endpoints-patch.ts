import type { EndpointsItem, EndpointTuple, SlicePatch } from './protocol.ts';

type Endpoint = EndpointsItem['endpoints'][number];

const [ready, serving, terminating] = [1, 2, 4];

/**
 * What turns slice `before` into `after`, e.g. one pod of ten that became ready:
 * `['default', 'web-x1', 41, 57, [[['10.42.0.7'], 3, 'n1', '', 'web-7']], []]`.
 * Undefined where the whole item is the better (ports differ, addresses repeat, most endpoints changed) or the only way.
 */
export function diffEndpoints(before: EndpointsItem, after: EndpointsItem): SlicePatch | undefined {
  if (before.service !== after.service || JSON.stringify(before.ports) !== JSON.stringify(after.ports)) return undefined;
  const was = byAddress(before.endpoints);
  const is = byAddress(after.endpoints);
  if (!was || !is) return undefined;
  const set = [...is].filter(([address, endpoint]) => !same(was.get(address), endpoint)).map(([, endpoint]) => toTuple(endpoint));
  const removed = [...was.keys()].filter((address) => !is.has(address));
  if ((set.length + removed.length) * 2 > after.endpoints.length + 1) return undefined;
  return [after.namespace, after.name, before.revision, after.revision, set, removed];
}

/** The slice after a patch that {@link diffEndpoints} made from it; the order of endpoints may differ from the master's. */
export function patchEndpoints(held: EndpointsItem, patch: SlicePatch): EndpointsItem {
  const [, , , revision, set, removed] = patch;
  const endpoints = byAddress(held.endpoints) ?? new Map<string, Endpoint>();
  for (const address of removed) endpoints.delete(address);
  for (const tuple of set) endpoints.set(tuple[0][0] ?? '', fromTuple(tuple));
  return { ...held, revision, endpoints: [...endpoints.values()] };
}

/** Endpoints by first address; undefined when two share one or one has none. */
function byAddress(endpoints: readonly Endpoint[]): Map<string, Endpoint> | undefined {
  const map = new Map(endpoints.map((endpoint) => [endpoint.addresses[0] ?? '', endpoint]));
  return map.size === endpoints.length && !map.has('') ? map : undefined;
}

const same = (a: Endpoint | undefined, b: Endpoint): boolean => a !== undefined && JSON.stringify(toTuple(a)) === JSON.stringify(toTuple(b));

const toTuple = (e: Endpoint): EndpointTuple => [
  e.addresses, (e.ready ? ready : 0) | (e.serving ? serving : 0) | (e.terminating ? terminating : 0), e.nodeName ?? '', e.hostname ?? '', e.pod ?? '',
];

const fromTuple = ([addresses, flags, nodeName, hostname, pod]: EndpointTuple): Endpoint => ({
  addresses, ready: (flags & ready) !== 0, serving: (flags & serving) !== 0, terminating: (flags & terminating) !== 0,
  ...(nodeName ? { nodeName } : {}), ...(hostname ? { hostname } : {}), ...(pod ? { pod } : {}),
});
