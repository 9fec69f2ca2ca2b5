import type { InferOutput } from 'valibot';
import { ObjectMeta } from '../meta.ts';
import { atomicMap, bool, dflt, int32, int64, list, listMap, obj, oneOf, opt, req, retainKeysListMap, str } from '../schema.ts';
import { Affinity, Toleration, TopologySpreadConstraint } from './affinity.ts';
import { Container, EphemeralContainer } from './container.ts';
import { LocalObjectReference } from './references.ts';
import { ResourceList, ResourceRequirements } from './resources.ts';
import { PodSecurityContext } from './security-context.ts';
import { Volume } from './volume.ts';

const HostAlias = obj('core.v1.HostAlias', {
  ip: req(str(), 'Address.'),
  hostnames: opt(list(str()), 'Names for it.'),
}, 'A line of the pod\'s hosts file.');

const PodDNSConfigOption = obj('core.v1.PodDNSConfigOption', {
  name: opt(str(), 'Name of the resolver option.'),
  value: opt(str(), 'Its value.'),
}, 'A resolver option.');

const PodDNSConfig = obj('core.v1.PodDNSConfig', {
  nameservers: opt(list(str()), 'Addresses of name servers, added to those of the policy.'),
  searches: opt(list(str()), 'Search domains, added to those of the policy.'),
  options: opt(list(PodDNSConfigOption), 'Resolver options, merged with those of the policy.'),
}, 'Resolver settings of a pod.');

const PodReadinessGate = obj('core.v1.PodReadinessGate', {
  conditionType: req(str(), 'Type of a pod condition that must be True.'),
}, 'A further condition of readiness.');

const PodSchedulingGate = obj('core.v1.PodSchedulingGate', {
  name: req(str(), 'Name of the gate.'),
}, 'Holds a pod back from scheduling until removed.');

const PodOS = obj('core.v1.PodOS', {
  name: req(str(), 'linux or windows.'),
}, 'Operating system of a pod.');

const PodResourceClaim = obj('core.v1.PodResourceClaim', {
  name: req(str(), 'Name, unique within the pod.'),
  resourceClaimName: opt(str(), 'Name of a claim.'),
  resourceClaimTemplateName: opt(str(), 'Name of a template from which a claim is made.'),
}, 'A resource claim of the pod.');

export const PodSpec = obj('core.v1.PodSpec', {
  volumes: opt(retainKeysListMap(Volume, 'name'), 'Volumes that containers can mount.'),
  initContainers: opt(listMap(Container, 'name'), 'Containers that run one after the other before the others start.'),
  containers: req(listMap(Container, 'name'), 'Containers of the pod; at least one.'),
  ephemeralContainers: opt(listMap(EphemeralContainer, 'name'), 'Containers added later for debugging.'),
  restartPolicy: dflt(oneOf('Always', 'OnFailure', 'Never'), 'Always', 'When ended containers are restarted.'),
  terminationGracePeriodSeconds: dflt(int64(), 30, 'Seconds that the pod is given to end.'),
  activeDeadlineSeconds: opt(int64(), 'Seconds after which the pod is ended and counts as failed.'),
  dnsPolicy: dflt(oneOf('ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'), 'ClusterFirst', 'Where resolver settings come from.'),
  nodeSelector: opt(atomicMap(), 'Labels that the node must have.'),
  serviceAccountName: opt(str(), 'Service account that the pod runs as.'),
  serviceAccount: opt(str(), 'Deprecated name of serviceAccountName.'),
  automountServiceAccountToken: opt(bool(), 'Whether a token of the service account is mounted.'),
  nodeName: opt(str(), 'Node that the pod runs on; set by the scheduler.'),
  hostNetwork: opt(bool(), 'Use the network of the host.'),
  hostPID: opt(bool(), 'Use the processes of the host.'),
  hostIPC: opt(bool(), 'Use the IPC of the host.'),
  shareProcessNamespace: opt(bool(), 'Containers see each other\'s processes.'),
  securityContext: dflt(PodSecurityContext, {}, 'Privileges of all containers.'),
  imagePullSecrets: opt(listMap(LocalObjectReference, 'name'), 'Secrets with registry credentials.'),
  hostname: opt(str(), 'Host name of the pod; its name by default.'),
  subdomain: opt(str(), 'Makes the full name hostname.subdomain.namespace.svc.domain.'),
  affinity: opt(Affinity, 'Wishes about where the pod runs.'),
  schedulerName: dflt(str(), 'default-scheduler', 'Scheduler that places the pod.'),
  tolerations: opt(list(Toleration), 'Taints that the pod puts up with.'),
  hostAliases: opt(listMap(HostAlias, 'ip'), 'Further lines of the hosts file.'),
  priorityClassName: opt(str(), 'Name of the priority class.'),
  priority: opt(int32(), 'Priority, from the class; higher is more important.'),
  dnsConfig: opt(PodDNSConfig, 'Resolver settings beside those of the policy.'),
  readinessGates: opt(list(PodReadinessGate), 'Further conditions of readiness.'),
  runtimeClassName: opt(str(), 'Name of the runtime class.'),
  enableServiceLinks: opt(bool(), 'Whether services become environment variables; true by default.'),
  preemptionPolicy: opt(oneOf('PreemptLowerPriority', 'Never'), 'Whether it may displace pods of lower priority.'),
  overhead: opt(ResourceList, 'Resources of the pod beside its containers; from the runtime class.'),
  topologySpreadConstraints: opt(listMap(TopologySpreadConstraint, 'topologyKey', ['topologyKey', 'whenUnsatisfiable']), 'How the pods of a group spread.'),
  setHostnameAsFQDN: opt(bool(), 'Use the full name as host name.'),
  os: opt(PodOS, 'Operating system that the pod needs.'),
  hostUsers: opt(bool(), 'Use the users of the host.'),
  schedulingGates: opt(listMap(PodSchedulingGate, 'name'), 'Gates that hold back scheduling.'),
  resourceClaims: opt(retainKeysListMap(PodResourceClaim, 'name'), 'Resource claims that containers can use.'),
  resources: opt(ResourceRequirements, 'Resources of the pod as a whole.'),
}, 'What a pod should be.');
export type PodSpec = InferOutput<typeof PodSpec>;

export const PodTemplateSpec = obj('core.v1.PodTemplateSpec', {
  metadata: opt(ObjectMeta, 'Labels and annotations of the pods.'),
  spec: dflt(PodSpec, { containers: [] }, 'What the pods should be.'),
}, 'What pods made from it look like.');
export type PodTemplateSpec = InferOutput<typeof PodTemplateSpec>;
