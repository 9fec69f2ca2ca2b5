import { posix } from 'node:path';
import { dnsLabelErrors, headerNameErrors, inclusiveRange, portNameErrors, qualifiedNameErrors } from '../names.ts';
import { compareQuantity } from '../quantity.ts';
import { fieldDuplicate, fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import type { Container, ContainerPort, EphemeralContainer, LifecycleHandler, Probe, VolumeMount } from './container.ts';
import { validateEnv, validateEnvFrom } from './env-validation.ts';
import type { ResourceList, ResourceRequirements } from './resources.ts';
import { containerSecurityErrors } from './security-validation.ts';
import type { Volume } from './volume.ts';

const invalidEach = (path: string, value: unknown, problems: readonly string[]): FieldError[] => problems.map((problem) => fieldInvalid(path, value, problem));
const validPort = (port: number): boolean => port >= 1 && port <= 65535;
const portRange = inclusiveRange(1, 65535);

/** Rules for a number or name of a port, as probes and services refer to one. */
export function portReferenceErrors(port: number | string, path: string): FieldError[] {
  if (typeof port === 'number') return validPort(port) ? [] : [fieldInvalid(path, port, portRange)];
  return invalidEach(path, port, portNameErrors(port));
}

function portErrors(port: ContainerPort, path: string, names: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  if (port.name) {
    const problems = portNameErrors(port.name);
    errors.push(...invalidEach(`${path}.name`, port.name, problems));
    if (problems.length === 0 && names.has(port.name)) errors.push(fieldDuplicate(`${path}.name`, port.name));
    names.add(port.name);
  }
  if (port.containerPort === 0) errors.push(fieldRequired(`${path}.containerPort`));
  else if (!validPort(port.containerPort)) errors.push(fieldInvalid(`${path}.containerPort`, port.containerPort, portRange));
  if (port.hostPort && !validPort(port.hostPort)) errors.push(fieldInvalid(`${path}.hostPort`, port.hostPort, portRange));
  return errors;
}

function validatePorts(ports: readonly ContainerPort[], path: string, hostNetwork: boolean): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap((port, index) => {
    const at = `${path}[${index}]`;
    const errors = portErrors(port, at, names);
    if (hostNetwork && port.hostPort !== port.containerPort) errors.push(fieldInvalid(`${at}.hostPort`, port.hostPort, 'must match `containerPort` when `hostNetwork` is true'));
    return errors;
  });
}

function subPathErrors(path: string, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (posix.isAbsolute(path)) errors.push(fieldInvalid(field, path, 'must be a relative path'));
  if (path.split('/').includes('..')) errors.push(fieldInvalid(field, path, "must not contain '..'"));
  return errors;
}

function mountErrors(mount: VolumeMount, path: string, volumes: ReadonlySet<string>, seen: Set<string>, privileged: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (mount.name && !volumes.has(mount.name)) errors.push({ type: 'FieldValueNotFound', field: `${path}.name`, message: `Not found: ${JSON.stringify(mount.name)}` });
  if (seen.has(mount.mountPath)) errors.push(fieldInvalid(`${path}.mountPath`, mount.mountPath, 'must be unique'));
  seen.add(mount.mountPath);
  if (mount.subPath) errors.push(...subPathErrors(mount.subPath, `${path}.subPath`));
  if (mount.subPathExpr) {
    if (mount.subPath) errors.push(fieldInvalid(`${path}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'));
    errors.push(...subPathErrors(mount.subPathExpr, `${path}.subPathExpr`));
  }
  if (mount.mountPropagation === 'Bidirectional' && !privileged) errors.push(fieldForbidden(`${path}.mountPropagation`, 'Bidirectional mount propagation is available only to privileged containers'));
  return [...errors, ...recursiveErrors(mount, `${path}.recursiveReadOnly`)];
}

function recursiveErrors({ recursiveReadOnly: mode, readOnly, mountPropagation }: VolumeMount, path: string): FieldError[] {
  if (mode !== 'Enabled' && mode !== 'IfPossible') return [];
  const errors = readOnly ? [] : [fieldForbidden(path, 'may only be specified when readOnly is true')];
  if (mountPropagation && mountPropagation !== 'None') errors.push(fieldForbidden(path, `may only be specified when mountPropagation is None or not specified`));
  return errors;
}

function validateMounts(mounts: readonly VolumeMount[], path: string, volumes: ReadonlySet<string>, privileged: boolean): FieldError[] {
  const seen = new Set<string>();
  return mounts.flatMap((mount, index) => mountErrors(mount, `${path}[${index}]`, volumes, seen, privileged));
}

type Handler = LifecycleHandler & Pick<Probe, 'grpc'>;
const handlerNames = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

function handlerErrors(handler: Handler, path: string, graceSeconds = Infinity): FieldError[] {
  const errors: FieldError[] = [];
  const given = handlerNames.filter((name) => handler[name] !== undefined);
  if (given.length === 0) return [fieldRequired(path, 'must specify a handler type')];
  for (const extra of given.slice(1)) errors.push(fieldForbidden(`${path}.${extra}`, 'may not specify more than 1 handler type'));
  const { exec, httpGet, tcpSocket, grpc, sleep } = handler;
  if (exec && !exec.command?.length) errors.push(fieldRequired(`${path}.exec.command`));
  if (httpGet) {
    errors.push(...portReferenceErrors(httpGet.port, `${path}.httpGet.port`));
    (httpGet.httpHeaders ?? []).forEach((header) => errors.push(...invalidEach(`${path}.httpGet.httpHeaders`, header.name, headerNameErrors(header.name))));
  }
  if (tcpSocket) errors.push(...portReferenceErrors(tcpSocket.port, `${path}.tcpSocket.port`));
  if (grpc) errors.push(...portReferenceErrors(grpc.port, `${path}.grpc.port`));
  if (sleep && (sleep.seconds <= 0 || sleep.seconds > graceSeconds)) {
    errors.push(fieldInvalid(`${path}.sleep`, sleep.seconds, `must be greater than 0 and less than terminationGracePeriodSeconds (${graceSeconds}). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep.`));
  }
  return errors;
}

const probes = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const;

function probeErrors(container: Container, path: string): FieldError[] {
  return probes.flatMap((name) => {
    const probe = container[name];
    if (!probe) return [];
    const at = `${path}.${name}`;
    const errors = handlerErrors(probe, at);
    const grace = probe.terminationGracePeriodSeconds;
    if (name !== 'readinessProbe' && probe.successThreshold !== 1) errors.push(fieldInvalid(`${at}.successThreshold`, probe.successThreshold, 'must be 1'));
    if (grace !== undefined && name === 'readinessProbe') errors.push(fieldInvalid(`${at}.terminationGracePeriodSeconds`, grace, 'must not be set for readinessProbes'));
    else if (grace !== undefined && grace <= 0) errors.push(fieldInvalid(`${at}.terminationGracePeriodSeconds`, grace, 'must be greater than 0'));
    return errors;
  });
}

const standardResources = ['cpu', 'ephemeral-storage', 'memory'];
const overcommits = (name: string): boolean => !name.includes('/') && !name.startsWith('hugepages-');

function amountErrors(amounts: ResourceList, path: string): FieldError[] {
  return Object.entries(amounts).flatMap(([name, amount]) => {
    const at = `${path}[${name}]`;
    const errors = invalidEach(at, name, qualifiedNameErrors(name));
    if (!name.includes('/') && !standardResources.includes(name) && !name.startsWith('hugepages-')) {
      if (errors.length === 0) errors.push(fieldInvalid(at, name, 'must be a standard resource type or fully qualified'));
      errors.push(fieldInvalid(at, name, 'must be a standard resource for containers'));
    }
    if (amount.startsWith('-')) errors.push(fieldInvalid(at, amount, 'must be greater than or equal to 0'));
    else if (name.includes('/') && /[a-z.]/.test(amount) && amount.endsWith('m')) errors.push(fieldInvalid(at, amount, 'must be an integer'));
    return errors;
  });
}

/** Rules for `resources`; `path` of the object. */
export function validateResources({ limits = {}, requests = {} }: ResourceRequirements, path: string): FieldError[] {
  const errors = [...amountErrors(limits, `${path}.limits`), ...amountErrors(requests, `${path}.requests`)];
  for (const [name, request] of Object.entries(requests)) {
    const limit = Object.hasOwn(limits, name) ? limits[name] : undefined;
    if (limit === undefined) {
      if (!overcommits(name)) errors.push(fieldRequired(`${path}.limits`, 'Limit must be set for non overcommitable resources'));
    } else if (!overcommits(name) && compareQuantity(request, limit) !== 0) {
      errors.push(fieldInvalid(`${path}.requests`, request, `must be equal to ${name} limit of ${limit}`));
    } else if (compareQuantity(request, limit) > 0) {
      errors.push(fieldInvalid(`${path}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`));
    }
  }
  return errors;
}

/** What a container's rules need to know of its pod. */
interface PodContext {
  readonly volumes: ReadonlySet<string>;
  readonly hostNetwork: boolean;
  /** terminationGracePeriodSeconds. */
  readonly graceSeconds: number;
  /** Names of containers seen so far; grows. */
  readonly names: Set<string>;
}

function commonErrors(container: Container, path: string, pod: PodContext): FieldError[] {
  const { name, image = '' } = container;
  const errors: FieldError[] = [];
  if (name) {
    errors.push(...invalidEach(`${path}.name`, name, dnsLabelErrors(name)));
    if (pod.names.has(name)) errors.push(fieldDuplicate(`${path}.name`, name));
    pod.names.add(name);
  }
  if (image === '') errors.push(fieldRequired(`${path}.image`));
  else if (image.trim() !== image) errors.push(fieldInvalid(`${path}.image`, image, 'must not have leading or trailing whitespace'));
  for (const point of ['postStart', 'preStop'] as const) {
    const handler = container.lifecycle?.[point];
    if (handler) errors.push(...handlerErrors(handler, `${path}.lifecycle.${point}`, pod.graceSeconds));
  }
  return [
    ...errors, ...probeErrors(container, path),
    ...validatePorts(container.ports ?? [], `${path}.ports`, pod.hostNetwork),
    ...validateEnv(container.env ?? [], `${path}.env`),
    ...validateEnvFrom(container.envFrom ?? [], `${path}.envFrom`),
    ...validateMounts(container.volumeMounts ?? [], `${path}.volumeMounts`, pod.volumes, container.securityContext?.privileged === true),
    ...validateResources(container.resources, `${path}.resources`),
    ...containerSecurityErrors(container.securityContext, `${path}.securityContext`),
  ];
}

const sidecarOnly = ['lifecycle', ...probes] as const;

function initErrors(container: Container, path: string): FieldError[] {
  const { restartPolicy } = container;
  if (restartPolicy === 'Always') return [];
  if (restartPolicy) return [fieldNotSupported(`${path}.restartPolicy`, restartPolicy, ['Always'])];
  return sidecarOnly.filter((field) => container[field] !== undefined)
    .map((field) => fieldForbidden(`${path}.${field}`, 'may not be set for init containers without restartPolicy=Always'));
}

const notEphemeral = ['ports', 'restartPolicy', ...sidecarOnly] as const;

/** An ephemeral container shares in what the pod has, and asks for nothing of its own. */
function ephemeralErrors(container: EphemeralContainer, path: string, pod: PodContext, others: readonly Container[]): FieldError[] {
  const unwanted = 'cannot be set for an Ephemeral Container';
  const errors = commonErrors(container, path, pod);
  if (!container.name) errors.push(fieldRequired(`${path}.name`));
  for (const field of notEphemeral) if (container[field] !== undefined) errors.push(fieldForbidden(`${path}.${field}`, unwanted));
  if (Object.values(container.resources).some((part) => part && Object.keys(part).length > 0)) errors.push(fieldForbidden(`${path}.resources`, unwanted));
  (container.volumeMounts ?? []).forEach((mount, index) => {
    for (const field of ['subPath', 'subPathExpr'] as const) if (mount[field]) errors.push(fieldForbidden(`${path}.volumeMounts[${index}].${field}`, unwanted));
  });
  const target = container.targetContainerName;
  if (target && !others.some(({ name }) => name === target)) errors.push({ type: 'FieldValueNotFound', field: `${path}.targetContainerName`, message: `Not found: ${JSON.stringify(target)}` });
  return errors;
}

/** A host port can be bound once. */
function hostPortErrors(containers: readonly Container[], path: string, seen: Set<string>): FieldError[] {
  return containers.flatMap((container, at) => (container.ports ?? []).flatMap((port, index) => {
    if (!port.hostPort) return [];
    const key = `${port.protocol}/${port.hostIP ?? ''}/${port.hostPort}`;
    if (seen.has(key)) return [fieldDuplicate(`${path}[${at}].ports[${index}].hostPort`, key)];
    seen.add(key);
    return [];
  }));
}

export interface PodContainers {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly ephemeralContainers?: readonly EphemeralContainer[];
  readonly volumes?: readonly Volume[];
  readonly hostNetwork?: boolean;
  readonly terminationGracePeriodSeconds?: number;
}

/** Rules for all containers of a pod; `path` of the pod's spec. */
export function validateContainers({ containers, initContainers = [], ephemeralContainers = [], volumes = [], hostNetwork = false, terminationGracePeriodSeconds: graceSeconds = 30 }: PodContainers, path: string): FieldError[] {
  const pod: PodContext = { volumes: new Set(volumes.map((volume) => volume.name)), hostNetwork, graceSeconds, names: new Set() };
  if (containers.length === 0) return [fieldRequired(`${path}.containers`)];
  return [
    ...containers.flatMap((container, index) => [
      ...commonErrors(container, `${path}.containers[${index}]`, pod),
      ...(container.restartPolicy ? [fieldForbidden(`${path}.containers[${index}].restartPolicy`, 'may not be set for non-init containers')] : []),
    ]),
    ...hostPortErrors(containers, `${path}.containers`, new Set()),
    ...initContainers.flatMap((container, index) => [
      ...commonErrors(container, `${path}.initContainers[${index}]`, pod),
      ...initErrors(container, `${path}.initContainers[${index}]`),
    ]),
    ...ephemeralContainers.flatMap((container, index) => ephemeralErrors(container, `${path}.ephemeralContainers[${index}]`, pod, [...containers, ...initContainers])),
  ];
}
