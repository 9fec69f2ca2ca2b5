import type { Pod } from '../../shared/kinds/pod.ts';
import type { ResolverSettings } from '../../shared/resolv-conf.ts';

/** Cluster DNS as the master tells it. */
export interface ClusterDns {
  /** Addresses; none for a cluster without. */
  readonly servers: readonly string[];
  readonly domain: string;
}

/** The host's resolver settings. */
export interface HostResolver {
  /** As the host has them. */
  readonly own: ResolverSettings;
  /** As they are good for pods with a network of their own, to which the host's loopback is another's. */
  readonly forPods: ResolverSettings;
}

/** What names and resolvers of pods depend on beyond the pods; asked for again each time. */
export interface Naming {
  readonly cluster: () => ClusterDns;
  readonly host: () => Promise<HostResolver>;
}

/** Resolver settings of a pod, and what had to be left out of them, as texts of `DNSConfigForming` events. */
export interface PodResolver { readonly settings: ResolverSettings; readonly omitted: readonly string[] }

// Kubernetes' own limits.
const maxServers = 3;
const maxSearches = 32;
const maxSearchChars = 2048;
const maxSearchName = 253;

/** What the kubelet's GetPodDNS makes of policy, `dnsConfig` and host. */
export function podResolver(pod: Pod, cluster: ClusterDns, host: HostResolver): PodResolver {
  const { servers, searches, options } = withConfig(policySettings(pod, cluster, host), pod);
  const search = fitting(searches);
  const first = servers.slice(0, maxServers);
  return {
    settings: { servers: first, searches: search, options },
    omitted: [
      ...(first.length < servers.length ? [`Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${first.join(' ')}`] : []),
      ...(search.length < searches.length ? [`Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${search.join(' ')}`] : []),
    ],
  };
}

/** Whether names of the cluster are looked up first. */
export function wantsClusterDns({ spec }: Pod): boolean {
  return spec.dnsPolicy === 'ClusterFirstWithHostNet' || ((spec.dnsPolicy ?? 'ClusterFirst') === 'ClusterFirst' && !spec.hostNetwork);
}

function policySettings(pod: Pod, { servers, domain }: ClusterDns, host: HostResolver): ResolverSettings {
  if (pod.spec.dnsPolicy === 'None') return { servers: [], searches: [], options: [] };
  const own = pod.spec.hostNetwork ? host.own : host.forPods;
  if (servers.length > 0 && wantsClusterDns(pod)) {
    const searches = [`${pod.metadata.namespace ?? ''}.svc.${domain}`, `svc.${domain}`, domain];
    return { servers, searches: distinct([...searches, ...own.searches]), options: ['ndots:5'] };
  }
  // Where the host asks itself, pods cannot ask it; cluster DNS can, and passes their questions on.
  return own.servers.length === 0 ? { ...own, servers } : own;
}

function withConfig({ servers, searches, options }: ResolverSettings, { spec: { dnsConfig } }: Pod): ResolverSettings {
  const merged = new Map(options.map((option) => [option.split(':')[0], option]));
  for (const { name = '', value } of dnsConfig?.options ?? []) merged.set(name, value ? `${name}:${value}` : name);
  return {
    servers: distinct([...servers, ...(dnsConfig?.nameservers ?? [])]),
    searches: distinct([...searches, ...(dnsConfig?.searches ?? []).map((name) => (name === '.' ? name : name.replace(/\.$/, '')))]),
    options: [...merged.values()],
  };
}

function fitting(searches: readonly string[]): string[] {
  const found = searches.slice(0, maxSearches).filter((name) => name.length <= maxSearchName);
  while (found.join(' ').length > maxSearchChars) found.pop();
  return found;
}

const distinct = (list: readonly string[]): string[] => [...new Set(list)];
