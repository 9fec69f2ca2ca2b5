import { parseQuantity } from '../quantity.ts';
import type { Container } from './container.ts';
import type { PodSpec } from './pod-spec.ts';

/** Labels of nodes that have newer names. */
const olderLabels: Readonly<Record<string, string>> = {
  'beta.kubernetes.io/arch': 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  'beta.kubernetes.io/os': 'deprecated since v1.14; use "kubernetes.io/os" instead',
  'beta.kubernetes.io/instance-type': 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  'failure-domain.beta.kubernetes.io/region': 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  'failure-domain.beta.kubernetes.io/zone': 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
};

/**
 * What is allowed in a pod and yet most likely a mistake, as its writer is told in `Warning` headers
 * (pkg/api/pod/warnings.go). `path` is the spec's.
 */
export function podWarnings(spec: PodSpec, path: string): string[] {
  const all = containersOf(spec, path);
  return [
    ...Object.keys(spec.nodeSelector ?? {}).flatMap((key) => (Object.hasOwn(olderLabels, key) ? [`${path}.nodeSelector[${key}]: ${olderLabels[key]}`] : [])),
    ...(spec.terminationGracePeriodSeconds < 0 ? [`${path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`] : []),
    ...all.flatMap(([container, at]) => [...fractions(container, at), ...hidden(container, at)]),
    ...portConflicts(all),
  ];
}

type Placed = readonly [container: Container, path: string];

function containersOf(spec: PodSpec, path: string): Placed[] {
  const placed = (list: readonly Container[] | undefined, name: string): Placed[] => (list ?? []).map((container, index) => [container, `${path}.${name}[${index}]`]);
  return [...placed(spec.initContainers, 'initContainers'), ...placed(spec.containers, 'containers')];
}

function fractions({ resources }: Container, at: string): string[] {
  return (['limits', 'requests'] as const).flatMap((list) => (['memory', 'ephemeral-storage'] as const).flatMap((name) => {
    const amount = resources[list]?.[name];
    return amount === undefined || Number.isInteger(parseQuantity(amount)) ? [] : [`${at}.resources.${list}[${name}]: fractional byte value ${JSON.stringify(amount)} is invalid, must be an integer`];
  }));
}

/** A variable may build on an earlier one of its name; what only replaces it is lost when the list is merged by name. */
function hidden({ env = [] }: Container, at: string): string[] {
  const seen = new Set<string>();
  return env.flatMap(({ name, value = '', valueFrom }, index) => {
    const reference = `$(${name})`;
    const builds = !valueFrom && value !== reference && value.includes(reference);
    const bad = seen.has(name) && !builds;
    seen.add(name);
    return bad ? [`${at}.env[${index}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`] : [];
  });
}

interface PlacedPort { readonly at: string; readonly hostIP: string; readonly hostPort: number }

function portConflicts(containers: readonly Placed[]): string[] {
  const known = new Map<string, PlacedPort[]>();
  return containers.flatMap(([{ ports = [] }, path]) => ports.flatMap(({ containerPort, protocol, hostIP = '', hostPort = 0 }, index) => {
    const port: PlacedPort = { at: `${path}.ports[${index}]`, hostIP, hostPort };
    const key = `${containerPort}/${protocol}`;
    const others = known.get(key) ?? [];
    known.set(key, [...others, port]);
    return others.flatMap((other) => clash(port, other) ?? []);
  }));
}

function clash(port: PlacedPort, other: PlacedPort): string | undefined {
  if (port.hostIP === other.hostIP && port.hostPort === other.hostPort) return `${port.at}: duplicate port definition with ${other.at}`;
  if (port.hostPort === 0 || other.hostPort === 0) return `${port.at}: overlapping port definition with ${other.at}`;
  if (port.hostPort === other.hostPort && (port.hostIP === '') !== (other.hostIP === '')) return `${port.at}: dangerously ambiguous port definition with ${other.at}`;
  return undefined;
}
