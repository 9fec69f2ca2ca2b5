import { networkInterfaces } from 'node:os';
import { networkTest } from '../../shared/peers.ts';

/** Interfaces that lead to this host's own containers and virtual machines, not to other hosts. */
const inward = /^(docker|br-|veth|cni|flannel|virbr|wherry|wh-)/;

/** IPv4 networks of this host: those that it shares with others, and those inside it. As `192.168.7.0/24`. */
export function ownNetworks(interfaces = networkInterfaces()): { readonly shared: string[]; readonly inside: string[] } {
  const shared: string[] = [];
  const inside: string[] = [];
  for (const [name, addresses] of Object.entries(interfaces)) {
    for (const { family, internal, cidr } of addresses ?? []) {
      if (family !== 'IPv4' || internal || !cidr || Number(cidr.split('/')[1]) > 30) continue;
      (inward.test(name) ? inside : shared).push(networkOf(cidr));
    }
  }
  return { shared: [...new Set(shared)].slice(0, 16), inside: [...new Set(inside)] };
}

/** `192.168.7.12/24` → `192.168.7.0/24`. */
export function networkOf(cidr: string): string {
  const [address = '', prefix = ''] = cidr.split('/');
  const bits = Number(prefix);
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - bits);
  const first = Math.floor(number / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')}/${bits}`;
}

/** A test for addresses inside this host, which looks at the interfaces anew once in a while. */
export function insideTest(monotonic: () => number, everyMs = 5_000): (address: string) => boolean {
  let test: ((address: string) => boolean) | undefined;
  let untilMs = 0;
  return (address) => {
    if (!test || monotonic() >= untilMs) {
      test = networkTest(ownNetworks().inside);
      untilMs = monotonic() + everyMs;
    }
    return test(address);
  };
}
