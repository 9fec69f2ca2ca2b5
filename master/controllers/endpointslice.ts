import { endpointSlices, type Endpoint, type EndpointSlicePort } from '../../shared/kinds/endpointslice.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import { splitKey } from '../../shared/meta.ts';
import { defineController, some, type Context } from './controller.ts';
import { isReady } from './pod.ts';
import { hostnameOf, isHeadless, podIP, podsOf, selectsPods, servicesOf, targetPort } from './service-pods.ts';
import { portsKey, type PortGroup } from './slice-packing.ts';
import { managedByLabel, serviceNameLabel, writeSlices } from './slices.ts';

const manager = 'endpointslice-controller.k8s.io';
const headless = 'service.kubernetes.io/headless';
const zone = 'topology.kubernetes.io/zone';

/** Keeps the EndpointSlices of every service that selects pods. */
export const endpointSlice = defineController({
  name: 'endpointslice', for: some(services), owns: [some(endpointSlices)],
  watches: [{ kind: some(pods), keys: servicesOf }],
  async reconcile(key, context) {
    const { namespace, name } = splitKey(key);
    const service = context.registry.find(services, namespace, name);
    // The slices of a service that is gone go with it by their owner reference.
    if (!service || !selectsPods(service) || service.metadata.deletionTimestamp) return;
    await writeSlices({ object: service, manager, labels: labelsOf(service) }, groupsOf(service, context), context);
  },
});

function labelsOf(service: Service): Record<string, string> {
  const labels: Record<string, string> = { ...service.metadata.labels, [serviceNameLabel]: service.metadata.name ?? '', [managedByLabel]: manager };
  delete labels[headless];
  if (isHeadless(service)) labels[headless] = '';
  return labels;
}

/** A service's endpoints by the ports that they resolve to: named target ports may differ from pod to pod. */
export function groupsOf(service: Service, context: Context): PortGroup[] {
  const groups = new Map<string, { ports: EndpointSlicePort[]; endpoints: Endpoint[] }>();
  for (const pod of podsOf(service, true, context)) {
    const ports = portsOf(pod, service);
    if (ports.length === 0 && !isHeadless(service)) continue;
    const key = portsKey(ports);
    let group = groups.get(key);
    if (!group) groups.set(key, group = { ports, endpoints: [] });
    group.endpoints.push(endpointOf(pod, service, context));
  }
  return [...groups.values()];
}

function portsOf(pod: Pod, service: Service): EndpointSlicePort[] {
  return (service.spec.ports ?? []).flatMap(({ name, protocol, appProtocol, ...rest }) => {
    const number = targetPort(pod, { name: name ?? '', protocol, ...rest });
    return number === undefined ? [] : [{ name: name ?? '', protocol, port: number, ...(appProtocol ? { appProtocol } : {}) }];
  });
}

function endpointOf(pod: Pod, service: Service, { registry }: Context): Endpoint {
  const { namespace = '', name = '', uid = '' } = pod.metadata;
  const serving = isReady(pod);
  const terminating = Boolean(pod.metadata.deletionTimestamp);
  const hostname = hostnameOf(pod, service);
  const { nodeName } = pod.spec;
  const zoneName = nodeName && registry.find(nodes, '', nodeName)?.metadata.labels?.[zone];
  return {
    addresses: [podIP(pod)],
    conditions: { ready: service.spec.publishNotReadyAddresses === true || (serving && !terminating), serving, terminating },
    ...(hostname ? { hostname } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
    ...(nodeName ? { nodeName } : {}),
    ...(zoneName ? { zone: zoneName } : {}),
  };
}
