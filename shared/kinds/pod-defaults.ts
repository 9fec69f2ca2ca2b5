import { roundUpToMilli } from '../quantity.ts';
import type { Container, LifecycleHandler, Probe } from './container.ts';
import type { PodSpec, PodTemplateSpec } from './pod-spec.ts';
import type { PodStatus } from './pod-status.ts';
import type { ResourceList, ResourceRequirements } from './resources.ts';
import { volumeSources, type Volume } from './volume.ts';

/** `Always` for `:latest` and for no tag at all, unless a digest says which image is meant. */
export function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  const name = image.slice(image.lastIndexOf('/') + 1);
  if (name.includes('@')) return /:latest@/.test(name) ? 'Always' : 'IfNotPresent';
  const colon = name.indexOf(':');
  return colon < 0 || name.slice(colon + 1) === 'latest' ? 'Always' : 'IfNotPresent';
}

function roundUp(amounts: ResourceList | undefined): void {
  if (amounts) for (const [name, amount] of Object.entries(amounts)) amounts[name] = roundUpToMilli(amount);
}

function normalizeResources(resources: ResourceRequirements): void {
  roundUp(resources.limits);
  roundUp(resources.requests);
}

/** Zero means absent in Go, and a default takes its place. */
function normalizeProbe(probe: Probe | undefined): void {
  if (!probe) return;
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
}

function normalizeHandler(handler: LifecycleHandler | undefined): void {
  if (handler?.httpGet) handler.httpGet.path ||= '/';
}

function normalizeContainer(container: Container): void {
  container.imagePullPolicy ??= defaultPullPolicy(container.image ?? '');
  normalizeResources(container.resources);
  normalizeProbe(container.livenessProbe);
  normalizeProbe(container.readinessProbe);
  normalizeProbe(container.startupProbe);
  normalizeHandler(container.lifecycle?.postStart);
  normalizeHandler(container.lifecycle?.preStop);
}

function normalizeVolume(volume: Volume): void {
  if (volumeSources.every((source) => volume[source] === undefined)) volume.emptyDir = {};
}

/** On the host's network, a container's port is the host's port. */
function defaultHostPorts(containers: readonly Container[] | undefined): void {
  for (const container of containers ?? []) for (const port of container.ports ?? []) port.hostPort ||= port.containerPort;
}

/** Defaults of a pod's spec that depend on other fields; for pods and for templates. Mutates. */
export function normalizePodSpec(spec: PodSpec): void {
  // serviceAccount is the old name of serviceAccountName; both are kept equal.
  const account = spec.serviceAccountName || spec.serviceAccount;
  if (account) spec.serviceAccountName = spec.serviceAccount = account;
  spec.volumes?.forEach(normalizeVolume);
  for (const container of [...spec.initContainers ?? [], ...spec.containers, ...spec.ephemeralContainers ?? []]) normalizeContainer(container);
  if (spec.hostNetwork) {
    defaultHostPorts(spec.containers);
    defaultHostPorts(spec.initContainers);
  }
  roundUp(spec.overhead);
}

/** Defaults of a pod template; call from the `normalize` of every kind that has one. Mutates. */
export function normalizePodTemplate(template: PodTemplateSpec): void {
  normalizePodSpec(template.spec);
}

/** Defaults that pods have and templates have not: requests from limits, service links. Mutates. */
export function normalizePod({ spec }: { spec: PodSpec }): void {
  normalizePodSpec(spec);
  for (const { resources } of [...spec.initContainers ?? [], ...spec.containers]) {
    if (resources.limits) resources.requests = { ...resources.limits, ...resources.requests };
  }
  spec.enableServiceLinks ??= true;
}

const counted = ['cpu', 'memory'] as const;
const given = (amount: string | undefined): boolean => amount !== undefined && amount !== '0';

/**
 * Guaranteed if every container has equal requests and limits of CPU and memory, BestEffort if none has any.
 * Fact from pkg/apis/core/v1/helper/qos.
 */
export function qosClass(spec: PodSpec): NonNullable<PodStatus['qosClass']> {
  const all = [...spec.containers, ...spec.initContainers ?? []].map((container) => container.resources);
  const none = all.every(({ requests, limits }) => counted.every((name) => !given(requests?.[name]) && !given(limits?.[name])));
  if (none) return 'BestEffort';
  const equal = all.every(({ requests, limits }) =>
    counted.every((name) => given(limits?.[name]) && (requests?.[name] ?? limits?.[name]) === limits?.[name]));
  return equal ? 'Guaranteed' : 'Burstable';
}
