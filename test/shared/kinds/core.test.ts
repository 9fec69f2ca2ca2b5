import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { endpoints } from '../../../shared/kinds/endpoints.ts';
import { endpointSlices } from '../../../shared/kinds/endpointslice.ts';
import { events } from '../../../shared/kinds/event.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { leases } from '../../../shared/kinds/lease.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { replicationControllers } from '../../../shared/kinds/replicationcontroller.ts';
import { secrets } from '../../../shared/kinds/secret.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { services } from '../../../shared/kinds/service.ts';
import { nodeOf, type Node } from '../../../shared/schema.ts';
import { cells, changed, made } from '../kind-cases.ts';

const test = suite('core kinds');
const now = Date.parse('2026-01-02T03:10:00Z');
const metadata = { name: 'a', creationTimestamp: '2026-01-02T03:00:00Z' };

/** Paths of fields without a description. */
function undescribed(node: Node, path: string, seen = new Set<Node>()): string[] {
  if (seen.has(node)) return [];
  seen.add(node);
  if (node.item) return undescribed(node.item, `${path}[]`, seen);
  return [...node.fields].flatMap(([name, field]) => [...(field.description ? [] : [`${path}.${name}`]), ...undescribed(field, `${path}.${name}`, seen)]);
}

test('every kind has its own route and describes its fields', () => {
  for (const kind of kinds) assert.equal(undescribed(nodeOf(kind.schema), kind.kind), []);
  const routes = kinds.map((kind) => `${kind.apiVersion}/${kind.plural}`);
  assert.is(new Set(routes).size, routes.length);
  for (const kind of kinds) assert.is(kind.columns.some((column) => column.name === 'Name'), true, kind.kind);
});

test('namespaces', () => {
  const { object } = made(namespaces, { metadata });
  assert.equal(object.spec, { finalizers: ['kubernetes'] });
  assert.equal(object.metadata.labels, { 'kubernetes.io/metadata.name': 'a' });
  assert.equal(cells(namespaces, object, now), { Name: 'a', Status: 'Active', Age: '10m' });
  assert.equal(changed(namespaces, object, { metadata, spec: { finalizers: [] } }).object.spec, object.spec);
});

test('nodes', () => {
  const { object } = made(nodes, {
    metadata: { ...metadata, labels: { 'node-role.kubernetes.io/edge': '', 'kubernetes.io/role': 'worker' } },
    spec: { unschedulable: true, podCIDR: '10.1.0.0/24' },
    status: {
      capacity: { cpu: '4' }, conditions: [{ type: 'Ready', status: 'True' }], addresses: [{ type: 'InternalIP', address: '10.0.0.5' }],
      nodeInfo: { kubeletVersion: 'v1.32.0', osImage: 'Debian', kernelVersion: '6.1', containerRuntimeVersion: 'docker://27' },
    },
  });
  assert.equal(object.status.allocatable, { cpu: '4' });
  assert.equal(object.spec.podCIDRs, ['10.1.0.0/24']);
  assert.equal(cells(nodes, object, now), {
    Name: 'a', Status: 'Ready,SchedulingDisabled', Roles: 'edge,worker', Age: '10m', Version: 'v1.32.0', 'Internal-IP': '10.0.0.5', 'External-IP': '<none>',
    'OS-Image': 'Debian', 'Kernel-Version': '6.1', 'Container-Runtime': 'docker://27',
  });
  assert.equal(made(nodes, { metadata, spec: { taints: [{ key: 'k', effect: 'Nope' }] } }).errors, ['spec.taints[0].effect: Unsupported value: "Nope": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"']);
  assert.equal(changed(nodes, object, { metadata, spec: { podCIDRs: ['10.2.0.0/24'] } }).errors, ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']);
  assert.is(cells(nodes, made(nodes, { metadata }).object, now)['Status'], 'Unknown');
});

test('services: defaults', () => {
  const { object, errors } = made(services, { metadata, spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } });
  assert.equal(errors, []);
  assert.equal(object.spec, {
    selector: { app: 'web' }, ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }], type: 'ClusterIP', sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster', ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'],
  });
  const sticky = made(services, { metadata, spec: { type: 'LoadBalancer', sessionAffinity: 'ClientIP', ports: [{ port: 80 }] } }).object.spec;
  assert.equal([sticky.sessionAffinityConfig, sticky.externalTrafficPolicy, sticky.allocateLoadBalancerNodePorts], [{ clientIP: { timeoutSeconds: 10800 } }, 'Cluster', true]);
});

const wrongServices: readonly [what: string, spec: unknown, errors: string[]][] = [
  ['no ports', {}, ['spec.ports: Required value']],
  ['headless without ports', { clusterIP: 'None' }, []],
  ['unnamed ports', { ports: [{ port: 80 }, { port: 81, name: 'b' }] }, ['spec.ports[0].name: Required value']],
  ['port range', { ports: [{ port: 0 }] }, ['spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive', 'spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive']],
  ['same port twice', { ports: [{ name: 'a', port: 80 }, { name: 'b', port: 80 }] }, ['spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}']],
  ['node port of a cluster service', { ports: [{ port: 80, nodePort: 30000 }] }, ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]],
  ['type', { type: 'X', ports: [{ port: 80 }] }, ['spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']],
  ['external addresses', { externalIPs: ['192.0.2.1', 'x', '127.0.0.1', '0.0.0.0'], ports: [{ port: 80 }] }, [
    'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    'spec.externalIPs[2]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    'spec.externalIPs[3]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0 or ::)',
  ]],
  ['source ranges', { type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0/8', '10.0.0.1'], ports: [{ port: 80 }] }, [
    'spec.LoadBalancerSourceRanges: Invalid value: "[10.0.0.0/8 10.0.0.1]": must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 ',
  ]],
  ['source ranges without a balancer', { loadBalancerSourceRanges: ['10.0.0.0/8', 'fd00::/8'], ports: [{ port: 80 }] }, ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"]],
  ['no external name', { type: 'ExternalName' }, ['spec.externalName: Required value']],
  ['address', { clusterIP: 'x', ports: [{ port: 80 }] }, ['spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']],
];
for (const [what, spec, errors] of wrongServices) test(`services: ${what}`, () => assert.equal(made(services, { metadata, spec }).errors, errors));

test('services: what has no effect is told', () => {
  const told = (spec: object): string[] | undefined => services.warnings?.(made(services, { metadata, spec: { ports: [{ port: 80 }], ...spec } }).object, undefined);
  assert.equal(told({}), []);
  assert.equal(told({ clusterIP: 'None', sessionAffinity: 'ClientIP', externalIPs: ['192.0.2.1'] }), ['spec.externalIPs is ignored for headless services', 'spec.SessionAffinity is ignored for headless services']);
  assert.equal(told({ externalName: 'a.b' }), ['spec.externalName is ignored when spec.type is not "ExternalName"']);
  assert.equal(told({ type: 'ExternalName', externalName: 'a.b', externalIPs: ['192.0.2.1'] }), ['spec.externalIPs is ignored when spec.type is "ExternalName"']);
});

test('services: changes', () => {
  const old = made(services, { metadata, spec: { type: 'NodePort', clusterIP: '10.96.0.5', ports: [{ port: 80, nodePort: 30080 }] } }).object;
  const kept = changed(services, old, { metadata, spec: { type: 'NodePort', ports: [{ port: 80 }] } });
  assert.equal(kept.errors, []);
  assert.equal([kept.object.spec.clusterIPs, kept.object.spec.ports?.[0]?.nodePort], [['10.96.0.5'], 30080]);
  assert.equal(changed(services, old, { metadata, spec: { type: 'NodePort', clusterIP: '10.96.0.6', ports: [{ port: 80 }] } }).errors, ['spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set']);
  assert.equal(changed(services, old, { metadata, spec: { ...old.spec, clusterIP: '10.96.0.6' } }).errors, ['spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set'], 'as a patch of the one field leaves it');
  const external = changed(services, old, { metadata, spec: { ...old.spec, type: 'ExternalName', externalName: 'example.com' } });
  assert.equal(external.errors, []);
  assert.is(external.object.spec.clusterIP, undefined);
  const internal = changed(services, old, { metadata, spec: { ...old.spec, type: 'ClusterIP' } });
  assert.equal([internal.errors, internal.object.spec.ports?.[0]?.nodePort, internal.object.spec.externalTrafficPolicy], [[], undefined, undefined]);
});

test('services: a node port that moves to another port is not kept by the first', () => {
  const ports = [{ name: 'a', port: 80, nodePort: 30080 }, { name: 'b', port: 81, nodePort: 30081 }];
  const old = made(services, { metadata, spec: { type: 'NodePort', clusterIP: '10.96.0.5', ports } }).object;
  const moved = changed(services, old, { metadata, spec: { type: 'NodePort', ports: [{ name: 'a', port: 80 }, { name: 'b', port: 81, nodePort: 30080 }] } });
  assert.equal([moved.errors, moved.object.spec.ports?.map(({ nodePort }) => nodePort)], [[], [undefined, 30080]]);
});

test('services: what only a load balancer has goes with it', () => {
  const old = made(services, { metadata, spec: { type: 'LoadBalancer', clusterIP: '10.96.0.5', loadBalancerClass: 'example.com/x', ports: [{ port: 80, nodePort: 30080 }] } }).object;
  const { errors, object } = changed(services, old, { metadata, spec: { ...old.spec, type: 'NodePort' } });
  assert.equal([errors, object.spec.loadBalancerClass, object.spec.allocateLoadBalancerNodePorts, object.spec.ports?.[0]?.nodePort], [[], undefined, undefined, 30080]);
});

test('services: columns', () => {
  const { object } = made(services, { metadata, spec: { type: 'LoadBalancer', clusterIP: '10.96.0.5', selector: { b: '2', a: '1' }, ports: [{ name: 'a', port: 80, nodePort: 30080 }, { name: 'b', port: 53, protocol: 'UDP' }] } });
  assert.equal(cells(services, object, now), { Name: 'a', Type: 'LoadBalancer', 'Cluster-IP': '10.96.0.5', 'External-IP': '<pending>', 'Port(s)': '80:30080/TCP,53/UDP', Age: '10m', Selector: 'a=1,b=2' });
});

test('replication controllers', () => {
  const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'a', image: 'x:1' }, { name: 'b', image: 'y:2' }] } };
  const { object, errors } = made(replicationControllers, { metadata, spec: { template } });
  assert.equal(errors, []);
  assert.equal([object.spec.replicas, object.spec.selector, object.metadata.labels], [1, { app: 'web' }, { app: 'web' }]);
  assert.equal(cells(replicationControllers, object, now), { Name: 'a', Desired: 1, Current: 0, Ready: 0, Age: '10m', Containers: 'a,b', Images: 'x:1,y:2', Selector: 'app=web' });
  assert.is(replicationControllers.scale?.selector(object), 'app=web');
  assert.equal(made(replicationControllers, { metadata, spec: { selector: { app: 'db' }, template } }).errors, [
    'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
  ]);
  assert.equal(made(replicationControllers, { metadata, spec: { replicas: -1 } }).errors, [
    'spec.replicas: Invalid value: -1: must be greater than or equal to 0', 'spec.selector: Required value', 'spec.template: Required value',
  ]);
  assert.equal(made(replicationControllers, { metadata, spec: { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } } }).errors, [
    'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
  ]);
});

test('config maps and secrets', () => {
  const frozen = made(configMaps, { metadata, data: { a: 'x' }, immutable: true }).object;
  assert.equal(changed(configMaps, frozen, { metadata, data: { a: 'y' }, immutable: true }).errors, ['data: Forbidden: field is immutable when `immutable` is set']);
  assert.equal(changed(configMaps, frozen, { metadata, data: { a: 'x' } }).errors, ['immutable: Forbidden: field is immutable when `immutable` is set']);
  assert.match(made(configMaps, { metadata, data: { 'a/b': 'x' } }).errors[0]!, /^data\[a\/b\]: Invalid value: "a\/b": a valid config key must consist of/);
  assert.equal(made(configMaps, { metadata, data: { a: 'x'.repeat(2 ** 20 + 1) } }).errors, [': Too long: may not be more than 1048576 bytes']);
  assert.equal(cells(configMaps, frozen, now), { Name: 'a', Data: 1, Age: '10m' });

  const secret = made(secrets, { metadata, data: { a: 'AAAA', b: 'aGk=' }, stringData: { a: 'hi' } }).object;
  assert.equal([secret.type, secret.data, secret.stringData], ['Opaque', { a: 'aGk=', b: 'aGk=' }, undefined]);
  assert.equal(changed(secrets, secret, { metadata, type: 'kubernetes.io/basic-auth', data: { username: 'aGk=' } }).errors, ['type: Invalid value: "kubernetes.io/basic-auth": field is immutable']);
  assert.equal(made(secrets, { metadata, type: 'kubernetes.io/tls', data: { 'tls.crt': '' } }).errors, ['data[tls.key]: Required value']);
  assert.equal(cells(secrets, secret, now), { Name: 'a', Type: 'Opaque', Data: 2, Age: '10m' });
});

test('endpoints and slices', () => {
  const addresses = ['10.0.0.1', '10.0.0.2'].map((ip) => ({ ip }));
  const many = made(endpoints, { metadata, subsets: [{ addresses, ports: [{ name: 'a', port: 80 }, { name: 'b', port: 81 }] }, { addresses: [{ ip: 'fd00::1' }], ports: [{ port: 80 }] }] }).object;
  assert.is(cells(endpoints, many, now)['Endpoints'], '10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 2 more...');
  assert.is(cells(endpoints, made(endpoints, { metadata }).object, now)['Endpoints'], '<none>');
  assert.equal(made(endpoints, { metadata, subsets: [{}] }).errors, ['subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`']);
  assert.equal(made(endpoints, { metadata, subsets: [{ addresses: [{ ip: '127.0.0.1' }] }] }).errors, ['subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)']);

  const slice = made(endpointSlices, { metadata, addressType: 'IPv4', ports: [{ port: 80 }], endpoints: ['1', '2', '3', '4'].map((n) => ({ addresses: [`10.0.0.${n}`] })) }).object;
  assert.equal(cells(endpointSlices, slice, now), { Name: 'a', AddressType: 'IPv4', Ports: '80', Endpoints: '10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...', Age: '10m' });
  assert.equal(changed(endpointSlices, slice, { metadata, addressType: 'FQDN' }).errors, ['addressType: Invalid value: "FQDN": field is immutable']);
});

test('events', () => {
  const core = made(events, {
    metadata: { ...metadata, namespace: 'default' }, involvedObject: { kind: 'Pod', name: 'p', namespace: 'default', fieldPath: 'spec.containers{web}' }, reason: 'Started', message: 'Started it\n', type: 'Normal',
    source: { component: 'agent', host: 'n1' }, firstTimestamp: '2026-01-02T03:00:00Z', lastTimestamp: '2026-01-02T03:08:00Z', count: 3,
  });
  assert.equal(core.errors, []);
  const row = { 'Last Seen': '2m', Type: 'Normal', Reason: 'Started', Object: 'pod/p', Subobject: 'spec.containers{web}', Source: 'agent, n1', Message: 'Started it', 'First Seen': '10m', Count: 3, Name: 'a' };
  assert.equal(cells(events, core.object, now), row);
  assert.equal(made(events, { metadata: { ...metadata, namespace: 'default' }, involvedObject: { namespace: 'other' } }).errors, ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']);
});

test('leases and service accounts', () => {
  const lease = made(leases, { metadata, spec: { holderIdentity: 'n1', leaseDurationSeconds: 40 } }).object;
  assert.equal(cells(leases, lease, now), { Name: 'a', Holder: 'n1', Age: '10m' });
  assert.equal(made(leases, { metadata, spec: { leaseDurationSeconds: 0 } }).errors, ['spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0']);
  assert.equal(cells(serviceAccounts, made(serviceAccounts, { metadata, secrets: [{ name: 's' }] }).object, now), { Name: 'a', Secrets: 1, Age: '10m' });
});

test.run();
