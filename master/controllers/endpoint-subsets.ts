import type { EndpointAddress, EndpointPort, EndpointSubset } from '../../shared/kinds/endpoints.ts';

/** One address with one port (none for a headless service without ports). */
export interface Backend {
  readonly address: EndpointAddress;
  readonly port: EndpointPort | undefined;
  readonly ready: boolean;
}

/**
 * Packs backends into the fewest subsets, as Kubernetes' `RepackSubsets`: ports whose addresses are the same ones, equally
 * ready, share a subset. Order depends on the content only.
 */
export function packSubsets(backends: readonly Backend[]): EndpointSubset[] {
  const ports = new Map<string, Map<string, Backend>>();
  for (const backend of backends) {
    const port = portKey(backend.port);
    let addresses = ports.get(port);
    if (!addresses) ports.set(port, addresses = new Map());
    const address = addressKey(backend.address);
    // An address that is ready under any name is ready.
    if (!addresses.get(address)?.ready) addresses.set(address, backend);
  }
  const subsets = new Map<string, Map<string, Backend>[]>();
  for (const addresses of ports.values()) {
    const key = [...addresses].map(([address, { ready }]) => `${address} ${ready}`).sort().join('\n');
    subsets.set(key, [...(subsets.get(key) ?? []), addresses]);
  }
  return [...subsets.values()].map(subsetOf).sort((a, b) => compare(JSON.stringify(a.ports ?? []), JSON.stringify(b.ports ?? [])));
}

function subsetOf(samePods: readonly Map<string, Backend>[]): EndpointSubset {
  const all = [...samePods[0]!.values()].sort((a, b) => compare(addressKey(a.address), addressKey(b.address)));
  const addresses = all.filter(({ ready }) => ready).map(({ address }) => address);
  const notReadyAddresses = all.filter(({ ready }) => !ready).map(({ address }) => address);
  const ports = samePods.flatMap((backends) => [...backends.values()][0]?.port ?? []).sort((a, b) => compare(portKey(a), portKey(b)));
  return {
    ...(addresses.length > 0 ? { addresses } : {}),
    ...(notReadyAddresses.length > 0 ? { notReadyAddresses } : {}),
    ...(ports.length > 0 ? { ports } : {}),
  };
}

const maxAddresses = 1000;

/** Cuts subsets down to 1,000 addresses, unready ones first; true when something was cut. */
export function truncateSubsets(subsets: EndpointSubset[]): boolean {
  let ready = maxAddresses;
  for (const subset of subsets) ready -= cut(subset, 'addresses', ready);
  let unready = ready;
  for (const subset of subsets) unready -= cut(subset, 'notReadyAddresses', unready);
  return ready < 0 || unready < 0;
}

/** Keeps at most `left` addresses; returns how many there were. */
function cut(subset: EndpointSubset, field: 'addresses' | 'notReadyAddresses', left: number): number {
  const list = subset[field] ?? [];
  if (list.length > left) subset[field] = list.slice(0, Math.max(0, left));
  if (subset[field]?.length === 0) delete subset[field];
  return list.length;
}

const portKey = (port: EndpointPort | undefined): string => (port ? [port.name ?? '', port.port, port.protocol, port.appProtocol ?? ''].join(' ') : '');
const addressKey = ({ ip, targetRef }: EndpointAddress): string => `${ip} ${targetRef?.uid ?? ''}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
