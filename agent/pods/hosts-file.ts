import type { Pod } from '../../shared/kinds/pod.ts';

/** A pod's name for itself, and the domain that it is in, `''` for none. */
export interface PodNames { readonly hostname: string; readonly domain: string }

const maxHostname = 63;
const maxKernelName = 64;

/** As the kubelet's GeneratePodHostNameAndDomain: `spec.hostname` or the pod's name, cut to what Linux and the kubelet allow. */
export function podNames({ metadata, spec }: Pod, clusterDomain: string): PodNames {
  const hostname = (spec.hostname || metadata.name || '').slice(0, maxHostname).replace(/[-.]+$/, '');
  return { hostname, domain: spec.subdomain ? `${spec.subdomain}.${metadata.namespace ?? ''}.svc.${clusterDomain}` : '' };
}

/** What `hostname` prints in the pod. @throws Error in the kubelet's words when `setHostnameAsFQDN` asks for more than Linux can hold */
export function kernelName(pod: Pod, clusterDomain: string): string {
  const { hostname, domain } = podNames(pod, clusterDomain);
  if (!pod.spec.setHostnameAsFQDN || domain === '') return hostname;
  const full = `${hostname}.${domain}`;
  if (full.length <= maxKernelName) return full;
  throw new Error(`failed to construct FQDN from pod hostname and cluster domain, FQDN ${full} is too long (${maxKernelName} characters is the max, ${full.length} characters requested)`);
}

/** /etc/hosts of a pod with a network of its own; `podIPs` are empty while it has none. */
export function managedHosts(pod: Pod, clusterDomain: string, podIPs: readonly string[]): string {
  const { hostname, domain } = podNames(pod, clusterDomain);
  return [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...podIPs.map((ip) => (domain ? `${ip}\t${hostname}.${domain}\t${hostname}` : `${ip}\t${hostname}`)),
    ...aliases(pod),
    '',
  ].join('\n');
}

/** /etc/hosts of a pod on the host's network: the host's own. */
export function hostNetworkHosts(pod: Pod, hostFile: string): string {
  const extra = aliases(pod);
  return `# Kubernetes-managed hosts file (host network).\n${hostFile}${extra.length > 0 ? `${extra.join('\n')}\n` : ''}`;
}

function aliases({ spec: { hostAliases = [] } }: Pod): string[] {
  return hostAliases.length === 0 ? [] : ['', '# Entries added by HostAliases.', ...hostAliases.map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join('\t')}`)];
}
