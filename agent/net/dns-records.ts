import { BlockList } from 'node:net';
import type { EndpointsItem, Item, ServiceItem } from '../../shared/protocol.ts';
import { addressBytes, addressLabel, addressType, labelBytes, reverseBytes } from './dns-address.ts';
import { recordType } from './dns-message.ts';
import { nameWire } from './dns-name.ts';

/** Version of the specification that these records follow: Kubernetes DNS-Based Service Discovery. */
export const schemaVersion = '1.1.0';

/** Seconds that clients may keep any record of the cluster, or that there is none. */
export const clusterTtl = 5;

export interface Zone {
  /** Lower case, without a dot at its end: `cluster.local`. */
  readonly domain: string;
  /** Where cluster DNS is served. */
  readonly address: string;
  /** Addresses of services and pods, `10.96.0.0/16`: names for those are nobody else's to know. */
  readonly ranges: readonly string[];
}

/** What a name has, in the form of record data; an address in `extra` is one that it refers to. */
export interface NameRecords {
  readonly type: 'records';
  readonly records: readonly { readonly type: number; readonly data: Uint8Array }[];
  readonly extra?: readonly { readonly name: string; readonly data: Uint8Array }[];
}
export type Found =
  /** Not a name of the cluster: ask elsewhere. */
  | { readonly type: 'outside' }
  /** There is no such name, nor one below it (NXDOMAIN). `apex` is the name of the zone that says so. */
  | { readonly type: 'none'; readonly apex: string }
  /** The name stands for another. */
  | { readonly type: 'alias'; readonly target: string }
  /** There is such a name; without records it is there for those below it. */
  | NameRecords & { readonly apex: string };

interface ServiceEntry { readonly service: ServiceItem; readonly slices: readonly EndpointsItem[] }
interface ReadyEndpoint { readonly label: string; readonly named: boolean; readonly address: string; readonly bytes: Buffer }
interface Target { readonly port: number; readonly name: string; readonly addresses: readonly Buffer[] }

const here: NameRecords = { type: 'records', records: [] };

/** The names of one state of the services and endpoints, which it does not copy. */
export class DnsTable {
  readonly #zone: Zone;
  readonly #services = new Map<string, { service: ServiceItem; slices: EndpointsItem[] }>();
  readonly #namespaces = new Set<string>();
  readonly #ranges: readonly { readonly block: BlockList; readonly bits: number }[];
  #byAddress: Map<string, string[]> | undefined;

  constructor(zone: Zone, items: Iterable<Item>) {
    this.#zone = zone;
    this.#ranges = zone.ranges.map((range) => {
      const [network = '', prefix] = range.split('/');
      const block = new BlockList();
      block.addSubnet(network, Number(prefix), network.includes(':') ? 'ipv6' : 'ipv4');
      return { block, bits: Number(prefix) };
    });
    const slices: EndpointsItem[] = [];
    for (const item of items) {
      if (item.type === 'endpoints') slices.push(item);
      if (item.type !== 'service') continue;
      this.#services.set(`${item.namespace}/${item.name}`, { service: item, slices: [] });
      this.#namespaces.add(item.namespace);
    }
    for (const slice of slices) this.#services.get(`${slice.namespace}/${slice.service}`)?.slices.push(slice);
  }

  /** What is known of a name, in lower case and without a dot at its end; SRV records only where `srv` asks for them. */
  find(name: string, srv = true): Found {
    const { domain } = this.#zone;
    const reverse = name.endsWith('.arpa') ? reverseBytes(name) : undefined;
    if (reverse) return this.#reverse(reverse);
    if (name !== domain && !name.endsWith(`.${domain}`)) return { type: 'outside' };
    const labels = name === domain ? [] : name.slice(0, -domain.length - 1).split('.').reverse();
    const found = this.#inZone(labels, srv);
    if (!found) return { type: 'none', apex: domain };
    return found.type === 'alias' ? found : { ...found, apex: domain };
  }

  /** Data of the SOA record of a zone: who is told of it nobody asks, the last number is how long a "no" may be kept. */
  soa(serial: number): Uint8Array {
    const { domain } = this.#zone;
    const numbers = Buffer.alloc(20);
    [serial >>> 0, 7200, 1800, 86_400, clusterTtl].forEach((number, index) => numbers.writeUInt32BE(number, index * 4));
    return Buffer.concat([nameWire(`ns.dns.${domain}`), nameWire(`hostmaster.${domain}`), numbers]);
  }

  /** `labels` from the last to the first: `['svc', 'default', 'web']`. */
  #inZone(labels: readonly string[], srv: boolean): NameRecords | { type: 'alias'; target: string } | undefined {
    const [first, second, third, ...rest] = labels;
    const depth = labels.length;
    switch (first) {
      case undefined: return { type: 'records', records: [{ type: recordType.NS, data: nameWire(`ns.dns.${this.#zone.domain}`) }] };
      case 'dns-version': return depth === 1 ? { type: 'records', records: [{ type: recordType.TXT, data: text(schemaVersion) }] } : undefined;
      case 'dns': return depth === 1 ? here : second === 'ns' && depth === 2 ? addresses([addressBytes(this.#zone.address)]) : undefined;
      case 'pod': return this.#pod(second, third, depth);
      case 'svc': break;
      default: return undefined;
    }
    if (second === undefined) return here;
    if (third === undefined) return this.#namespaces.has(second) ? here : undefined;
    const entry = this.#services.get(`${second}/${third}`);
    return entry && this.#service(entry, rest, srv);
  }

  /** `10-1-0-7.default.pod`: says nothing but what was asked, for any namespace. */
  #pod(namespace: string | undefined, label: string | undefined, depth: number): NameRecords | undefined {
    if (namespace === undefined) return here;
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) return undefined;
    if (label === undefined) return here;
    const bytes = labelBytes(label);
    return bytes && depth === 3 ? addresses([bytes]) : undefined;
  }

  /** A service's own name, or what comes before it: `web-0`, or `_http._tcp` from the last to the first. */
  #service(entry: ServiceEntry, before: readonly string[], srv: boolean): NameRecords | { type: 'alias'; target: string } | undefined {
    const [label, portLabel] = before;
    if (entry.service.serviceType === 'ExternalName') return before.length === 0 ? alias(entry.service) : undefined;
    if (label === undefined) return this.#serviceName(entry, srv);
    if (before.length > 2) return undefined;
    if (label.startsWith('_')) return this.#ports(entry, label.slice(1), portLabel);
    const endpoints = portLabel === undefined ? readyEndpoints(entry).filter((one) => one.label === label) : [];
    return endpoints.length > 0 ? addresses(endpoints.map(({ bytes }) => bytes)) : undefined;
  }

  #serviceName(entry: ServiceEntry, srv: boolean): NameRecords | undefined {
    const ports = srv ? this.#targets(entry, () => true) : [];
    if (!isHeadless(entry.service)) return withPorts(addresses(clusterIPs(entry.service)), ports);
    const endpoints = readyEndpoints(entry);
    return endpoints.length > 0 ? withPorts(addresses(endpoints.map(({ bytes }) => bytes)), ports) : undefined;
  }

  /** `_tcp`, which is there if anything is below it, or `_http._tcp`. */
  #ports(entry: ServiceEntry, protocol: string, portLabel: string | undefined): NameRecords | undefined {
    if (portLabel !== undefined && !portLabel.startsWith('_')) return undefined;
    const targets = this.#targets(entry, (port) => port.protocol.toLowerCase() === protocol && (portLabel === undefined || port.name.toLowerCase() === portLabel.slice(1)));
    if (targets.length === 0) return undefined;
    return portLabel === undefined ? here : withPorts(here, targets);
  }

  /** Where named ports are: at the service, or at each endpoint of a headless one. */
  #targets(entry: ServiceEntry, wanted: (port: { readonly name: string; readonly protocol: string }) => boolean): Target[] {
    const { service, slices } = entry;
    const own = serviceName(service, this.#zone);
    const named = (port: { readonly name: string; readonly protocol: string }): boolean => port.name !== '' && wanted(port);
    if (!isHeadless(service)) return service.ports.filter(named).map(({ port }) => ({ port, name: own, addresses: clusterIPs(service) }));
    const found = new Map<string, { port: number; name: string; addresses: Buffer[] }>();
    for (const slice of slices) {
      for (const endpoint of readyEndpoints({ service, slices: [slice] })) {
        for (const { port } of slice.ports.filter(named)) {
          const name = `${endpoint.label}.${own}`;
          const target = found.get(`${port}/${name}`) ?? { port, name, addresses: [] };
          found.set(`${port}/${name}`, target);
          target.addresses.push(endpoint.bytes);
        }
      }
    }
    return [...found.values()];
  }

  #reverse(bytes: Buffer): Found {
    this.#byAddress ??= this.#indexAddresses();
    const names = this.#byAddress.get(bytes.toString('hex'));
    const range = this.#ranges.find(({ block }) => block.check(ipText(bytes), bytes.length === 4 ? 'ipv4' : 'ipv6'));
    const apex = reverseApex(bytes, range?.bits ?? 32);
    if (names) return { type: 'records', records: names.map((name) => ({ type: recordType.PTR, data: nameWire(name) })), apex };
    return range ? { type: 'none', apex } : { type: 'outside' };
  }

  /** Names by address: services before endpoints, and endpoints of a name of their own before others. */
  #indexAddresses(): Map<string, string[]> {
    const levels = [new Map<string, string[]>(), new Map<string, string[]>(), new Map<string, string[]>()] as const;
    const note = (level: Map<string, string[]>, bytes: Buffer, name: string): void => {
      const key = bytes.toString('hex');
      const names = level.get(key);
      if (!names) level.set(key, [name]);
      else if (!names.includes(name)) names.push(name);
    };
    for (const entry of this.#services.values()) {
      const own = serviceName(entry.service, this.#zone);
      for (const bytes of clusterIPs(entry.service)) note(levels[0], bytes, own);
      for (const { label, named, bytes } of readyEndpoints(entry)) {
        if (named || isHeadless(entry.service)) note(levels[named ? 1 : 2], bytes, `${label}.${own}`);
      }
    }
    return new Map([...levels[2], ...levels[1], ...levels[0]]);
  }
}

const serviceName = ({ namespace, name }: ServiceItem, { domain }: Zone): string => `${name}.${namespace}.svc.${domain}`;
const isHeadless = ({ clusterIPs: ips }: ServiceItem): boolean => ips[0] === 'None';

/** A name that says nothing about its form: whatever is no name is as good as none. */
function alias({ externalName = '' }: ServiceItem): { type: 'alias'; target: string } | undefined {
  const target = externalName.replace(/\.$/, '').toLowerCase();
  try {
    return nameWire(target).length > 1 ? { type: 'alias', target } : undefined;
  } catch {
    return undefined;
  }
}

function clusterIPs({ clusterIPs: ips }: ServiceItem): Buffer[] {
  return ips.flatMap((ip) => addressBytes(ip) ?? []);
}

/** Every address of every ready endpoint, once for each name. */
function readyEndpoints({ service, slices }: ServiceEntry): ReadyEndpoint[] {
  const found = new Map<string, ReadyEndpoint>();
  for (const slice of slices) {
    for (const { addresses: list, ready, hostname } of slice.endpoints) {
      if (!ready && !service.publishNotReadyAddresses) continue;
      for (const address of list) {
        const bytes = addressBytes(address);
        const label = hostname?.toLowerCase() || addressLabel(address);
        if (bytes) found.set(`${label}/${address}`, { label, named: Boolean(hostname), address, bytes });
      }
    }
  }
  return [...found.values()];
}

function addresses(list: readonly (Buffer | undefined)[]): NameRecords {
  const distinct = new Map(list.flatMap((bytes) => (bytes ? [[bytes.toString('hex'), bytes] as const] : [])));
  return { type: 'records', records: [...distinct.values()].map((data) => ({ type: addressType(data), data })) };
}

/** With a SRV record for each target, all of one priority, and the targets' addresses beside them. */
function withPorts({ records }: NameRecords, targets: readonly Target[]): NameRecords {
  const weight = Math.max(1, Math.floor(100 / Math.max(1, targets.length)));
  const srv = targets.map(({ port, name }) => ({ type: recordType.SRV, data: srvData(weight, port, name) }));
  const extra = new Map(targets.flatMap(({ name, addresses: list }) => list.map((data) => [`${name}/${data.toString('hex')}`, { name, data }] as const)));
  return { type: 'records', records: [...records, ...srv], extra: [...extra.values()] };
}

function srvData(weight: number, port: number, target: string): Uint8Array {
  const head = Buffer.alloc(6);
  head.writeUInt16BE(weight, 2);
  head.writeUInt16BE(port, 4);
  return Buffer.concat([head, nameWire(target)]);
}

const text = (value: string): Uint8Array => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);

const ipText = (bytes: Buffer): string => (bytes.length === 4 ? bytes.join('.') : bytes.toString('hex').replace(/(.{4})(?!$)/g, '$1:'));

/** The zone that a reverse name is in, as a "no" has to name one: the range's own, up to a dot. */
function reverseApex(bytes: Buffer, bits: number): string {
  if (bytes.length !== 4) return 'ip6.arpa';
  const octets = Math.ceil(bits / 8);
  return `${[...bytes.subarray(0, Math.min(3, octets))].reverse().map((octet) => `${octet}.`).join('')}in-addr.arpa`;
}
