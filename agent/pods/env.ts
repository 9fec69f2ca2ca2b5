import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { Container, EnvVarSource } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import type { ServiceItem } from '../../shared/protocol.ts';
import { FieldError, fieldValue, resourceValue, type NodeFacts } from './fields.ts';

/** The objects that a pod may refer to; by name within its namespace. */
export interface References {
  configMap(name: string): ConfigMap | undefined;
  secret(name: string): Secret | undefined;
}

export interface EnvInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly podIPs: readonly string[];
  readonly node: NodeFacts;
  readonly references: References;
  /** All services that the node knows; those that count are picked here. */
  readonly services: readonly ServiceItem[];
  /** Told of the keys of an object, with their prefix and in order, that cannot be names of variables and are skipped. */
  readonly skipped?: (message: string) => void;
}

/** A variable cannot be made: the container waits with CreateContainerConfigError and this message. */
export class EnvError extends Error {}

/**
 * The environment of a container, in order, as makeEnvironmentVariables of the kubelet makes it: envFrom, then env
 * (which wins), then what services add and nobody set.
 * @throws EnvError
 */
export function environment(input: EnvInput): Map<string, string> {
  const { pod, container } = input;
  const services = serviceVariables(pod, input.services);
  const result = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    for (const [name, value] of fromObject(source, input)) result.set(name, value);
  }
  const expanded = new Map(result);
  for (const entry of container.env ?? []) {
    const value = entry.valueFrom ? fromSource(entry.valueFrom, input) : expand(entry.value ?? '', (name) => expanded.get(name) ?? services.get(name));
    if (value === undefined) continue;
    result.set(entry.name, value);
    expanded.set(entry.name, value);
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value);
  return result;
}

/** Replaces `$(NAME)`; `$$` is a dollar sign, and an unknown name stays as it is written. */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (all, name: string | undefined) => (name === undefined ? '$' : lookup(name) ?? all));
}

function fromObject(source: NonNullable<Container['envFrom']>[number], input: EnvInput): [string, string][] {
  const { pod, references } = input;
  if (source.configMapRef) {
    const { name, optional } = source.configMapRef;
    const found = references.configMap(name ?? '');
    if (!found && !optional) throw new EnvError(`configmap "${name}" not found`);
    return usable(found?.data ?? {}, source.prefix, `configMap ${pod.metadata.namespace}/${name}`, input);
  }
  if (source.secretRef) {
    const { name, optional } = source.secretRef;
    const found = references.secret(name ?? '');
    if (!found && !optional) throw new EnvError(`secret "${name}" not found`);
    return usable(Object.fromEntries(Object.entries(found?.data ?? {}).map(([key, value]) => [key, decoded(value)])), source.prefix, `secret ${pod.metadata.namespace}/${name}`, input);
  }
  throw new EnvError(`pod ${pod.metadata.name}: envFrom names neither a configMap nor a secret`);
}

/**
 * With their prefix and in order, those that can be names of variables: printable ASCII without `=`, as Kubernetes has it since
 * its version 1.32 (RelaxedEnvironmentVariableValidation). The API takes no key and no prefix that is none.
 */
function usable(data: Readonly<Record<string, string>>, prefix: string | undefined, what: string, { skipped }: EnvInput): [string, string][] {
  const all = Object.entries(data).map(([key, value]): [string, string] => [`${prefix ?? ''}${key}`, value]).sort(([a], [b]) => (a < b ? -1 : 1));
  const bad = all.filter(([name]) => !isName(name));
  if (bad.length > 0) skipped?.(`Keys [${bad.map(([name]) => name).join(', ')}] from the EnvFrom ${what} were skipped since they are considered invalid environment variable names.`);
  return all.filter(([name]) => isName(name));
}

const isName = (name: string): boolean => /^[\x20-\x3c\x3e-\x7e]+$/.test(name);

const decoded = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');

/** Undefined for an optional reference to nothing. */
function fromSource(source: EnvVarSource, input: EnvInput): string | undefined {
  const { pod, container, references, node } = input;
  try {
    if (source.fieldRef) return fieldValue(pod, source.fieldRef.fieldPath, input.podIPs, node);
    if (source.resourceFieldRef) return resourceValue(pod, container, source.resourceFieldRef, node);
  } catch (error) {
    if (error instanceof FieldError) throw new EnvError(error.message);
    throw error;
  }
  if (source.configMapKeyRef) return keyOf('configmap', 'ConfigMap', source.configMapKeyRef, references.configMap(source.configMapKeyRef.name ?? '')?.data, pod);
  if (source.secretKeyRef) {
    const value = keyOf('secret', 'Secret', source.secretKeyRef, references.secret(source.secretKeyRef.name ?? '')?.data, pod);
    return value === undefined ? undefined : decoded(value);
  }
  return '';
}

interface KeyRef { readonly name?: string; readonly key: string; readonly optional?: boolean }

function keyOf(word: string, kind: string, ref: KeyRef, data: Readonly<Record<string, string>> | undefined, pod: Pod): string | undefined {
  const value = data?.[ref.key];
  if (value !== undefined || ref.optional) return value;
  if (!data) throw new EnvError(`${word} "${ref.name}" not found`);
  throw new EnvError(`couldn't find key ${ref.key} in ${kind} ${pod.metadata.namespace}/${ref.name}`);
}

/**
 * What pkg/kubelet/envvars makes of services: those of the pod's namespace (unless enableServiceLinks is false), and
 * `kubernetes` of the default namespace for everybody.
 */
export function serviceVariables(pod: Pod, services: readonly ServiceItem[]): Map<string, string> {
  const chosen = new Map<string, ServiceItem>();
  for (const service of services) {
    const ip = service.clusterIPs[0];
    if (!ip || ip === 'None') continue;
    const master = service.namespace === 'default' && service.name === 'kubernetes';
    if (master && !chosen.has(service.name)) chosen.set(service.name, service);
    else if (service.namespace === pod.metadata.namespace && pod.spec.enableServiceLinks !== false) chosen.set(service.name, service);
  }
  const variables = new Map<string, string>();
  for (const service of [...chosen.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) addService(service, variables);
  return variables;
}

const upper = (name: string): string => name.toUpperCase().replaceAll('-', '_');

function addService(service: ServiceItem, variables: Map<string, string>): void {
  const prefix = upper(service.name);
  const ip = service.clusterIPs[0] ?? '';
  const [first] = service.ports;
  if (!first) return;
  const host = ip.includes(':') ? `[${ip}]` : ip;
  variables.set(`${prefix}_SERVICE_HOST`, ip);
  variables.set(`${prefix}_SERVICE_PORT`, String(first.port));
  for (const port of service.ports) {
    if (port.name) variables.set(`${prefix}_SERVICE_PORT_${upper(port.name)}`, String(port.port));
  }
  const url = (port: ServiceItem['ports'][number]): string => `${port.protocol.toLowerCase()}://${host}:${port.port}`;
  variables.set(`${prefix}_PORT`, url(first));
  for (const port of service.ports) {
    const name = `${prefix}_PORT_${port.port}_${port.protocol}`;
    variables.set(name, url(port));
    variables.set(`${name}_PROTO`, port.protocol.toLowerCase());
    variables.set(`${name}_PORT`, String(port.port));
    variables.set(`${name}_ADDR`, ip);
  }
}
