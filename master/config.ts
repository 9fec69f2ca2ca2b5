import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { resolve } from 'node:path';
import * as v from 'valibot';
import { refusedFlag, typedFlags } from '../shared/flags.ts';
import { dnsSubdomainErrors } from '../shared/names.ts';

/** `10.96.0.0/16` as numbers. */
export interface Cidr { readonly text: string; readonly base: number; readonly bits: number }

const cidr = v.pipe(v.string(), v.check((text) => parseCidr(text) !== undefined, 'must be an IPv4 network such as 10.96.0.0/16'));
const port = v.pipe(v.string(), v.regex(/^\d{1,5}$/, 'must be a port number'), v.transform(Number), v.maxValue(65535, 'must be a port number'));
const seconds = v.pipe(v.string(), v.regex(/^\d{1,9}(\.\d{1,3})?$/, 'must be a number of seconds'), v.transform(Number), v.minValue(1, 'must be at least 1 second'));
/** `90s`, `30m`, `24h`, `7d`, in ms; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  return match ? Number(match[1]) * { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 's' | 'm' | 'h' | 'd'] : undefined;
}

/** The same, and `0`. */
const readTime = (text: string): number | undefined => (text === '0' ? 0 : parseDuration(text));

const duration = (minMs: number, wrong: string) =>
  v.pipe(v.string(), v.check((given) => (readTime(given) ?? -1) >= minMs, wrong), v.transform((given) => readTime(given)!));
const range = v.pipe(v.string(), v.regex(/^\d+-\d+$/, 'must be a range such as 30000-32767'));

const domain = v.pipe(v.string(), v.maxLength(150, 'must be a DNS name of at most 150 characters'),
  v.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/, 'must be a DNS name such as cluster.local'));

/** What `wherry master` can be told, by flag name. */
const Options = v.object({
  dataDir: v.optional(v.string(), '/var/lib/wherry/master'),
  bindAddress: v.optional(v.pipe(v.string(), v.check((text) => isIPv4(text), 'must be an IPv4 address')), '0.0.0.0'),
  port: v.optional(port, '6443'),
  advertiseAddress: v.optional(v.pipe(v.string(), v.check((text) => isIPv4(text), 'must be an IPv4 address'))),
  tlsSan: v.optional(v.pipe(v.union([v.string(), v.array(v.string())]), v.transform((names) => (Array.isArray(names) ? names : names.split(',')))), []),
  serviceCidr: v.optional(cidr, '10.96.0.0/16'),
  clusterCidr: v.optional(cidr, '10.244.0.0/16'),
  nodePortRange: v.optional(range, '30000-32767'),
  clusterDomain: v.optional(domain, 'cluster.local'),
  defaultStorageClass: v.optional(v.pipe(v.string(), v.check((text) => dnsSubdomainErrors(text).length === 0, 'must be the name of a storage class, or none')), 'local-path'),
  nodeMonitorGracePeriod: v.optional(seconds, '40'),
  eventTtl: v.optional(seconds, '3600'),
  nodeCertTtl: v.optional(duration(5000, 'must be a duration of at least 5s, such as 365d or 12h'), '365d'),
  offlineWindow: v.optional(duration(0, 'must be a duration such as 365d, or 0'), '365d'),
  logLevel: v.optional(v.picklist(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error'), 'info'),
});

export interface MasterConfig {
  readonly dataDir: string;
  readonly bindAddress: string;
  /** 0 lets the system choose one. */
  readonly port: number;
  /** Where agents and pods reach the master. */
  readonly advertiseAddress: string;
  readonly tlsSan: readonly string[];
  readonly serviceCidr: Cidr;
  readonly clusterCidr: Cidr;
  readonly nodePorts: { readonly first: number; readonly last: number };
  readonly clusterDomain: string;
  /** Name of the class made at start when there is no default one, or `none`. */
  readonly defaultStorageClass: string;
  readonly nodeMonitorGraceMs: number;
  readonly eventTtlMs: number;
  /** Life of a node's client certificate. */
  readonly nodeCertificateMs: number;
  /** For how long after its end that certificate still lets its node come back for a new one. */
  readonly offlineWindowMs: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** A flag or file says something that cannot be; the message is one line for the user. */
export class ConfigError extends Error {}

/** Checks command-line options (camel case, as cac gives them). @throws ConfigError */
export function readMasterConfig(options: object): MasterConfig {
  const typed = typedFlags(options, ['tlsSan'], (message) => new ConfigError(message));
  const result = v.safeParse(Options, typed);
  if (!result.success) {
    const issue = result.issues[0];
    const option = String(issue.path?.[0]?.key ?? '');
    throw new ConfigError(refusedFlag(option, issue.message, typed[option]));
  }
  const given = result.output;
  const [first, last] = given.nodePortRange.split('-').map(Number) as [number, number];
  if (first < 1 || last > 65535 || first > last) throw new ConfigError(`--node-port-range: ${given.nodePortRange} is no range of ports`);
  if (overlap(parseCidr(given.serviceCidr)!, parseCidr(given.clusterCidr)!)) throw new ConfigError(`--service-cidr: ${given.serviceCidr} and --cluster-cidr ${given.clusterCidr} overlap; services and pods need addresses of their own`);
  return {
    dataDir: resolve(given.dataDir), bindAddress: given.bindAddress, port: given.port, tlsSan: given.tlsSan.filter(Boolean),
    advertiseAddress: given.advertiseAddress ?? (given.bindAddress === '0.0.0.0' ? hostAddress() : given.bindAddress),
    serviceCidr: parseCidr(given.serviceCidr)!, clusterCidr: parseCidr(given.clusterCidr)!, nodePorts: { first, last },
    clusterDomain: given.clusterDomain, defaultStorageClass: given.defaultStorageClass, nodeMonitorGraceMs: given.nodeMonitorGracePeriod * 1000, eventTtlMs: given.eventTtl * 1000,
    nodeCertificateMs: given.nodeCertTtl, offlineWindowMs: given.offlineWindow, logLevel: given.logLevel,
  };
}

/** Undefined for anything but an IPv4 network with its host bits clear. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', bitsText = ''] = text.split('/');
  const bits = Number(bitsText);
  if (!isIPv4(address) || !/^\d+$/.test(bitsText) || bits > 30) return undefined;
  const base = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return base % 2 ** (32 - bits) === 0 ? { text, base, bits } : undefined;
}

/** Whether two networks have an address in common: then one is within the other. */
function overlap(a: Cidr, b: Cidr): boolean {
  const size = 2 ** (32 - Math.min(a.bits, b.bits));
  return Math.floor(a.base / size) === Math.floor(b.base / size);
}

/** The `index`-th address of a network. */
export function addressIn(network: Cidr, index: number): string {
  const value = network.base + index;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** Where every node serves cluster DNS: the tenth address of the service range, as usual; `''` in a range too small for that. */
export const clusterDnsAddress = (services: Cidr): string => (services.bits <= 28 ? addressIn(services, 10) : '');

/** This host's first IPv4 address that is not loopback and no container bridge's; 127.0.0.1 without one. */
export function hostAddress(): string {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) => (list ?? []).map((entry) => ({ name, ...entry })));
  const usable = all.filter((entry) => entry.family === 'IPv4' && !entry.internal && !/^(docker|br-|veth|cni|flannel)/.test(entry.name));
  return usable[0]?.address ?? '127.0.0.1';
}
