import { ipNumber, parseRange } from '../registry/ipam-range.ts';

/**
 * Who is on which networks, found by an address at once: a node that comes or moves concerns its neighbours, and a look
 * at ten thousand sessions for each of ten thousand nodes that come would take minutes.
 */
export class NetworkIndex {
  readonly #ranges = new Map<string, readonly { readonly size: number; readonly first: number }[]>();
  /** By size of the network, then by its first address. There are 33 sizes at most. */
  readonly #bySize = new Map<number, Map<number, Set<string>>>();

  /** Replaces the networks of a node (`10.0.0.0/24`). What is none is passed over. */
  set(node: string, networks: readonly string[]): void {
    this.remove(node);
    const ranges = networks.flatMap(rangeOf);
    this.#ranges.set(node, ranges);
    for (const { size, first } of ranges) {
      const ofSize = this.#bySize.get(size) ?? new Map<number, Set<string>>();
      this.#bySize.set(size, ofSize);
      const there = ofSize.get(first);
      if (there) there.add(node);
      else ofSize.set(first, new Set([node]));
    }
  }

  remove(node: string): void {
    for (const { size, first } of this.#ranges.get(node) ?? []) {
      const ofSize = this.#bySize.get(size);
      const there = ofSize?.get(first);
      there?.delete(node);
      if (there?.size === 0) ofSize?.delete(first);
      if (ofSize?.size === 0) this.#bySize.delete(size);
    }
    this.#ranges.delete(node);
  }

  /** Nodes with a network that any of some addresses is in, each once. */
  at(...addresses: readonly (string | undefined)[]): Set<string> {
    const found = new Set<string>();
    for (const address of addresses) {
      const ip = address === undefined ? undefined : ipNumber(address);
      if (ip === undefined) continue;
      for (const [size, ofSize] of this.#bySize) for (const node of ofSize.get(Math.floor(ip / size) * size) ?? []) found.add(node);
    }
    return found;
  }
}

function rangeOf(network: string): { size: number; first: number }[] {
  try {
    const { size, first } = parseRange(network);
    return [{ size, first }];
  } catch {
    return [];
  }
}
