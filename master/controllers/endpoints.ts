import { endpoints, type EndpointAddress, type EndpointSubset, type Endpoints } from '../../shared/kinds/endpoints.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import { keyOf, splitKey } from '../../shared/meta.ts';
import { defineController, some, type Context } from './controller.ts';
import { packSubsets, truncateSubsets, type Backend } from './endpoint-subsets.ts';
import { ensure, removeIfThere } from './ensure.ts';
import { isReady } from './pod.ts';
import { hostnameOf, isHeadless, podIP, podsOf, selectsPods, servicesOf, targetPort } from './service-pods.ts';

const overCapacity = 'endpoints.kubernetes.io/over-capacity';
const headless = 'service.kubernetes.io/headless';

/** Keeps the Endpoints of every service that selects pods. */
export const endpointsController = defineController({
  name: 'endpoints', for: some(services),
  watches: [{ kind: some(pods), keys: servicesOf }, { kind: some(endpoints), keys: (change) => [keyOf(change.object)] }],
  async reconcile(key, context) {
    const { namespace, name } = splitKey(key);
    const service = context.registry.find(services, namespace, name);
    if (!service) {
      await removeStale(namespace, name, context);
      return;
    }
    if (!selectsPods(service) || service.metadata.deletionTimestamp) return;
    const subsets = subsetsOf(service, context);
    const truncated = truncateSubsets(subsets);
    await ensure(context.registry, endpoints, namespace, name, (current) => desired(service, current, subsets, truncated));
  },
});

/** Endpoints go with their service, unless somebody made them for no service and no controller at all. */
async function removeStale(namespace: string, name: string, { registry }: Context): Promise<void> {
  const stale = registry.find(endpoints, namespace, name);
  // Endpoints that name a leader are the lock of an old leader election, not a service's.
  if (!stale || stale.metadata.annotations?.['control-plane.alpha.kubernetes.io/leader']) return;
  await removeIfThere(registry, some(endpoints), namespace, name, { preconditions: { uid: stale.metadata.uid ?? '' } });
}

function desired(service: Service, current: Endpoints | undefined, subsets: EndpointSubset[], truncated: boolean): unknown {
  const labels = { ...service.metadata.labels };
  if (isHeadless(service)) labels[headless] = '';
  else delete labels[headless];
  const annotations = { ...current?.metadata.annotations };
  if (truncated) annotations[overCapacity] = 'truncated';
  else delete annotations[overCapacity];
  const { subsets: _before, ...rest } = current ?? { metadata: { name: service.metadata.name } };
  return {
    ...rest, metadata: { ...rest.metadata, labels, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    ...(subsets.length > 0 ? { subsets } : {}),
  };
}

/** What the Endpoints of a service should list. */
export function subsetsOf(service: Service, context: Context): EndpointSubset[] {
  const unreadyToo = service.spec.publishNotReadyAddresses ?? false;
  return packSubsets(podsOf(service, unreadyToo, context).flatMap((pod) => backendsOf(pod, service, unreadyToo)));
}

function backendsOf(pod: Pod, service: Service, unreadyToo: boolean): Backend[] {
  const address = addressOf(pod, service);
  const ready = unreadyToo || isReady(pod);
  const ports = service.spec.ports ?? [];
  if (ports.length === 0) return isHeadless(service) ? [{ address, port: undefined, ready }] : [];
  return ports.flatMap((port) => {
    const number = targetPort(pod, port);
    if (number === undefined) return [];
    const { name, protocol, appProtocol } = port;
    return [{ address, ready, port: { ...(name ? { name } : {}), port: number, protocol, ...(appProtocol ? { appProtocol } : {}) } }];
  });
}

function addressOf(pod: Pod, service: Service): EndpointAddress {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  const hostname = hostnameOf(pod, service);
  return {
    ip: podIP(pod), ...(hostname ? { hostname } : {}), ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}
