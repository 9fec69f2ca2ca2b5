import type { Pod } from '../../shared/kinds/pod.ts';
import type { Service } from '../../shared/kinds/service.ts';
import type { ServicePort } from '../../shared/kinds/service-spec.ts';
import { selectorOf } from '../../shared/selector.ts';
import type { KindChange } from '../registry/types.ts';
import type { Context } from './controller.ts';
import { labelsKey } from './indexes.ts';
import { isEnded, isReady } from './pod.ts';

/** Pods that a service selects and that have an address. `terminating` says whether those being deleted count. */
export function podsOf(service: Service, terminating: boolean, { indexes }: Context): Pod[] {
  return indexes.podsMatching(service.metadata.namespace ?? '', selectorOf(service.spec.selector))
    .filter((pod) => !isEnded(pod) && podIP(pod) && (terminating || !pod.metadata.deletionTimestamp));
}

export const podIP = (pod: Pod): string => pod.status.podIP || pod.status.podIPs?.[0]?.ip || '';

export const isHeadless = (service: Service): boolean => service.spec.clusterIP === 'None';

/** Services without a selector have their endpoints from elsewhere. */
export const selectsPods = (service: Service): boolean => service.spec.type !== 'ExternalName' && Object.keys(service.spec.selector ?? {}).length > 0;

/** The number that a service's port has on a pod, or undefined when the pod does not name such a port. */
export function targetPort(pod: Pod, port: ServicePort): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target;
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always')];
  for (const { ports } of containers) {
    for (const candidate of ports ?? []) if (candidate.name === target && candidate.protocol === port.protocol) return candidate.containerPort;
  }
  return undefined;
}

/** The name that a pod has below a headless service, if it asks for one. */
export const hostnameOf = (pod: Pod, service: Service): string | undefined =>
  (pod.spec.hostname && pod.spec.subdomain === service.metadata.name ? pod.spec.hostname : undefined);

/** Keys of the services whose endpoints a pod's change may concern. */
export function servicesOf({ object, previous, namespace, type }: KindChange, { indexes }: Context): Set<string> {
  const keys = new Set<string>();
  const [pod, before] = [object as Pod, previous as Pod | undefined];
  if (before && type === 'MODIFIED' && relevant(pod) === relevant(before)) return keys;
  for (const state of before ? [pod, before] : [pod]) {
    for (const key of indexes.services.matching(namespace, state.metadata.labels ?? {})) keys.add(key);
  }
  return keys;
}

/** What of a pod can change endpoints; the rest of its spec cannot change. */
const relevant = (pod: Pod): string =>
  [podIP(pod), isReady(pod), isEnded(pod), Boolean(pod.metadata.deletionTimestamp), pod.spec.nodeName, labelsKey(pod.metadata.labels ?? {})].join('\0');

