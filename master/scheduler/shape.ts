import type { Pod } from '../../shared/kinds/pod.ts';
import type { ResourceList } from '../../shared/kinds/resources.ts';
import { controllerOf } from '../../shared/meta.ts';
import { milliValue, value } from '../../shared/quantity.ts';
import { claimNameOf } from '../registry/volumes.ts';

/** A port of the host that a pod takes. */
export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

/** A claim that a pod uses: `namespace/name`, and whether it is made for the pod. */
export interface ClaimUse { readonly key: string; readonly ephemeral: boolean }

/** Amounts by resource name: `cpu` in thousandths, all else in base units. */
export type Amounts = ReadonlyMap<string, number>;

/**
 * Everything about a pod that decides where it may and should run. Pods of one controller share one instance, and with
 * it the scores of all nodes.
 */
export interface Shape {
  readonly key: string;
  readonly requests: Amounts;
  /** What a pod without requests is taken to use, so that such pods spread as well. */
  readonly expectedCpu: number;
  readonly expectedMemory: number;
  readonly ports: readonly HostPort[];
  readonly claims: readonly ClaimUse[];
  readonly spec: Pick<Pod['spec'], 'nodeSelector' | 'affinity' | 'tolerations' | 'preemptionPolicy'>;
  /** Pods with the same group are spread over nodes; `''`: none. */
  readonly group: string;
}

/** Kubernetes' `DefaultMilliCPURequest` and `DefaultMemoryRequest`. */
const defaultCpu = 100;
const defaultMemory = 200 * 1024 * 1024;
const remembered = 1024;

/** Makes shapes, the same instance for equal ones as long as it is among the last {@link remembered} used. */
export class Shapes {
  readonly #known = new Map<string, Shape>();

  of(pod: Pod): Shape {
    const parts = shapeParts(pod);
    const key = JSON.stringify(parts);
    const known = this.#known.get(key);
    if (known) this.#known.delete(key);
    const shape = known ?? makeShape(pod, key);
    this.#known.set(key, shape);
    if (this.#known.size > remembered) this.#known.delete(this.#known.keys().next().value!);
    return shape;
  }
}

function shapeParts({ spec, metadata }: Pick<Pod, 'spec' | 'metadata'>): unknown {
  const init = spec.initContainers?.map((container) => [container.restartPolicy, containerParts(container)]);
  return [spec.containers.map(containerParts), init, spec.overhead, spec.nodeSelector, spec.affinity, spec.tolerations, spec.preemptionPolicy, groupOf(metadata), claimsOf({ spec, metadata })];
}

const containerParts = ({ resources, ports }: Pod['spec']['containers'][number]): unknown =>
  [resources?.requests, ports?.map(({ hostPort, hostIP, protocol }) => (hostPort ? [hostPort, hostIP, protocol] : 0))];

function makeShape(pod: Pod, key: string): Shape {
  const requests = requestsOf(pod.spec);
  const { nodeSelector, affinity, tolerations, preemptionPolicy } = pod.spec;
  return {
    key, requests, group: groupOf(pod.metadata), ports: portsOf(pod.spec), claims: claimsOf(pod),
    expectedCpu: requests.get('cpu') || defaultCpu * pod.spec.containers.length,
    expectedMemory: requests.get('memory') || defaultMemory * pod.spec.containers.length,
    spec: {
      ...(nodeSelector ? { nodeSelector } : {}), ...(affinity ? { affinity } : {}), ...(tolerations ? { tolerations } : {}),
      ...(preemptionPolicy ? { preemptionPolicy } : {}),
    },
  };
}

function claimsOf(pod: Pick<Pod, 'spec' | 'metadata'>): ClaimUse[] {
  const uses = new Map<string, ClaimUse>();
  for (const volume of pod.spec.volumes ?? []) {
    const name = claimNameOf(pod, volume);
    const key = `${pod.metadata.namespace ?? ''}/${name ?? ''}`;
    if (name !== undefined) uses.set(key, { key, ephemeral: volume.ephemeral !== undefined });
  }
  return [...uses.values()];
}

/** The managing controller, else the namespace and labels that make pods alike. */
function groupOf(metadata: Pod['metadata']): string {
  const owner = controllerOf({ metadata });
  if (owner) return owner.uid;
  const labels = Object.entries(metadata.labels ?? {});
  return labels.length > 0 ? `${metadata.namespace} ${labels.map(([key, text]) => `${key}=${text}`).sort().join(',')}` : '';
}

/**
 * What a pod needs at its peak: all containers and sidecars together, or the hungriest init container with the sidecars
 * started before it (`resource.PodRequests`).
 */
function requestsOf(spec: Pod['spec']): Map<string, number> {
  const total = new Map<string, number>();
  for (const container of spec.containers) addTo(total, amountsOf(container.resources?.requests));
  const sidecars = new Map<string, number>();
  const peak = new Map<string, number>();
  for (const { resources, restartPolicy } of spec.initContainers ?? []) {
    const amounts = amountsOf(resources?.requests);
    if (restartPolicy === 'Always') addTo(sidecars, amounts);
    const moment = new Map(sidecars);
    if (restartPolicy !== 'Always') addTo(moment, amounts);
    for (const [name, amount] of moment) peak.set(name, Math.max(peak.get(name) ?? 0, amount));
  }
  addTo(total, sidecars);
  for (const [name, amount] of peak) total.set(name, Math.max(total.get(name) ?? 0, amount));
  addTo(total, amountsOf(spec.overhead));
  return total;
}

/** Quantities as numbers; those of zero are left out. */
export function amountsOf(list: ResourceList | undefined): Map<string, number> {
  const amounts = new Map<string, number>();
  for (const [name, text] of Object.entries(list ?? {})) {
    const amount = name === 'cpu' ? milliValue(text) : value(text);
    if (amount > 0) amounts.set(name, amount);
  }
  return amounts;
}

function addTo(total: Map<string, number>, amounts: Amounts): void {
  for (const [name, amount] of amounts) total.set(name, (total.get(name) ?? 0) + amount);
}

function portsOf(spec: Pod['spec']): HostPort[] {
  const containers = [...spec.containers, ...(spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always')];
  return containers.flatMap(({ ports }) => (ports ?? []).flatMap(({ hostPort, hostIP, protocol }) => (hostPort ? [{ ip: hostIP || '0.0.0.0', protocol, port: hostPort }] : [])));
}
