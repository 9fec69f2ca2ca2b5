import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { services, type Service } from '../../../shared/kinds/service.ts';
import type { StatusError } from '../../../shared/status.ts';
import { parseRange, ipNumber, ipText } from '../../../master/registry/ipam-range.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import { Cluster } from '../controllers/cluster.ts';

const test = suite('ipam');

const serviceDocument = (name: string, spec: Record<string, unknown> = {}): unknown => ({ metadata: { name }, spec: { ports: [{ port: 80 }], selector: { app: name }, ...spec } });
const make = (cluster: Cluster, name: string, spec: Record<string, unknown> = {}): Promise<Service> => cluster.create(services, 'default', serviceDocument(name, spec));
const change = async (cluster: Cluster, name: string, spec: Record<string, unknown>): Promise<Service> =>
  (await cluster.registry.modify(services, 'default', name, (service) => ({ ...service, spec: { ...service.spec, ...spec } }))).object;

async function refusal(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    return `${(error as StatusError).code} ${(error as StatusError).message}`;
  }
  return 'no refusal';
}

test('reads ranges', () => {
  assert.equal(parseRange('10.96.0.0/16'), { first: 10 * 2 ** 24 + 96 * 2 ** 16, size: 65_536, text: '10.96.0.0/16' });
  assert.is(ipText(ipNumber('192.168.255.1')!), '192.168.255.1');
  for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0/8', 'fd00::/64', '10.0.0.256/8']) assert.throws(() => parseRange(text), /not an IPv4 range/);
});

test('gives every service an address of its own', async () => {
  const cluster = new Cluster();
  const made = await Promise.all(Array.from({ length: 200 }, (_, index) => make(cluster, `s${index}`)));
  const ips = made.map((service) => service.spec.clusterIP);
  assert.is(new Set(ips).size, 200);
  for (const ip of ips) assert.match(ip!, /^10\.96\.\d+\.\d+$/);
  assert.equal(made[0]!.spec.clusterIPs, [made[0]!.spec.clusterIP]);
});

test('takes the address asked for, unless it is taken or not in range', async () => {
  const cluster = new Cluster();
  assert.is((await make(cluster, 'a', { clusterIP: '10.96.0.10' })).spec.clusterIP, '10.96.0.10');
  assert.is(await refusal(make(cluster, 'b', { clusterIP: '10.96.0.10' })),
    '422 Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated');
  assert.is(await refusal(make(cluster, 'b', { clusterIP: '1.2.3.4' })),
    '422 Service "b" is invalid: spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: the provided IP (1.2.3.4) is not in the valid range. The range of valid IPs is 10.96.0.0/16');
  await cluster.registry.delete(services, 'default', 'a');
  assert.is((await make(cluster, 'b', { clusterIP: '10.96.0.10' })).spec.clusterIP, '10.96.0.10');
});

test('headless and external services have none', async () => {
  const cluster = new Cluster();
  const headless = await make(cluster, 'headless', { clusterIP: 'None' });
  assert.equal([headless.spec.clusterIP, headless.spec.clusterIPs], ['None', ['None']]);
  assert.is((await make(cluster, 'external', { type: 'ExternalName', externalName: 'example.com' })).spec.clusterIP, undefined);
});

test('addresses of families that the cluster does not have are refused', async () => {
  const cluster = new Cluster();
  assert.is(await refusal(make(cluster, 'a', { ipFamilies: ['IPv6'] })), '422 Service "a" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster');
  assert.is(await refusal(make(cluster, 'a', { ipFamilyPolicy: 'RequireDualStack' })),
    '422 Service "a" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services');
  assert.equal((await make(cluster, 'a', { ipFamilyPolicy: 'PreferDualStack' })).spec.ipFamilies, ['IPv4']);
  assert.match(await refusal(change(cluster, 'a', { ipFamilies: ['IPv6'] })), /not configured on this cluster/);
  assert.equal((await make(cluster, 'free', { clusterIP: 'None', selector: {}, ipFamilies: ['IPv6'] })).spec.ipFamilies, ['IPv6'], 'whose endpoints somebody else keeps');
});

test('keeps addresses and ports over updates and frees them with the type', async () => {
  const cluster = new Cluster();
  const before = await make(cluster, 'a', { type: 'NodePort' });
  const nodePort = before.spec.ports![0]!.nodePort!;
  assert.ok(nodePort >= 30_000 && nodePort <= 32_767);
  const after = await change(cluster, 'a', { ports: [{ port: 80, protocol: 'TCP', targetPort: 8080, nodePort }, { port: 81, name: 'x' }].map((port, index) => ({ name: `p${index}`, ...port })) });
  assert.is(after.spec.clusterIP, before.spec.clusterIP);
  assert.is(after.spec.ports![0]!.nodePort, nodePort);
  assert.ok(after.spec.ports![1]!.nodePort);
  await cluster.registry.delete(services, 'default', 'a');
  assert.is((await make(cluster, 'b', { type: 'NodePort', ports: [{ port: 80, nodePort }] })).spec.ports![0]!.nodePort, nodePort);
});

test('refuses node ports that are taken or not in range', async () => {
  const cluster = new Cluster();
  await make(cluster, 'a', { type: 'NodePort', ports: [{ port: 80, nodePort: 30_001 }] });
  assert.is(await refusal(make(cluster, 'b', { type: 'NodePort', ports: [{ port: 80, nodePort: 30_001 }] })),
    '422 Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated');
  assert.is(await refusal(make(cluster, 'b', { type: 'NodePort', ports: [{ port: 80, nodePort: 80 }] })),
    '422 Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767');
});

test('one port under two protocols shares its node port', async () => {
  const cluster = new Cluster();
  const { spec } = await make(cluster, 'dns', { type: 'NodePort', ports: [{ name: 'udp', port: 53, protocol: 'UDP' }, { name: 'tcp', port: 53, protocol: 'TCP' }] });
  assert.is(spec.ports![0]!.nodePort, spec.ports![1]!.nodePort);
});

test('picks again when another writer takes the same values at the same time', async () => {
  // Two registries know nothing of each other's picks, and look for free values in the same place.
  const store = openMemoryStore();
  const [one, two] = [new Cluster({ store, random: () => 0 }), new Cluster({ store, random: () => 0 })];
  const made = await Promise.all([one, two, one, two].map((cluster, index) => make(cluster, `s${index}`, { type: 'NodePort' })));
  assert.is(new Set(made.map((service) => service.spec.clusterIP)).size, 4);
  assert.is(new Set(made.map((service) => service.spec.ports![0]!.nodePort)).size, 4);
  for (const service of made) assert.equal(one.registry.find(services, 'default', service.metadata.name!), service);
});

test('a value asked for by name is not replaced by another', async () => {
  const store = openMemoryStore();
  const [one, two] = [new Cluster({ store }), new Cluster({ store })];
  const answers = await Promise.all([one, two].map((cluster, index) => refusal(make(cluster, `s${index}`, { clusterIP: '10.96.0.10' }))));
  assert.equal(answers.sort(), [
    '422 Service "s1" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated',
    'no refusal',
  ]);
});

test('a replacement that leaves assigned values out keeps them, through changes of type', async () => {
  const cluster = new Cluster();
  const replace = async (spec: Record<string, unknown>): Promise<Service> => (await cluster.registry.update(services, 'default', 'a', serviceDocument('a', spec))).object;
  const { clusterIP } = (await make(cluster, 'a')).spec;
  const nodePort = (await replace({ type: 'NodePort' })).spec.ports![0]!.nodePort;
  assert.ok(nodePort);
  const balanced = await replace({ type: 'LoadBalancer', selector: { app: 'other' } });
  assert.equal([balanced.spec.clusterIP, balanced.spec.ports![0]!.nodePort], [clusterIP, nodePort]);
  const internal = await change(cluster, 'a', { type: 'ClusterIP' });
  assert.equal([internal.spec.clusterIP, internal.spec.ports![0]!.nodePort], [clusterIP, undefined]);
  assert.is((await make(cluster, 'b', { type: 'NodePort', ports: [{ port: 80, nodePort }] })).spec.ports![0]!.nodePort, nodePort, 'the node port is free');
  const external = await change(cluster, 'a', { type: 'ExternalName', externalName: 'example.com' });
  assert.equal([external.spec.clusterIP, external.spec.clusterIPs], [undefined, undefined]);
  assert.is((await make(cluster, 'c', { clusterIP })).spec.clusterIP, clusterIP, 'the address is free');
});

test.run();
