import type { Container } from '../../shared/kinds/container.ts';
import type { Taint } from '../../shared/kinds/node.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { runtimeHandlerAnnotation } from '../../shared/runtime-handler.ts';
import { amount } from '../runtime/amount.ts';

/** What the downward API tells of the node. */
export interface NodeFacts {
  readonly name: string;
  /** Addresses, the first one preferred. */
  readonly ips: readonly string[];
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** Whether `labels` are all of the node's; if not, others may have been added through the API. */
  readonly labelsComplete?: boolean;
  /** Those of the node's taints that the agent heeds, once the master has told them. */
  readonly taints?: readonly Pick<Taint, 'key' | 'value' | 'effect'>[];
  /** What pods may ask for, by resource, once it is known. */
  readonly allocatable?: Readonly<Record<string, string>>;
}

/** A reference that cannot be resolved; `message` is the kubelet's wording. */
export class FieldError extends Error {}

function withoutOurs(annotations: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> | undefined {
  const { [runtimeHandlerAnnotation]: _, ...others } = annotations ?? {};
  return others;
}

/**
 * Value of a `fieldRef`. In volumes, whole maps may be asked for: `metadata.labels` as lines of `key="value"`.
 * @throws FieldError for a path that the downward API does not have
 */
export function fieldValue(pod: Pod, path: string, podIPs: readonly string[], node: NodeFacts): string {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (subscript) return (subscript[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations)?.[subscript[2] ?? ''] ?? '';
  switch (path) {
    case 'metadata.name': return pod.metadata.name ?? '';
    case 'metadata.namespace': return pod.metadata.namespace ?? '';
    case 'metadata.uid': return pod.metadata.uid ?? '';
    case 'metadata.labels': return mapText(pod.metadata.labels);
    case 'metadata.annotations': return mapText(withoutOurs(pod.metadata.annotations));
    case 'spec.nodeName': return node.name;
    case 'spec.serviceAccountName': return pod.spec.serviceAccountName ?? '';
    case 'status.hostIP': return node.ips[0] ?? '';
    case 'status.hostIPs': return node.ips.join(',');
    case 'status.podIP': return podIPs[0] ?? '';
    case 'status.podIPs': return podIPs.join(',');
    default: throw new FieldError(`unsupported fieldPath: ${path}`);
  }
}

const mapText = (map: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(map ?? {}).map(([key, value]) => `${key}=${JSON.stringify(value)}`).sort().join('\n');

export interface ResourceRef { readonly containerName?: string; readonly resource: string; readonly divisor?: string }

/**
 * Value of a `resourceFieldRef`, in units of its divisor, rounded up. A limit that is not set is what the node can give.
 * @throws FieldError for a container or resource that there is not
 */
export function resourceValue(pod: Pod, own: Container | undefined, ref: ResourceRef, node: NodeFacts): string {
  const container = ref.containerName ? [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((c) => c.name === ref.containerName) : own;
  if (!container) throw new FieldError(`container ${ref.containerName ?? ''} not found`);
  const [kind, resource] = ref.resource.split(/\.(.*)/s);
  if ((kind !== 'limits' && kind !== 'requests') || !resource) throw new FieldError(`unsupported container resource : ${ref.resource}`);
  const { limits = {}, requests = {} } = container.resources ?? {};
  const whole = amount(node.allocatable?.[resource]) ?? (resource === 'cpu' ? node.cpus : resource === 'memory' ? node.memoryBytes : 0);
  const value = kind === 'limits' ? amount(limits[resource]) ?? whole : amount(requests[resource]) ?? amount(limits[resource]) ?? 0;
  // Thousandths first: 0.1 / 0.001 is not quite 100 in floating point.
  return String(Math.ceil(Number((value / (amount(ref.divisor) || 1)).toFixed(6))));
}
