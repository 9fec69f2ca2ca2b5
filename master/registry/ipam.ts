import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import { nameOf, type KubeObject } from '../../shared/meta.ts';
import { fieldInvalid, internalError, invalid, type StatusError } from '../../shared/status.ts';
import type { Op, Store } from '../store/store.ts';
import { Claims } from './ipam-claims.ts';
import { contains, ipText, parseRange, type Range } from './ipam-range.ts';
import type { Allocator } from './types.ts';

export interface ServiceAllocatorOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** Addresses for services, such as `10.96.0.0/16`. */
  readonly serviceCIDR: string;
  /** First and last node port. Default 30000 and 32767. */
  readonly nodePorts?: readonly [number, number];
}

type ServicePort = NonNullable<Service['spec']['ports']>[number];

/** Gives services their cluster addresses and node ports. */
export class ServiceAllocator implements Allocator {
  readonly #range: Range;
  readonly #random: () => number;
  readonly #ips: Claims;
  readonly #ports: Claims;
  readonly #lowPort: number;
  readonly #highPort: number;

  constructor({ store, clock, random, serviceCIDR, nodePorts = [30_000, 32_767] }: ServiceAllocatorOptions) {
    this.#range = parseRange(serviceCIDR);
    this.#random = random;
    this.#ips = new Claims(store, clock, 'claims/ip/');
    this.#ports = new Claims(store, clock, 'claims/nodeport/');
    [this.#lowPort, this.#highPort] = nodePorts;
  }

  handles(kind: Kind): boolean {
    return kind.prefix === services.prefix;
  }

  /** @throws StatusError 422 when a value asked for is taken or out of range, 500 when none is left */
  claim(object: KubeObject | undefined, old: KubeObject | undefined, owner: string): readonly Op[] {
    const [next, was] = [object as Service | undefined, old as Service | undefined];
    return [...this.#claimAddress(next, was, owner), ...this.#claimPorts(next, was, owner)];
  }

  #claimAddress(next: Service | undefined, was: Service | undefined, owner: string): Op[] {
    const before = addressOf(was);
    if (next) this.#settleAddress(next, was);
    const after = addressOf(next);
    if (after === before) return [];
    return [...(before ? this.#ips.release(before) : []), ...(after ? [this.#ips.claim(after, owner)] : [])];
  }

  /** Fills in `spec.clusterIP` and `clusterIPs`: what was asked for, else what it had, else a free address. */
  #settleAddress(next: Service, was: Service | undefined): void {
    const { spec } = next;
    if (spec.type === 'ExternalName') {
      delete spec.clusterIP;
      delete spec.clusterIPs;
      return;
    }
    const asBefore = was && String([spec.ipFamilyPolicy, spec.ipFamilies]) === String([was.spec.ipFamilyPolicy, was.spec.ipFamilies]);
    if (!asBefore && (spec.clusterIP !== 'None' || Object.keys(spec.selector ?? {}).length > 0)) checkFamilies(next);
    const kept = was && was.spec.type !== 'ExternalName' ? was.spec.clusterIP : undefined;
    const asked = spec.clusterIP || kept;
    if (asked && asked !== 'None' && asked !== kept) this.#checkAddress(next, asked);
    spec.clusterIP = asked || this.#pickAddress();
    spec.clusterIPs = [spec.clusterIP];
  }

  #checkAddress(service: Service, ip: string): void {
    const refuse = (why: string): StatusError =>
      invalid(services, nameOf(service), [fieldInvalid('spec.clusterIPs', [ip], `failed to allocate IP ${ip}: ${why}`)]);
    if (!contains(this.#range, ip)) throw refuse(`the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${this.#range.text}`);
    if (this.#ips.taken(ip)) throw refuse('provided IP is already allocated');
  }

  /**
   * A free address, at random from the upper part of the range, whose lower part is left to those who ask for an
   * address of their own, until the upper is full (KEP-3070). The network's, the API's and the broadcast address are never picked.
   */
  #pickAddress(): string {
    const { first, size } = this.#range;
    const band = Math.min(Math.max(16, Math.floor(size / 16)), 256);
    const split = Math.min(band, size - 1);
    const found = this.#search(first + split, first + size - 1) ?? this.#search(first + 2, first + split);
    if (found === undefined) throw internalError('failed to allocate a serviceIP: range is full');
    return found;
  }

  #search(from: number, to: number): string | undefined {
    const ip = search(from, to, this.#random, (candidate) => this.#ips.free(ipText(candidate)));
    return ip === undefined ? undefined : ipText(ip);
  }

  #claimPorts(next: Service | undefined, was: Service | undefined, owner: string): Op[] {
    const before = nodePortsOf(was);
    if (next) this.#settlePorts(next, was, before);
    const after = nodePortsOf(next);
    return [
      ...[...before].filter((port) => !after.has(port)).flatMap((port) => this.#ports.release(String(port))),
      ...[...after].filter((port) => !before.has(port)).map((port) => this.#ports.claim(String(port), owner)),
    ];
  }

  #settlePorts(next: Service, was: Service | undefined, before: ReadonlySet<number>): void {
    const ports = next.spec.ports ?? [];
    if (!usesNodePorts(next)) {
      for (const port of ports) delete port.nodePort;
      return;
    }
    const used = new Set<number>();
    const refuse = (index: number, port: number, why: string): StatusError =>
      invalid(services, nameOf(next), [fieldInvalid(`spec.ports[${index}].nodePort`, port, why)]);
    keepPorts(ports, was);
    ports.forEach(({ nodePort }, index) => {
      if (!nodePort) return;
      if (nodePort < this.#lowPort || nodePort > this.#highPort) {
        throw refuse(index, nodePort, `provided port is not in the valid range. The range of valid ports is ${this.#lowPort}-${this.#highPort}`);
      }
      if (!before.has(nodePort) && !used.has(nodePort) && this.#ports.taken(String(nodePort))) throw refuse(index, nodePort, 'provided port is already allocated');
      used.add(nodePort);
    });
    for (const port of ports) port.nodePort ||= this.#pickPort(ports, port, used);
  }

  /** The node port of the same port under another protocol, or a free one. */
  #pickPort(ports: readonly ServicePort[], port: ServicePort, used: Set<number>): number {
    const twin = ports.find((other) => other.port === port.port && other.protocol !== port.protocol && other.nodePort);
    const found = twin?.nodePort
      ?? search(this.#lowPort, this.#highPort + 1, this.#random, (candidate) => !used.has(candidate) && this.#ports.free(String(candidate)));
    if (found === undefined) throw internalError('failed to allocate a nodePort: range is full');
    used.add(found);
    return found;
  }
}

/** A value in [from, to) for which `free` holds, looked for from a random place on; undefined when there is none. */
function search(from: number, to: number, random: () => number, free: (value: number) => boolean): number | undefined {
  const count = to - from;
  const start = Math.floor(random() * count);
  for (let offset = 0; offset < count; offset++) {
    const value = from + (start + offset) % count;
    if (free(value)) return value;
  }
  return undefined;
}

/** Carries node ports over that an update leaves open, by port and protocol. */
function keepPorts(ports: readonly ServicePort[], was: Service | undefined): void {
  if (!was || !usesNodePorts(was)) return;
  const asked = new Set(ports.map((port) => port.nodePort));
  for (const port of ports) {
    const old = was.spec.ports?.find((other) => other.port === port.port && other.protocol === port.protocol);
    if (!port.nodePort && old?.nodePort && !asked.has(old.nodePort)) port.nodePort = old.nodePort;
  }
}

function addressOf(service: Service | undefined): string | undefined {
  if (!service || service.spec.type === 'ExternalName' || service.spec.clusterIP === 'None') return undefined;
  return service.spec.clusterIP || undefined;
}

const usesNodePorts = ({ spec }: Service): boolean =>
  spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);

function nodePortsOf(service: Service | undefined): Set<number> {
  return new Set((service?.spec.ports ?? []).flatMap((port) => port.nodePort || []));
}

export interface NodeAllocatorOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Addresses for pods, such as `10.244.0.0/16`. */
  readonly clusterCIDR: string;
  /** Prefix length of one node's share. Default 24. */
  readonly nodeCIDRMaskSize?: number;
}

/** Gives every node its share of the pod addresses when it is created: `spec.podCIDR`. */
export class NodeAllocator implements Allocator {
  readonly #range: Range;
  readonly #length: number;
  readonly #claims: Claims;
  /** Where the search goes on; shares are reused late, so that stale routes meet nobody. */
  #next = 0;

  constructor({ store, clock, clusterCIDR, nodeCIDRMaskSize = 24 }: NodeAllocatorOptions) {
    this.#range = parseRange(clusterCIDR);
    this.#length = nodeCIDRMaskSize;
    this.#claims = new Claims(store, clock, 'claims/podcidr/');
  }

  handles(kind: Kind): boolean {
    return kind.prefix === nodes.prefix;
  }

  /** A cluster that has run out of shares still takes nodes; they stay without pod addresses of their own. */
  claim(object: KubeObject | undefined, old: KubeObject | undefined, owner: string): readonly Op[] {
    const [next, was] = [object as Node | undefined, old as Node | undefined];
    const before = was?.spec.podCIDR;
    if (next && !next.spec.podCIDR) this.#settle(next, before);
    const after = next?.spec.podCIDR;
    if (after === before) return [];
    return [...(before ? this.#claims.release(claimName(before)) : []), ...(after ? [this.#claims.claim(claimName(after), owner)] : [])];
  }

  #settle({ spec }: Node, before: string | undefined): void {
    const share = before ?? this.#pick();
    if (!share) return;
    spec.podCIDR = share;
    spec.podCIDRs = [share];
  }

  #pick(): string | undefined {
    const size = 2 ** (32 - this.#length);
    const count = Math.floor(this.#range.size / size);
    for (let tried = 0; tried < count; tried++) {
      const index = (this.#next + tried) % count;
      const share = `${ipText(this.#range.first + index * size)}/${this.#length}`;
      if (!this.#claims.free(claimName(share))) continue;
      this.#next = index + 1;
      return share;
    }
    return undefined;
  }
}

/** A store key's segment cannot hold a slash. */
const claimName = (cidr: string): string => cidr.replace('/', '_');

/** Services have one address, an IPv4 one. What has neither address nor selector may say what it likes. */
function checkFamilies(service: Service): void {
  const { ipFamilyPolicy, ipFamilies = [] } = service.spec;
  const errors = [
    ...(ipFamilyPolicy === 'RequireDualStack' ? [fieldInvalid('spec.ipFamilyPolicy', ipFamilyPolicy, 'this cluster is not configured for dual-stack services')] : []),
    ...ipFamilies.flatMap((family, index) => (family === 'IPv4' ? [] : [fieldInvalid(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster')])),
  ];
  if (errors.length > 0) throw invalid(services, nameOf(service), errors);
}
