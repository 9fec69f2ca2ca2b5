import type { AccountTokens } from '../registry/account-tokens.ts';

/** What controllers need to know about this cluster. Durations in milliseconds. */
export interface Settings {
  /** Where the API is reached from within the cluster: the endpoint of the service default/kubernetes. */
  readonly apiServerAddress: string;
  readonly apiServerPort: number;
  /** Cluster address of the service default/kubernetes: the first of the service range. */
  readonly kubernetesServiceIP: string;
  /** Cluster address of the service kube-system/kube-dns. `''` or absent: there is none. */
  readonly clusterDNS?: string;
  /** PEM; published in every namespace as the ConfigMap kube-root-ca.crt. Empty: not published. */
  readonly caCertificate: string;
  /** Fills token Secrets; without it they stay empty. */
  readonly accountTokens?: Pick<AccountTokens, 'issueLegacy' | 'isLegacy'>;
  /** Silence after which a node's state is unknown. Default 40 s. */
  readonly nodeMonitorGraceMs?: number;
  /** The same before a node has ever reported. Default 60 s. */
  readonly nodeStartupGraceMs?: number;
  /** When a node was last heard of, on the clock's monotonic scale; beside it, Leases and heartbeats count. */
  readonly lastSeen?: (node: string) => number | undefined;
  /** Has a node remove the directory of a volume that was provisioned there; rejects while it cannot. */
  readonly removeVolume?: (node: string, volume: string, path: string) => Promise<void>;
  /** How long a pod may be bound to a node that does not exist. Default 40 s. */
  readonly orphanedPodGraceMs?: number;
  /** Ended pods beyond this many are deleted, oldest first. Default 12,500. */
  readonly terminatedPodThreshold?: number;
  /** Age at which events are deleted. Default 1 h. */
  readonly eventTtlMs?: number;
}
