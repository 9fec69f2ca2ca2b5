import type { InferOutput } from 'valibot';
import { Condition, type KubeObject } from '../meta.ts';
import { atomicMap, bool, dflt, int32, intOrString, list, listMap, obj, oneOf, opt, req, str } from '../schema.ts';

export const ServicePort = obj('core.v1.ServicePort', {
  name: opt(str(), 'Name; required when there are several ports.'),
  protocol: dflt(oneOf('SCTP', 'TCP', 'UDP'), 'TCP', 'Protocol.'),
  appProtocol: opt(str(), 'Application protocol, such as http.'),
  port: req(int32(), 'Port of the service.'),
  targetPort: opt(intOrString(), 'Number or name of the pods\' port; the same number by default.'),
  nodePort: opt(int32(), 'Port on every node, for types NodePort and LoadBalancer.'),
}, 'A port of a service.');
export type ServicePort = InferOutput<typeof ServicePort>;

const ClientIPConfig = obj('core.v1.ClientIPConfig', {
  timeoutSeconds: opt(int32(), 'Seconds that a client stays with a pod.'),
}, 'Affinity by client address.');

const SessionAffinityConfig = obj('core.v1.SessionAffinityConfig', {
  clientIP: opt(ClientIPConfig, 'Affinity by client address.'),
}, 'Settings of the session affinity.');

export const ServiceSpec = obj('core.v1.ServiceSpec', {
  ports: opt(listMap(ServicePort, 'port', ['port', 'protocol']), 'Ports of the service.'),
  selector: opt(atomicMap(), 'Labels of the pods behind it.'),
  clusterIP: opt(str(), 'Address within the cluster; None for a headless service; assigned if absent.'),
  clusterIPs: opt(list(str()), 'Addresses within the cluster, one per family.'),
  type: dflt(oneOf('ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'), 'ClusterIP', 'How the service is exposed.'),
  externalIPs: opt(list(str()), 'Further addresses that nodes accept traffic for.'),
  sessionAffinity: dflt(oneOf('ClientIP', 'None'), 'None', 'Whether a client stays with a pod.'),
  loadBalancerIP: opt(str(), 'Deprecated: wished address of the load balancer.'),
  loadBalancerSourceRanges: opt(list(str()), 'Client addresses that the load balancer admits.'),
  externalName: opt(str(), 'DNS name that the service stands for, with type ExternalName.'),
  externalTrafficPolicy: opt(oneOf('Cluster', 'Local'), 'Which pods get traffic from outside.'),
  healthCheckNodePort: opt(int32(), 'Port on which nodes say whether they have pods of the service.'),
  publishNotReadyAddresses: opt(bool(), 'Whether pods that are not ready are published.'),
  sessionAffinityConfig: opt(SessionAffinityConfig, 'Settings of the session affinity.'),
  ipFamilies: opt(list(oneOf('IPv4', 'IPv6')), 'Address families.'),
  ipFamilyPolicy: opt(oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack'), 'How many address families it has.'),
  allocateLoadBalancerNodePorts: opt(bool(), 'Whether a load balancer gets node ports.'),
  loadBalancerClass: opt(str(), 'Which load balancer implementation is meant.'),
  internalTrafficPolicy: opt(oneOf('Cluster', 'Local'), 'Which pods get traffic from within the cluster.'),
  trafficDistribution: opt(str(), 'Wish about which pods get traffic, such as PreferClose.'),
}, 'What a service should be.');
export type ServiceSpec = InferOutput<typeof ServiceSpec>;

const PortStatus = obj('core.v1.PortStatus', {
  port: dflt(int32(), 0, 'Port number.'),
  protocol: dflt(str(), 'TCP', 'Protocol.'),
  error: opt(str(), 'What is wrong with the port.'),
}, 'State of a port of a load balancer.');

const LoadBalancerIngress = obj('core.v1.LoadBalancerIngress', {
  ip: opt(str(), 'Address.'),
  hostname: opt(str(), 'Host name.'),
  ipMode: opt(str(), 'VIP or Proxy.'),
  ports: opt(list(PortStatus), 'State of the ports.'),
}, 'A way into a load balancer.');

const LoadBalancerStatus = obj('core.v1.LoadBalancerStatus', {
  ingress: opt(list(LoadBalancerIngress), 'Ways in.'),
}, 'State of a load balancer.');

export const ServiceStatus = obj('core.v1.ServiceStatus', {
  loadBalancer: dflt(LoadBalancerStatus, {}, 'State of the load balancer.'),
  conditions: opt(listMap(Condition, 'type'), 'Aspects of the state.'),
}, 'What is known of a service.');
export type ServiceStatus = InferOutput<typeof ServiceStatus>;

/** A service, as its rules see it. */
export interface ServiceParts extends KubeObject {
  spec: ServiceSpec;
  status: ServiceStatus;
}
