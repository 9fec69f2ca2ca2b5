import { isIP } from 'node:net';
import { dnsLabelErrors, dnsSubdomainErrors, inclusiveRange, qualifiedNameErrors, validateLabels } from '../names.ts';
import { fieldDuplicate, fieldForbidden, fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import { portReferenceErrors } from './container-validation.ts';
import { endpointIPErrors } from './endpoints.ts';
import type { ServiceParts, ServicePort, ServiceSpec } from './service-spec.ts';

const ipProblem = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
const isHeadless = (spec: ServiceSpec): boolean => spec.clusterIP === 'None';
/** Seconds in a day: the longest that a client may stay with a pod. */
const maxAffinitySeconds = 86_400;

function portErrors(port: ServicePort, path: string, named: boolean, names: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  const { name } = port;
  if (!name && named) errors.push(fieldRequired(`${path}.name`));
  if (name) {
    errors.push(...dnsLabelErrors(name).map((problem) => fieldInvalid(`${path}.name`, name, problem)));
    if (names.has(name)) errors.push(fieldDuplicate(`${path}.name`, name));
    names.add(name);
  }
  if (port.port < 1 || port.port > 65535) errors.push(fieldInvalid(`${path}.port`, port.port, inclusiveRange(1, 65535)));
  if (port.targetPort !== undefined) errors.push(...portReferenceErrors(port.targetPort, `${path}.targetPort`));
  if (port.appProtocol) errors.push(...qualifiedNameErrors(port.appProtocol).map((problem) => fieldInvalid(`${path}.appProtocol`, port.appProtocol, problem)));
  return errors;
}

/** Every pair of port and protocol once, every node port once per protocol. */
function duplicateErrors(ports: readonly ServicePort[]): FieldError[] {
  const seen = new Set<string>();
  const nodeSeen = new Set<string>();
  return ports.flatMap(({ port, protocol, nodePort }, index) => {
    const errors: FieldError[] = [];
    const key = `${port}/${protocol}`;
    if (seen.has(key)) errors.push(fieldDuplicate(`spec.ports[${index}]`, { port, protocol }));
    seen.add(key);
    const nodeKey = `${nodePort}/${protocol}`;
    if (nodePort && nodeSeen.has(nodeKey)) errors.push(fieldDuplicate(`spec.ports[${index}].nodePort`, nodePort));
    if (nodePort) nodeSeen.add(nodeKey);
    return errors;
  });
}

function portsErrors(spec: ServiceSpec): FieldError[] {
  const ports = spec.ports ?? [];
  const names = new Set<string>();
  const errors = ports.flatMap((port, index) => portErrors(port, `spec.ports[${index}]`, ports.length > 1, names));
  if (ports.length === 0 && !isHeadless(spec) && spec.type !== 'ExternalName') errors.push(fieldRequired('spec.ports'));
  if (spec.type === 'ClusterIP') {
    ports.forEach(({ nodePort }, index) => { if (nodePort) errors.push(fieldForbidden(`spec.ports[${index}].nodePort`, "may not be used when `type` is 'ClusterIP'")); });
  }
  return [...errors, ...duplicateErrors(ports)];
}

function typeErrors(spec: ServiceSpec): FieldError[] {
  switch (spec.type) {
    case 'ClusterIP': return [];
    case 'NodePort': case 'LoadBalancer':
      return isHeadless(spec) ? [fieldInvalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`)] : [];
    case 'ExternalName': {
      const errors = spec.clusterIPs?.length || spec.clusterIP ? [fieldForbidden('spec.clusterIPs', "may not be set when `type` is 'ExternalName'")] : [];
      const name = spec.externalName?.replace(/\.$/, '');
      if (!name) return [...errors, fieldRequired('spec.externalName')];
      return [...errors, ...dnsSubdomainErrors(name).map((problem) => fieldInvalid('spec.externalName', name, problem))];
    }
    // Reported by the schema.
    default: return [];
  }
}

function addressErrors(spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const { clusterIPs = [], clusterIP, externalIPs = [] } = spec;
  if (clusterIPs.length > 0 && clusterIPs[0] !== (clusterIP ?? '')) errors.push(fieldInvalid('spec.clusterIPs', clusterIPs, 'first value must match `clusterIP`'));
  clusterIPs.forEach((ip, index) => {
    if (ip === 'None' && clusterIPs.length === 1) return;
    if (ip === 'None') errors.push(fieldInvalid(`spec.clusterIPs[${index}]`, ip, "'None' must be the first and only value"));
    else if (!isIP(ip)) errors.push(fieldInvalid(`spec.clusterIPs[${index}]`, ip, ipProblem));
  });
  externalIPs.forEach((ip, index) => errors.push(...endpointIPErrors(ip).map((problem) => fieldInvalid(`spec.externalIPs[${index}]`, ip, problem))));
  return errors;
}

function affinityErrors(spec: ServiceSpec): FieldError[] {
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (spec.sessionAffinity !== 'ClientIP' || seconds === undefined) return [];
  return seconds > 0 && seconds <= maxAffinitySeconds ? []
    : [fieldInvalid('spec.sessionAffinityConfig.clientIP.timeoutSeconds', seconds, `must be greater than 0 and less than ${maxAffinitySeconds}`)];
}

function trafficErrors(spec: ServiceSpec): FieldError[] {
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer' || (spec.type === 'ClusterIP' && !!spec.externalIPs?.length);
  if (!spec.externalTrafficPolicy || external) return [];
  return [fieldInvalid('spec.externalTrafficPolicy', spec.externalTrafficPolicy, 'may only be set for externally-accessible services')];
}

/** IPv4 or IPv6, with the number of bits that count. */
function isRange(text: string): boolean {
  const [, ip = '', bits] = /^(.+)\/(\d{1,3})$/.exec(text.trim()) ?? [];
  return bits !== undefined && isIP(ip) > 0 && Number(bits) <= (isIP(ip) === 6 ? 128 : 32);
}

function sourceRangeErrors({ type, loadBalancerSourceRanges: ranges = [] }: ServiceSpec): FieldError[] {
  if (ranges.length === 0) return [];
  // The field's name is written so upstream, and so is the blank at the end.
  const path = 'spec.LoadBalancerSourceRanges';
  return [
    ...(type === 'LoadBalancer' ? [] : [fieldForbidden(path, "may only be used when `type` is 'LoadBalancer'")]),
    ...(ranges.every(isRange) ? [] : [fieldInvalid(path, `[${ranges.join(' ')}]`, 'must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 ')]),
  ];
}

/** What has no effect on this service (pkg/api/service/warnings.go). */
export function serviceWarnings({ spec }: ServiceParts): string[] {
  const ignored = isHeadless(spec) && spec.type === 'ClusterIP' ? [
    ...(spec.loadBalancerIP ? ['spec.loadBalancerIP'] : []), ...(spec.externalIPs?.length ? ['spec.externalIPs'] : []), ...(spec.sessionAffinity === 'None' ? [] : ['spec.SessionAffinity']),
  ] : [];
  return [
    ...ignored.map((field) => `${field} is ignored for headless services`),
    ...(spec.type === 'ExternalName' && spec.externalIPs?.length ? ['spec.externalIPs is ignored when spec.type is "ExternalName"'] : []),
    ...(spec.type !== 'ExternalName' && spec.externalName ? ['spec.externalName is ignored when spec.type is not "ExternalName"'] : []),
  ];
}

/** Rules for a service. */
export function validateService({ spec }: ServiceParts): FieldError[] {
  return [
    ...portsErrors(spec), ...typeErrors(spec), ...affinityErrors(spec),
    ...validateLabels(spec.selector, 'spec.selector'),
    ...addressErrors(spec), ...trafficErrors(spec), ...sourceRangeErrors(spec),
  ];
}

/** The cluster address stays, as long as the service has one. */
export function validateServiceUpdate({ spec }: ServiceParts, { spec: old }: ServiceParts): FieldError[] {
  if (spec.type === 'ExternalName' || old.type === 'ExternalName' || !old.clusterIPs?.[0]) return [];
  const next = spec.clusterIPs ?? [];
  if (next[0] === old.clusterIPs[0]) return [];
  return [fieldInvalid('spec.clusterIPs[0]', next, next.length === 0 ? 'primary clusterIP can not be unset' : 'may not change once set')];
}
