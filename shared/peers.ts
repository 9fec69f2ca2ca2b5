import { createHash } from 'node:crypto';
import { BlockList, isIPv4 } from 'node:net';

/** A node as its neighbours know it: name, address (InternalIP), the addresses of its pods. `['edge-2', '192.168.7.12', '10.244.3.0/24']`. */
export type Peer = readonly [name: string, address: string, podCIDR: string];

/** Short text that is the same for the same peers in whatever order. */
export function peersDigest(peers: Iterable<Peer>): string {
  const lines = [...peers].map((peer) => peer.join(' ')).sort();
  return createHash('sha256').update(lines.join('\n')).digest('base64').slice(0, 12);
}

/** Peers after a change. */
export function patchPeers(peers: Iterable<Peer>, [complete, set, removed]: readonly [boolean, readonly Peer[], readonly string[]]): Peer[] {
  const byName = new Map<string, Peer>(complete ? [] : [...peers].map((peer) => [peer[0], peer]));
  for (const name of removed) byName.delete(name);
  for (const peer of set) byName.set(peer[0], peer);
  return [...byName.values()].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Whether an IPv4 address is within one of some networks; what is none of either is not. */
export function networkTest(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [base = '', prefix = ''] = network.split('/');
    if (isIPv4(base) && /^\d+$/.test(prefix) && Number(prefix) <= 32) list.addSubnet(base, Number(prefix), 'ipv4');
  }
  return (address) => isIPv4(address) && list.check(address, 'ipv4');
}
