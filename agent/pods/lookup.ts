import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import type { ServiceItem } from '../../shared/protocol.ts';
import type { State } from '../state/state.ts';
import type { VolumeSources } from '../volumes/index.ts';
import { claimNameOf, type Claim } from '../volumes/source.ts';
import type { References } from './env.ts';
import { fieldValue, resourceValue, type NodeFacts, type ResourceRef } from './fields.ts';

export interface LookupOptions {
  readonly state: State;
  readonly node: () => NodeFacts;
  readonly podIPs: (uid: string) => readonly string[];
}

/** What pods ask of the agent's state: objects that they refer to, and services. */
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

  claim(namespace: string, name: string): Claim | undefined {
    const item = this.#options.state.items.get(`claim/${namespace}/${name}`);
    return item?.type === 'claim' ? item : undefined;
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

  /** Whether a pod refers to the configMap, secret or claim of an item key, in its environment, volumes or pull secrets. */
  mentions(pod: Pod, key: string): boolean {
    const [type, , name] = key.split('/');
    const { spec } = pod;
    if (type === 'claim') return (spec.volumes ?? []).some((volume) => claimNameOf(pod, volume) === name);
    const names = new Set<string | undefined>();
    const config = type === 'configMap';
    for (const container of [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])]) {
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
}
