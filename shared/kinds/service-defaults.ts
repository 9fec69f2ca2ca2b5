import { isIP } from 'node:net';
import type { ServiceParts, ServiceSpec } from './service-spec.ts';

/** Seconds that a client stays with a pod if a service does not say. */
const affinitySeconds = 10_800;

function normalizePorts(spec: ServiceSpec): void {
  for (const port of spec.ports ?? []) if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '') port.targetPort = port.port;
}

function normalizeAffinity(spec: ServiceSpec): void {
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  else if (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds === undefined) spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: affinitySeconds } };
}

function normalizeExposure(spec: ServiceSpec): void {
  const exposed = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  if (exposed || (spec.type === 'ClusterIP' && spec.externalIPs?.length)) spec.externalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster';
}

/** The singular and plural address fields say the same; families follow from addresses. */
function normalizeAddresses(spec: ServiceSpec): void {
  if (spec.type === 'ExternalName') return;
  if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  else if (spec.clusterIPs?.[0] && !spec.clusterIP) spec.clusterIP = spec.clusterIPs[0];
  spec.ipFamilyPolicy ??= 'SingleStack';
  spec.ipFamilies ??= (spec.clusterIPs ?? []).some((ip) => isIP(ip) === 6) ? ['IPv6'] : ['IPv4'];
}

/** Defaults of a service that depend on other fields. Mutates. */
export function normalizeService({ spec }: ServiceParts): void {
  normalizePorts(spec);
  normalizeAffinity(spec);
  normalizeExposure(spec);
  normalizeAddresses(spec);
}

const hasClusterIP = ({ type }: ServiceSpec): boolean => type !== 'ExternalName';
const hasNodePorts = ({ type }: ServiceSpec): boolean => type === 'NodePort' || type === 'LoadBalancer';

/** A port keeps its node port, unless the writer has given that to another. */
function keepNodePorts(spec: ServiceSpec, old: ServiceSpec): void {
  const asked = new Set(spec.ports?.map(({ nodePort }) => nodePort));
  for (const port of spec.ports ?? []) {
    if (port.nodePort) continue;
    const before = old.ports?.find((other) => other.port === port.port && other.protocol === port.protocol);
    if (before?.nodePort && !asked.has(before.nodePort)) port.nodePort = before.nodePort;
  }
}

/** A change of type takes along fields that the writer left as they were and that make no sense any more. */
function dropForType(spec: ServiceSpec, old: ServiceSpec): void {
  if (hasClusterIP(old) && !hasClusterIP(spec)) {
    if (spec.clusterIP === old.clusterIP) { delete spec.clusterIP; delete spec.clusterIPs; }
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
    if (spec.internalTrafficPolicy === old.internalTrafficPolicy) delete spec.internalTrafficPolicy;
  }
  if (old.type === 'LoadBalancer' && spec.type !== 'LoadBalancer') {
    if (spec.loadBalancerClass === old.loadBalancerClass) delete spec.loadBalancerClass;
    if (spec.allocateLoadBalancerNodePorts === old.allocateLoadBalancerNodePorts) delete spec.allocateLoadBalancerNodePorts;
  }
  if (!hasNodePorts(old) || hasNodePorts(spec)) return;
  if (spec.externalTrafficPolicy === old.externalTrafficPolicy) delete spec.externalTrafficPolicy;
  if (spec.healthCheckNodePort === old.healthCheckNodePort) delete spec.healthCheckNodePort;
  for (const port of spec.ports ?? []) {
    if (old.ports?.some((other) => other.nodePort === port.nodePort)) delete port.nodePort;
  }
}

/** Keeps the addresses and node ports that the server assigned and a writer left out. Mutates the new object. */
export function carryOverService({ spec }: ServiceParts, { spec: old }: ServiceParts): void {
  if (hasClusterIP(old) && hasClusterIP(spec)) {
    if (!spec.clusterIP && old.clusterIP) spec.clusterIP = old.clusterIP;
    // Who changes the one field and not the other knows only the one.
    if (spec.clusterIP && spec.clusterIP !== old.clusterIP && String(spec.clusterIPs) === String(old.clusterIPs)) spec.clusterIPs = [spec.clusterIP];
    if (!spec.clusterIPs?.length && old.clusterIPs && spec.clusterIP === old.clusterIP) spec.clusterIPs = old.clusterIPs;
  }
  if (hasNodePorts(old) && hasNodePorts(spec)) keepNodePorts(spec, old);
  dropForType(spec, old);
}
