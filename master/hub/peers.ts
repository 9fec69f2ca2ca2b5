import type { Kind } from '../../shared/kind.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import type { Peer } from '../../shared/peers.ts';
import { ipNumber, parseRange, type Range } from '../registry/ipam-range.ts';
import type { Registry } from '../registry/registry.ts';
import type { KindChange } from '../registry/types.ts';

/** Neighbours that one node is told of; in a larger network the others are reached through the master. */
const maxPeers = 4096;

/** What became of a node for its neighbours. */
export interface PeerChange { readonly before: Peer | undefined; readonly after: Peer | undefined }

/** Where nodes are and which pod addresses they have, found by their address. */
export class PeerTable {
  readonly #byName = new Map<string, Peer>();
  /** By address; made when it is needed. */
  #sorted: { readonly at: number; readonly peer: Peer }[] | undefined;

  /** Reads what is stored; resolves when all of it is known, or soon after `signal` aborts. */
  load(registry: Registry, signal: AbortSignal): Promise<void> {
    return registry.read({ kinds: [nodes as unknown as Kind], take: ({ name, object }) => this.#set(name, peerOf(object as Node)) }, signal);
  }

  /** Takes a change of a Node; undefined when it is none for its neighbours. */
  apply(change: KindChange): PeerChange | undefined {
    const before = this.#byName.get(change.name);
    const after = change.type === 'DELETED' ? undefined : peerOf(change.object as Node);
    if (before?.join(' ') === after?.join(' ')) return undefined;
    this.#set(change.name, after);
    return { before, after };
  }

  /** Nodes whose address is in one of some networks. Networks that are none are passed over. */
  within(networks: readonly string[]): Peer[] {
    const found = new Map<string, Peer>();
    const sorted = this.#index();
    for (const range of networks.flatMap(rangeOf)) {
      for (let at = firstFrom(sorted, range.first); at < sorted.length && sorted[at]!.at < range.first + range.size && found.size < maxPeers; at++) {
        found.set(sorted[at]!.peer[0], sorted[at]!.peer);
      }
    }
    return [...found.values()];
  }

  /** Keeps the order as it goes: sorted anew for every node that comes, a fleet's first hour would be spent on it. */
  #set(name: string, peer: Peer | undefined): void {
    const before = this.#byName.get(name);
    if (peer) this.#byName.set(name, peer);
    else this.#byName.delete(name);
    const sorted = this.#sorted;
    if (!sorted) return;
    if (before) {
      let at = firstFrom(sorted, ipNumber(before[1])!);
      while (at < sorted.length && sorted[at]!.peer !== before) at++;
      sorted.splice(at, 1);
    }
    if (!peer) return;
    const ip = ipNumber(peer[1])!;
    sorted.splice(firstFrom(sorted, ip), 0, { at: ip, peer });
  }

  #index(): { readonly at: number; readonly peer: Peer }[] {
    return this.#sorted ??= [...this.#byName.values()].map((peer) => ({ at: ipNumber(peer[1])!, peer })).sort((a, b) => a.at - b.at);
  }
}

/** Undefined for a node without an IPv4 address or without pod addresses. */
function peerOf({ metadata, spec, status }: Node): Peer | undefined {
  const address = status.addresses?.find(({ type, address: text }) => type === 'InternalIP' && ipNumber(text) !== undefined)?.address;
  return address && spec.podCIDR ? [metadata.name ?? '', address, spec.podCIDR] : undefined;
}

function rangeOf(network: string): Range[] {
  try {
    return [parseRange(network)];
  } catch {
    return [];
  }
}

function firstFrom(sorted: readonly { readonly at: number }[], from: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.at < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
