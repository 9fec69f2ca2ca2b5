import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import type { ServiceItem } from '../../shared/protocol.ts';
import type { Dns } from '../runtime/docker-spec.ts';
import type { State } from '../state/state.ts';
import type { VolumeSources } from '../volumes/index.ts';
import type { References } from './env.ts';
import { fieldValue, resourceValue, type NodeFacts, type ResourceRef } from './fields.ts';

/** Cluster DNS as the master tells it. */
export interface ClusterDns { readonly servers: readonly string[]; readonly domain: string }

export interface LookupOptions {
  readonly state: State;
  readonly node: () => NodeFacts;
  readonly cluster: () => ClusterDns | undefined;
  readonly podIPs: (uid: string) => readonly string[];
}

/** What pods ask of the agent's state: objects that they refer to, services, resolver settings. */
export class Lookup implements VolumeSources {
  readonly #options: LookupOptions;

  constructor(options: LookupOptions) {
    this.#options = options;
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    const item = this.#options.state.items.get(`configMap/${namespace}/${name}`);
    return item?.type === 'configMap' ? item.object : undefined;
  }

  secret(namespace: string, name: string): Secret | undefined {
    const item = this.#options.state.items.get(`secret/${namespace}/${name}`);
    return item?.type === 'secret' ? item.object : undefined;
  }

  field(pod: Pod, path: string): string {
    return fieldValue(pod, path, this.#options.podIPs(pod.metadata.uid ?? ''), this.#options.node());
  }

  resource(pod: Pod, ref: ResourceRef): string {
    return resourceValue(pod, undefined, ref, this.#options.node());
  }

  references(namespace: string): References {
    return { configMap: (name) => this.configMap(namespace, name), secret: (name) => this.secret(namespace, name) };
  }

  services(): ServiceItem[] {
    const services: ServiceItem[] = [];
    for (const item of this.#options.state.items.values()) if (item.type === 'service') services.push(item);
    return services;
  }

  /** Whether a pod refers to the configMap or secret of an item key, in its environment, volumes or pull secrets. */
  mentions(pod: Pod, key: string): boolean {
    const [type, , name] = key.split('/');
    const { spec } = pod;
    const names = new Set<string | undefined>();
    const config = type === 'configMap';
    for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
      for (const from of container.envFrom ?? []) names.add((config ? from.configMapRef : from.secretRef)?.name);
      for (const { valueFrom } of container.env ?? []) names.add((config ? valueFrom?.configMapKeyRef : valueFrom?.secretKeyRef)?.name);
    }
    for (const volume of spec.volumes ?? []) {
      names.add(config ? volume.configMap?.name : volume.secret?.secretName);
      for (const source of volume.projected?.sources ?? []) names.add((config ? source.configMap : source.secret)?.name);
    }
    if (!config) for (const ref of spec.imagePullSecrets ?? []) names.add(ref.name);
    return names.has(name);
  }

  /** As the kubelet's GetPodDNS: the cluster's for ClusterFirst pods with a network of their own; dnsConfig is added to either. */
  dns(pod: Pod): Dns | undefined {
    const { dnsPolicy: policy = 'ClusterFirst', dnsConfig, hostNetwork } = pod.spec;
    const cluster = this.#options.cluster();
    const inCluster = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !hostNetwork);
    const base = inCluster && cluster?.servers.length ? clusterSettings(cluster, pod.metadata.namespace ?? '') : undefined;
    if (!base && !dnsConfig) return undefined;
    const options = new Map((base?.options ?? []).map((option) => [option.split(':')[0], option]));
    for (const { name = '', value } of dnsConfig?.options ?? []) options.set(name, value === undefined ? name : `${name}:${value}`);
    return {
      servers: [...new Set([...(base?.servers ?? []), ...(dnsConfig?.nameservers ?? [])])],
      searches: [...new Set([...(base?.searches ?? []), ...(dnsConfig?.searches ?? [])])],
      options: [...options.values()],
    };
  }
}

const clusterSettings = ({ servers, domain }: ClusterDns, namespace: string): Dns =>
  ({ servers, searches: [`${namespace}.svc.${domain}`, `svc.${domain}`, domain], options: ['ndots:5'] });
