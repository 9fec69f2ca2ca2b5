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
  if (exposed) spec.externalTrafficPolicy ??= 'Cluster';
  else if (!spec.externalIPs?.length) delete spec.externalTrafficPolicy;
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
