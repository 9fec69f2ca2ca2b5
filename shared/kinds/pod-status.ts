import type { InferOutput } from 'valibot';
import type { KubeObject } from '../meta.ts';
import { annotate, dflt, int64, list, listMap, obj, oneOf, opt, str, time } from '../schema.ts';
import { ContainerStatus } from './container.ts';
import type { PodSpec } from './pod-spec.ts';

export const PodCondition = obj('core.v1.PodCondition', {
  type: dflt(str(), '', 'Type, such as Ready.'),
  status: dflt(str(), '', 'True, False or Unknown.'),
  observedGeneration: opt(int64(), 'Generation that it was set for.'),
  lastProbeTime: opt(time(), 'When it was last looked at.'),
  lastTransitionTime: opt(time(), 'When the status last changed.'),
  reason: opt(str(), 'Programmatic reason.'),
  message: opt(str(), 'Human-readable detail.'),
}, 'One aspect of the state of a pod.');
export type PodCondition = InferOutput<typeof PodCondition>;

const PodIP = obj('core.v1.PodIP', { ip: dflt(str(), '', 'Address.') }, 'An address of the pod.');
const HostIP = obj('core.v1.HostIP', { ip: dflt(str(), '', 'Address.') }, 'An address of the host.');
const PodResourceClaimStatus = obj('core.v1.PodResourceClaimStatus', {
  name: dflt(str(), '', 'Name within the pod.'),
  resourceClaimName: opt(str(), 'Claim that was made.'),
}, 'The claim made for an entry of spec.resourceClaims.');

export const PodStatus = obj('core.v1.PodStatus', {
  observedGeneration: opt(int64(), 'Generation that the status is about.'),
  phase: opt(oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'), 'Where the pod is in its life.'),
  conditions: opt(listMap(PodCondition, 'type'), 'Aspects of the state.'),
  message: opt(str(), 'Human-readable detail.'),
  reason: opt(str(), 'Brief reason, such as Evicted.'),
  nominatedNodeName: opt(str(), 'Node on which room is being made.'),
  hostIP: opt(str(), 'Address of the host.'),
  hostIPs: opt(annotate(list(HostIP), { patchStrategy: 'merge', patchMergeKey: 'ip' }), 'All addresses of the host.'),
  podIP: opt(str(), 'Address of the pod.'),
  podIPs: opt(listMap(PodIP, 'ip'), 'All addresses of the pod.'),
  startTime: opt(time(), 'When the node took the pod up.'),
  initContainerStatuses: opt(list(ContainerStatus), 'State of init containers.'),
  containerStatuses: opt(list(ContainerStatus), 'State of containers.'),
  qosClass: opt(oneOf('Guaranteed', 'Burstable', 'BestEffort'), 'Quality of service, from the resources.'),
  ephemeralContainerStatuses: opt(list(ContainerStatus), 'State of ephemeral containers.'),
  resize: opt(str(), 'State of a resize.'),
  resourceClaimStatuses: opt(listMap(PodResourceClaimStatus, 'name'), 'Claims that were made.'),
}, 'What is known of a pod.');
export type PodStatus = InferOutput<typeof PodStatus>;
export type PodPhase = NonNullable<PodStatus['phase']>;

/** A pod, as its rules and columns see it. */
export interface PodParts extends KubeObject {
  spec: PodSpec;
  status: PodStatus;
}
