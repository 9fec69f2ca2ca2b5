import type { EndpointsItem, Item, ServiceItem } from '../../shared/protocol.ts';

/** Where a connection can go. */
export interface Backend {
  readonly address: string;
  readonly port: number;
  /** Node of the endpoint, where it is known. */
  readonly nodeName?: string;
  /** `namespace/name` of the EndpointSlice that a pod's endpoint is of: what it can be asked of the master by. */
  readonly slice?: string;
}

/** One socket that the proxy must hold open, and where what arrives there goes. */
export interface Listener {
  readonly protocol: 'TCP' | 'UDP';
  /** A service address, a node address, or the wildcard of a family: `0.0.0.0`, `::`. */
  readonly address: string;
  readonly port: number;
  /** `namespace/name:port`, with the port's name, or its number when it has none. */
  readonly service: string;
  /** Seconds that a client stays with its backend; 0 for no affinity. */
  readonly affinitySeconds: number;
  /** Sorted, without duplicates. Empty: connections must be refused. */
  readonly backends: readonly Backend[];
  /** At an address of the world outside, which this node may have now, later or never. */
  readonly external?: true;
}

/** What the plan must know of the node that it is for. */
export interface NodeView {
  readonly nodeName: string;
  /** The node's own addresses, without loopback. */
  readonly nodeAddresses: readonly string[];
}

type ServicePort = ServiceItem['ports'][number];
type ProxiedPort = ServicePort & { readonly protocol: 'TCP' | 'UDP' };
type Candidate = Backend & { readonly ready: boolean; readonly leaving: boolean };

/** `TCP/10.96.0.10:80`: the identity of a listener. */
export function listenerKey(listener: Pick<Listener, 'protocol' | 'address' | 'port'>): string {
  return `${listener.protocol}/${listener.address}:${listener.port}`;
}

/**
 * The listeners that this node needs for the services it knows, sorted by key. Two services that claim one socket
 * are settled by name: the first one has it; but no external address takes a socket that another service has as its
 * own. Items of other types are ignored.
 */
export function planRoutes(items: Iterable<Item>, node: NodeView): Listener[] {
  const { services, slices } = sortOut(items);
  const listeners = new Map<string, Listener>();
  for (const plan of [serviceListeners, externalListeners]) {
    for (const service of services) {
      for (const listener of plan(service, slices.get(`${service.namespace}/${service.name}`) ?? [], node)) {
        const key = listenerKey(listener);
        if (!listeners.has(key)) listeners.set(key, listener);
      }
    }
  }
  return [...listeners].sort(([a], [b]) => compare(a, b)).map(([, listener]) => listener);
}

function sortOut(items: Iterable<Item>): { services: ServiceItem[]; slices: Map<string, EndpointsItem[]> } {
  const services: ServiceItem[] = [];
  const slices = new Map<string, EndpointsItem[]>();
  for (const item of items) {
    if (item.type === 'service') services.push(item);
    if (item.type !== 'endpoints') continue;
    const key = `${item.namespace}/${item.service}`;
    const known = slices.get(key);
    if (known) known.push(item);
    else slices.set(key, [item]);
  }
  services.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
  return { services, slices };
}

function serviceListeners(service: ServiceItem, slices: readonly EndpointsItem[], node: NodeView): Listener[] {
  if (service.serviceType === 'ExternalName') return [];
  const addresses = service.clusterIPs.filter((address) => address !== '' && address !== 'None');
  const listeners: Listener[] = [];
  for (const port of service.ports) {
    if (!isProxied(port)) continue;
    const candidates = candidatesOf(port, slices);
    const within = usable(service, candidates, service.internalTrafficPolicy, node);
    for (const address of addresses) listeners.push(listener(service, port, address, port.port, within, node));
    if (!port.nodePort || service.serviceType === 'ClusterIP') continue;
    const without = usable(service, candidates, service.externalTrafficPolicy, node);
    for (const address of nodePortAddresses(port.protocol, node)) listeners.push(listener(service, port, address, port.nodePort, without, node));
  }
  return listeners;
}

/** Where the service is reached at addresses that are not the cluster's: whichever node has one listens there. */
function externalListeners(service: ServiceItem, slices: readonly EndpointsItem[], node: NodeView): Listener[] {
  if (!service.externalIPs || service.serviceType === 'ExternalName') return [];
  return service.ports.filter(isProxied).flatMap((port) => {
    const backends = usable(service, candidatesOf(port, slices), service.externalTrafficPolicy, node);
    return service.externalIPs!.map((address) => ({ ...listener(service, port, address, port.port, backends, node), external: true as const }));
  });
}

function isProxied(port: ServicePort): port is ProxiedPort {
  return port.protocol !== 'SCTP';
}

/**
 * The wildcard of each family that the node has. UDP gets the node's addresses besides: a reply sent from the
 * wildcard carries the address of the route back, which need not be the one that the client asked.
 */
function nodePortAddresses(protocol: 'TCP' | 'UDP', node: NodeView): string[] {
  const six = node.nodeAddresses.some(isIPv6);
  const wildcards = six ? [...(node.nodeAddresses.every(isIPv6) ? [] : ['0.0.0.0']), '::'] : ['0.0.0.0'];
  return protocol === 'UDP' ? [...wildcards, ...node.nodeAddresses] : wildcards;
}

function listener(service: ServiceItem, port: ProxiedPort, address: string, number: number, candidates: readonly Candidate[], node: NodeView): Listener {
  const reachable = candidates.filter((one) => !isItself(one, address, number, node));
  return {
    protocol: port.protocol, address, port: number,
    service: `${service.namespace}/${service.name}:${port.name || port.port}`,
    affinitySeconds: service.affinitySeconds,
    backends: distinct(sameFamily(reachable, address)),
  };
}

/** First address of each endpoint (they are interchangeable) with each port that carries the service port's name. */
function candidatesOf(port: ProxiedPort, slices: readonly EndpointsItem[]): Candidate[] {
  const found: Candidate[] = [];
  for (const slice of slices) {
    for (const target of slice.ports) {
      if (target.name !== port.name || target.protocol !== port.protocol || target.port === 0) continue;
      for (const endpoint of slice.endpoints) {
        const address = endpoint.addresses[0];
        if (!address) continue;
        found.push({
          address, port: target.port, ready: endpoint.ready, leaving: endpoint.serving && endpoint.terminating,
          ...(endpoint.nodeName === undefined ? {} : { nodeName: endpoint.nodeName }),
          ...(endpoint.nodeName === undefined || endpoint.pod === undefined ? {} : { slice: `${slice.namespace}/${slice.name}` }),
        });
      }
    }
  }
  return found;
}

/** Ready endpoints within the policy's reach; when it has none, those that still serve while they terminate. */
function usable(service: ServiceItem, all: readonly Candidate[], policy: 'Cluster' | 'Local', node: NodeView): Candidate[] {
  const inReach = policy === 'Local' ? all.filter((one) => one.nodeName === node.nodeName) : [...all];
  const ready = inReach.filter((one) => one.ready || service.publishNotReadyAddresses);
  return ready.length > 0 ? ready : inReach.filter((one) => one.leaving);
}

/** A pod on the host's network may hold the very socket that the listener wants; forwarding there would never end. */
function isItself(one: Backend, address: string, port: number, node: NodeView): boolean {
  if (one.port !== port) return false;
  const wildcard = address === '0.0.0.0' || address === '::';
  return one.address === address || (wildcard && (node.nodeAddresses.includes(one.address) || one.address.startsWith('127.')));
}

/** Backends of the listener's own address family; all of them when it has none there (the proxy can cross over). */
function sameFamily(candidates: readonly Candidate[], address: string): readonly Candidate[] {
  const same = candidates.filter((one) => isIPv6(one.address) === isIPv6(address));
  return same.length > 0 ? same : candidates;
}

function distinct(candidates: readonly Candidate[]): Backend[] {
  const byKey = new Map<string, Backend>();
  for (const { address, port, nodeName, slice } of candidates) {
    const key = `${address}:${port}`;
    const known = byKey.get(key);
    if (known && (known.nodeName !== undefined && (nodeName === undefined || known.nodeName <= nodeName))) continue;
    byKey.set(key, { address, port, ...(nodeName === undefined ? {} : { nodeName }), ...(slice === undefined ? {} : { slice }) });
  }
  return [...byKey.values()].sort((a, b) => compare(a.address, b.address) || a.port - b.port);
}

function isIPv6(address: string): boolean {
  return address.includes(':');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
