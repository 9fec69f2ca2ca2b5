import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endpoints } from '../../../shared/kinds/endpoints.ts';
import { endpointSlices, type EndpointSlice } from '../../../shared/kinds/endpointslice.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { services } from '../../../shared/kinds/service.ts';
import { endpointSlice } from '../../../master/controllers/endpointslice.ts';
import { endpointSliceMirroring } from '../../../master/controllers/endpointslice-mirroring.ts';
import { endpointsController } from '../../../master/controllers/endpoints.ts';
import { kubernetesService } from '../../../master/controllers/kubernetes-service.ts';
import { Cluster, podDocument, ready } from './cluster.ts';

const test = suite('endpoints');

async function withCluster(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster();
  await cluster.create(namespaces, '', { metadata: { name: 'default' } });
  await cluster.start([endpointsController, endpointSlice, endpointSliceMirroring, kubernetesService]);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

const serviceDocument = (name: string, spec: Record<string, unknown> = {}): unknown =>
  ({ metadata: { name, labels: { team: 'x' } }, spec: { selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 'http' }], ...spec } });
const container = (port: number): Record<string, unknown> => ({ containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: port }] }] });

async function addPod(cluster: Cluster, name: string, ip: string, port = 8080, extra: Record<string, unknown> = {}): Promise<void> {
  const pod = await cluster.create(pods, 'default', podDocument(name, { ...container(port), nodeName: 'n1', ...extra }, { labels: { app: 'web' } }));
  await cluster.report(pod, ready(ip));
}

const subsets = (cluster: Cluster) => cluster.registry.find(endpoints, 'default', 'web')?.subsets;
const slices = (cluster: Cluster, service = 'web'): EndpointSlice[] =>
  cluster.registry.all(endpointSlices, 'default').filter((slice) => slice.metadata.labels?.['kubernetes.io/service-name'] === service);
const addresses = (cluster: Cluster): string[] => slices(cluster).flatMap((slice) => slice.endpoints.flatMap((endpoint) => endpoint.addresses)).sort();

test('lists ready and unready pods with the port that each of them names', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', serviceDocument('web'));
  await addPod(cluster, 'a', '10.0.0.1');
  await addPod(cluster, 'b', '10.0.0.2', 9090);
  const unready = await cluster.create(pods, 'default', podDocument('c', { ...container(8080), nodeName: 'n1' }, { labels: { app: 'web' } }));
  await cluster.report(unready, { ...ready('10.0.0.3'), conditions: [] });
  const found = await cluster.until(() => subsets(cluster)?.length === 2 && subsets(cluster)?.[0]?.notReadyAddresses && subsets(cluster));
  assert.equal(found.map(({ addresses, notReadyAddresses, ports }) => [addresses?.map(({ ip }) => ip), notReadyAddresses?.map(({ ip }) => ip), ports]), [
    [['10.0.0.1'], ['10.0.0.3'], [{ name: 'http', port: 8080, protocol: 'TCP' }]],
    [['10.0.0.2'], undefined, [{ name: 'http', port: 9090, protocol: 'TCP' }]],
  ]);
  const [first] = found[0]!.addresses!;
  assert.equal([first!.nodeName, first!.targetRef?.kind, first!.targetRef?.name], ['n1', 'Pod', 'a']);
  await cluster.until(() => addresses(cluster).length === 3);
  const slice = slices(cluster).find(({ ports }) => ports?.[0]?.port === 8080)!;
  assert.equal(slice.endpoints.map(({ addresses, conditions }) => [addresses[0], conditions]).sort(), [
    ['10.0.0.1', { ready: true, serving: true, terminating: false }], ['10.0.0.3', { ready: false, serving: false, terminating: false }],
  ]);
  assert.equal(slice.metadata.labels, { team: 'x', 'kubernetes.io/service-name': 'web', 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' });
  assert.is(slice.metadata.ownerReferences?.[0]?.kind, 'Service');
  assert.is(slice.addressType, 'IPv4');
}));

test('an ending pod leaves the Endpoints and is terminating in the slice', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', serviceDocument('web'));
  await addPod(cluster, 'a', '10.0.0.1');
  await cluster.until(() => subsets(cluster)?.[0]?.addresses && addresses(cluster).length === 1);
  await cluster.registry.delete(pods, 'default', 'a');
  await cluster.until(() => cluster.registry.get(endpoints, 'default', 'web').object.subsets === undefined);
  const [endpoint] = await cluster.until(() => slices(cluster)[0]?.endpoints[0]?.conditions.terminating && slices(cluster)[0]!.endpoints);
  assert.equal(endpoint!.conditions, { ready: false, serving: true, terminating: true });
}));

test('without pods one empty slice says so', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', serviceDocument('web'));
  const [slice] = await cluster.until(() => slices(cluster).length === 1 && slices(cluster));
  assert.equal([slice!.endpoints, slice!.ports], [[], undefined]);
  assert.is(cluster.registry.get(endpoints, 'default', 'web').object.subsets, undefined);
}));

test('packs a hundred endpoints per slice and moves few', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', serviceDocument('web'));
  await Promise.all(Array.from({ length: 150 }, (_, index) => addPod(cluster, `p${index}`, `10.0.1.${index}`)));
  await cluster.until(() => addresses(cluster).length === 150);
  assert.ok(slices(cluster).every(({ endpoints }) => endpoints.length <= 100));
  const before = new Map(slices(cluster).map((slice) => [slice.metadata.name, slice.metadata.resourceVersion]));
  await cluster.registry.delete(pods, 'default', 'p7', { gracePeriodSeconds: 0 });
  await cluster.until(() => addresses(cluster).length === 149);
  const rewritten = slices(cluster).filter((slice) => before.get(slice.metadata.name) !== slice.metadata.resourceVersion);
  assert.is(rewritten.length, 1);
}));

test('headless services without ports, hostnames and unready addresses', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', { metadata: { name: 'web' }, spec: { selector: { app: 'web' }, clusterIP: 'None', publishNotReadyAddresses: true } });
  const pod = await cluster.create(pods, 'default', podDocument('a', { hostname: 'zero', subdomain: 'web' }, { labels: { app: 'web' } }));
  await cluster.report(pod, { phase: 'Running', podIP: '10.0.0.1', conditions: [] });
  const [subset] = await cluster.until(() => subsets(cluster)?.length === 1 && subsets(cluster)!);
  assert.equal([subset!.addresses?.[0]?.hostname, subset!.ports, subset!.notReadyAddresses], ['zero', undefined, undefined]);
  assert.is(cluster.registry.get(endpoints, 'default', 'web').object.metadata.labels?.['service.kubernetes.io/headless'], '');
  const [endpoint] = await cluster.until(() => slices(cluster)[0]?.endpoints.length === 1 && slices(cluster)[0]!.endpoints);
  assert.equal([endpoint!.hostname, endpoint!.conditions], ['zero', { ready: true, serving: false, terminating: false }]);
}));

test('Endpoints go with their service', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', serviceDocument('web'));
  await cluster.until(() => cluster.registry.find(endpoints, 'default', 'web'));
  await cluster.registry.delete(services, 'default', 'web');
  await cluster.until(() => !cluster.registry.find(endpoints, 'default', 'web'));
}));

test('mirrors the Endpoints of services without a selector', () => withCluster(async (cluster) => {
  await cluster.create(services, 'default', { metadata: { name: 'db' }, spec: { ports: [{ port: 5432 }] } });
  await cluster.create(endpoints, 'default', { metadata: { name: 'db' }, subsets: [{ addresses: [{ ip: '192.0.2.1' }], ports: [{ port: 5432 }] }] });
  const [slice] = await cluster.until(() => slices(cluster, 'db').length === 1 && slices(cluster, 'db'));
  assert.equal([slice!.endpoints[0]?.addresses, slice!.ports?.[0]?.port], [['192.0.2.1'], 5432]);
  assert.is(slice!.metadata.labels?.['endpointslice.kubernetes.io/managed-by'], 'endpointslicemirroring-controller.k8s.io');
}));

test('keeps default/kubernetes and its endpoint', () => withCluster(async (cluster) => {
  const service = await cluster.until(() => cluster.registry.find(services, 'default', 'kubernetes'));
  assert.equal([service.spec.clusterIP, service.spec.ports?.[0]?.port, service.spec.ports?.[0]?.targetPort], ['10.96.0.1', 443, 6443]);
  const found = await cluster.until(() => cluster.registry.find(endpoints, 'default', 'kubernetes'));
  assert.equal(found.subsets, [{ addresses: [{ ip: '192.168.7.1' }], ports: [{ name: 'https', port: 6443, protocol: 'TCP' }] }]);
  await cluster.until(() => slices(cluster, 'kubernetes').length === 1);
  await cluster.registry.delete(services, 'default', 'kubernetes');
  await cluster.until(() => cluster.registry.find(services, 'default', 'kubernetes'));
  await cluster.settle();
  assert.is(slices(cluster, 'kubernetes').length, 1);
}));

test.run();
