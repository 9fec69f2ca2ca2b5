import { isIP } from 'node:net';
import { endpoints } from '../../shared/kinds/endpoints.ts';
import { endpointSlices } from '../../shared/kinds/endpointslice.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { services } from '../../shared/kinds/service.ts';
import { keyOf } from '../../shared/meta.ts';
import type { KindChange } from '../registry/types.ts';
import { defineController, some, type Context } from './controller.ts';
import { skipMirrorLabel } from './endpointslice-mirroring.ts';
import { ensure } from './ensure.ts';
import { isActive } from './serviceaccount.ts';
import { serviceNameLabel } from './slices.ts';

const namespace = 'default';
const name = 'kubernetes';
const key = `${namespace}/${name}`;
const own = (change: KindChange): string[] => (keyOf(change.object) === key ? [key] : []);

/** Keeps the service default/kubernetes and its endpoint: how pods reach the API. */
export const kubernetesService = defineController({
  name: 'kubernetes-service',
  watches: [
    { kind: some(services), keys: own }, { kind: some(endpoints), keys: own }, { kind: some(endpointSlices), keys: own },
    { kind: some(namespaces), keys: (change) => (change.name === namespace && change.type === 'ADDED' ? [key] : []) },
  ],
  initialKeys: () => [key],
  async reconcile(_key, context) {
    const { registry, settings } = context;
    if (!isActive(namespace, context)) return;
    await ensure(registry, services, namespace, name, (current) => (current ? undefined : serviceDocument(settings.kubernetesServiceIP, settings.apiServerPort)));
    // Endpoints may not be loopback addresses; a master that listens on one alone serves no pods.
    if (isIP(settings.apiServerAddress) !== 4 || settings.apiServerAddress.startsWith('127.')) return;
    await ensureEndpoints(context);
  },
});

const serviceDocument = (clusterIP: string, targetPort: number): unknown => ({
  metadata: { name, labels: { component: 'apiserver', provider: 'kubernetes' } },
  spec: { type: 'ClusterIP', clusterIP, sessionAffinity: 'None', ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort }] },
});

async function ensureEndpoints({ registry, settings }: Context): Promise<void> {
  const ports = [{ name: 'https', port: settings.apiServerPort, protocol: 'TCP' }];
  await ensure(registry, endpoints, namespace, name, (current) => ({
    ...current,
    metadata: { ...(current?.metadata ?? { name }), labels: { ...current?.metadata.labels, [skipMirrorLabel]: 'true' } },
    subsets: [{ addresses: [{ ip: settings.apiServerAddress }], ports }],
  }));
  await ensure(registry, endpointSlices, namespace, name, (current) => ({
    ...current,
    metadata: { ...(current?.metadata ?? { name }), labels: { ...current?.metadata.labels, [serviceNameLabel]: name } },
    addressType: 'IPv4', ports,
    endpoints: [{ addresses: [settings.apiServerAddress], conditions: { ready: true } }],
  }));
}
