import { endpoints, type EndpointAddress, type Endpoints, type EndpointSubset } from '../../shared/kinds/endpoints.ts';
import { endpointSlices, type Endpoint } from '../../shared/kinds/endpointslice.ts';
import { services } from '../../shared/kinds/service.ts';
import { keyOf, splitKey } from '../../shared/meta.ts';
import { defineController, some } from './controller.ts';
import { portsKey, type PortGroup } from './slice-packing.ts';
import { managedByLabel, serviceNameLabel, writeSlices } from './slices.ts';

const manager = 'endpointslicemirroring-controller.k8s.io';
export const skipMirrorLabel = 'endpointslice.kubernetes.io/skip-mirror';

/** Copies the Endpoints that users keep for services without a selector into EndpointSlices. */
export const endpointSliceMirroring = defineController({
  name: 'endpointslice-mirroring', for: some(endpoints), owns: [some(endpointSlices)],
  watches: [{ kind: some(services), keys: (change) => [keyOf(change.object)] }],
  async reconcile(key, context) {
    const { namespace, name } = splitKey(key);
    const source = context.registry.find(endpoints, namespace, name);
    if (!source || source.metadata.deletionTimestamp) return;
    const service = context.registry.find(services, namespace, name);
    const mirrored = service && Object.keys(service.spec.selector ?? {}).length === 0 && source.metadata.labels?.[skipMirrorLabel] !== 'true';
    if (!mirrored && !hasSlices(source, context.indexes.dependents(source.metadata.uid ?? ''))) return;
    const labels = { ...source.metadata.labels, [serviceNameLabel]: name, [managedByLabel]: manager };
    await writeSlices({ object: source, manager, labels }, mirrored ? groupsOf(source.subsets ?? []) : [], context);
  },
});

const hasSlices = (source: Endpoints, dependents: Iterable<string>): boolean =>
  [...dependents].some((key) => key.startsWith(`${endpointSlices.prefix}${source.metadata.namespace}/`));

function groupsOf(subsets: readonly EndpointSubset[]): PortGroup[] {
  const groups = new Map<string, { ports: PortGroup['ports']; endpoints: Endpoint[] }>();
  for (const { addresses = [], notReadyAddresses = [], ports = [] } of subsets) {
    const named = ports.map((port) => ({ ...port, name: port.name ?? '' }));
    const key = portsKey(named);
    let group = groups.get(key);
    if (!group) groups.set(key, group = { ports: named, endpoints: [] });
    group.endpoints.push(...addresses.map((address) => endpointOf(address, true)), ...notReadyAddresses.map((address) => endpointOf(address, false)));
  }
  return [...groups.values()];
}

const endpointOf = ({ ip, hostname, nodeName, targetRef }: EndpointAddress, ready: boolean): Endpoint => ({
  addresses: [ip], conditions: { ready },
  ...(hostname ? { hostname } : {}), ...(targetRef ? { targetRef } : {}), ...(nodeName ? { nodeName } : {}),
});
