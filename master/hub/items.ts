import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { EndpointSlice } from '../../shared/kinds/endpointslice.ts';
import type { PersistentVolume } from '../../shared/kinds/persistentvolume.ts';
import type { PersistentVolumeClaim } from '../../shared/kinds/persistentvolumeclaim.ts';
import { isTerminal, type Pod } from '../../shared/kinds/pod.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import type { Service } from '../../shared/kinds/service.ts';
import type { KubeObject, ObjectMeta } from '../../shared/meta.ts';
import type { EndpointsItem, ItemOf, ServiceItem } from '../../shared/protocol.ts';
import { runtimeHandlerAnnotation } from '../../shared/runtime-handler.ts';

/**
 * Version of what these functions make of an object. It is part of the epoch: when the same revision of an object
 * becomes another item, agents must not resume from what they hold.
 */
export const itemFormat = 1;

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** The part of a pod that its node acts on: without bookkeeping, and of its status only what others decide about it. */
export function podForAgent(pod: Pod): Pod {
  return { apiVersion: pod.apiVersion, kind: pod.kind, metadata: withoutBookkeeping(pod.metadata), spec: pod.spec, status: statusForAgent(pod) };
}

/**
 * An ended pod must not be run again by an agent that lost its containers, so the phase travels; readiness gates are
 * conditions that somebody else sets. All else is the agent's own word, which it need not hear back.
 */
function statusForAgent({ spec, status, ...rest }: Pod): Pod['status'] {
  const gates = new Set(spec.readinessGates?.map(({ conditionType }) => conditionType));
  const conditions = status.conditions?.filter(({ type }) => gates.has(type));
  return {
    ...(isTerminal({ spec, status, ...rest }) ? pick(status, ['phase', 'reason', 'message']) : {}),
    ...(conditions?.length ? { conditions } : {}),
  };
}

const pick = <T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> =>
  Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]])) as Pick<T, K>;

/** True when a change of a pod is none for its node. */
export const sameForAgent = (a: Pod, b: Pod): boolean => a === b || JSON.stringify(podForAgent(a)) === JSON.stringify(podForAgent(b));

/** `handler`: of the pod's runtime class. */
export const podItem = (pod: Pod, revision: number, handler?: string): ItemOf<'pod'> => ({ type: 'pod', revision, object: withHandler(podForAgent(pod), handler) });

function withHandler(pod: Pod, handler: string | undefined): Pod {
  if (handler === undefined && pod.metadata.annotations?.[runtimeHandlerAnnotation] === undefined) return pod;
  const { [runtimeHandlerAnnotation]: _, ...annotations } = pod.metadata.annotations ?? {};
  return { ...pod, metadata: { ...pod.metadata, annotations: { ...annotations, ...(handler ? { [runtimeHandlerAnnotation]: handler } : {}) } } };
}

export const configMapItem = (object: ConfigMap, revision: number): ItemOf<'configMap'> => ({ type: 'configMap', revision, object: slim(object) });

export const secretItem = (object: Secret, revision: number): ItemOf<'secret'> => ({ type: 'secret', revision, object: slim(object) });

/** A claim, and its volume once both know of each other: what a volume is cannot change, so the claim's revision counts. */
export const claimItem = (object: PersistentVolumeClaim, revision: number, volume: PersistentVolume | undefined): ItemOf<'claim'> =>
  ({ type: 'claim', revision, object: slim(object), ...(volume ? { volume: slim(volume) } : {}) });

/** kubectl's copy of the whole object would double its size on the wire and on flash. */
function slim<T extends KubeObject>(object: T): T {
  const metadata = withoutBookkeeping(object.metadata);
  if (metadata.annotations?.[lastApplied]) {
    const { [lastApplied]: _, ...annotations } = metadata.annotations;
    metadata.annotations = annotations;
  }
  return { ...object, metadata };
}

function withoutBookkeeping(metadata: ObjectMeta): ObjectMeta {
  const { managedFields: _, resourceVersion: __, ...rest } = metadata;
  return rest;
}

/**
 * Addresses outside the cluster that lead to a service: of its spec, and of its load balancer if that is no proxy and is
 * not meant to turn clients away, which nodes do not do.
 */
function externalAddresses({ spec, status }: Service): string[] {
  const balanced = spec.type === 'LoadBalancer' && !spec.loadBalancerSourceRanges?.length ? status.loadBalancer?.ingress ?? [] : [];
  return [...spec.externalIPs ?? [], ...balanced.flatMap(({ ip, ipMode }) => (ip && ipMode !== 'Proxy' ? [ip] : []))];
}

export function serviceItem(service: Service, revision: number): ServiceItem {
  const { metadata, spec } = service;
  const externalIPs = externalAddresses(service);
  return {
    type: 'service', revision, namespace: metadata.namespace ?? '', name: metadata.name ?? '',
    serviceType: spec.type,
    clusterIPs: spec.type === 'ExternalName' ? [] : spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []),
    ...(externalIPs.length > 0 ? { externalIPs } : {}),
    ...(spec.externalName ? { externalName: spec.externalName } : {}),
    ports: (spec.ports ?? []).map(({ name, protocol, port, nodePort, appProtocol }) => ({
      name: name ?? '', protocol, port, ...(nodePort ? { nodePort } : {}), ...(appProtocol ? { appProtocol } : {}),
    })),
    affinitySeconds: spec.sessionAffinity === 'ClientIP' ? spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800 : 0,
    internalTrafficPolicy: spec.internalTrafficPolicy ?? 'Cluster',
    externalTrafficPolicy: spec.externalTrafficPolicy ?? 'Cluster',
    publishNotReadyAddresses: spec.publishNotReadyAddresses ?? false,
  };
}

/** Undefined for a slice that is of no service, or whose addresses are names. */
export function endpointsItem(slice: EndpointSlice, revision: number): EndpointsItem | undefined {
  const { metadata, addressType, ports, endpoints } = slice;
  const service = metadata.labels?.['kubernetes.io/service-name'];
  if (!service || addressType === 'FQDN') return undefined;
  return {
    type: 'endpoints', revision, namespace: metadata.namespace ?? '', name: metadata.name ?? '', service,
    ports: (ports ?? []).flatMap(({ name, protocol, port }) => (port === undefined ? [] : [{ name, protocol, port }])),
    endpoints: endpoints.map(({ addresses, conditions, nodeName, hostname, targetRef }) => ({
      addresses,
      ready: conditions.ready ?? true,
      serving: conditions.serving ?? conditions.ready ?? true,
      terminating: conditions.terminating ?? false,
      ...(nodeName ? { nodeName } : {}), ...(hostname ? { hostname } : {}),
      ...(targetRef?.kind === 'Pod' && targetRef.name ? { pod: targetRef.name } : {}),
    })),
  };
}
