import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listenerKey, planRoutes } from '../../../agent/net/routes.ts';
import type { Listener } from '../../../agent/net/routes.ts';
import type { EndpointsItem, Item, ServiceItem } from '../../../shared/protocol.ts';

const test = suite('routes');
const node = { nodeName: 'edge-1', nodeAddresses: ['192.168.1.5'] };

type Port = ServiceItem['ports'][number];
type Endpoint = EndpointsItem['endpoints'][number];

function service(over: Partial<ServiceItem> = {}): ServiceItem {
  return {
    type: 'service', revision: 1, namespace: 'default', name: 'web', serviceType: 'ClusterIP', clusterIPs: ['10.96.0.10'],
    ports: [port()], affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false, ...over,
  };
}

function port(over: Partial<Port> = {}): Port {
  return { name: 'http', protocol: 'TCP', port: 80, ...over };
}

function slice(endpoints: Endpoint[], over: Partial<EndpointsItem> = {}): EndpointsItem {
  return {
    type: 'endpoints', revision: 1, namespace: 'default', name: 'web-1', service: 'web',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }], endpoints, ...over,
  };
}

function endpoint(address: string, over: Partial<Endpoint> = {}): Endpoint {
  return { addresses: [address], ready: true, serving: true, terminating: false, nodeName: 'edge-1', ...over };
}

const leaving: Partial<Endpoint> = { ready: false, serving: true, terminating: true };

/** `TCP/10.96.0.10:80 > 10.1.0.1:8080 10.1.0.2:8080` per listener. */
function lines(listeners: readonly Listener[]): string[] {
  return listeners.map((listener) => [listenerKey(listener), '>', ...listener.backends.map((one) => `${one.address}:${one.port}`)].join(' '));
}

const cases: { name: string; items: Item[]; want: string[]; addresses?: string[] }[] = [
  { name: 'nothing', items: [], want: [] },
  {
    name: 'two ready endpoints', items: [service(), slice([endpoint('10.1.0.2'), endpoint('10.1.0.1')])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080 10.1.0.2:8080'],
  },
  { name: 'no slice at all', items: [service()], want: ['TCP/10.96.0.10:80 >'] },
  { name: 'a slice without its service', items: [slice([endpoint('10.1.0.1')])], want: [] },
  { name: 'a slice of the same name in another namespace', items: [service(), slice([endpoint('10.1.0.1')], { namespace: 'other' })], want: ['TCP/10.96.0.10:80 >'] },
  { name: 'headless', items: [service({ clusterIPs: ['None'] }), slice([endpoint('10.1.0.1')])], want: [] },
  { name: 'ExternalName', items: [service({ serviceType: 'ExternalName', clusterIPs: [], externalName: 'example.org' })], want: [] },
  { name: 'SCTP', items: [service({ ports: [port({ protocol: 'SCTP' })] })], want: [] },
  {
    name: 'unready ones are left out', items: [service(), slice([endpoint('10.1.0.1'), endpoint('10.1.0.2', { ready: false })])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080'],
  },
  {
    name: 'publishNotReadyAddresses', items: [service({ publishNotReadyAddresses: true }), slice([endpoint('10.1.0.1'), endpoint('10.1.0.2', { ready: false, serving: false })])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080 10.1.0.2:8080'],
  },
  {
    name: 'terminating ones only when nothing is ready', items: [service(), slice([endpoint('10.1.0.1'), endpoint('10.1.0.2', leaving)])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080'],
  },
  {
    name: 'fallback to terminating ones that serve',
    items: [service(), slice([endpoint('10.1.0.1', leaving), endpoint('10.1.0.2', { ...leaving, serving: false }), endpoint('10.1.0.3', { ready: false })])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080'],
  },
  {
    name: 'duplicates across slices, one of them ready',
    items: [service(), slice([endpoint('10.1.0.1', { ready: false })]), slice([endpoint('10.1.0.1')], { name: 'web-2' }), slice([endpoint('10.1.0.1')], { name: 'web-3' })],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080'],
  },
  {
    name: 'a named port that differs per slice',
    items: [service(), slice([endpoint('10.1.0.1')]), slice([endpoint('10.1.0.2')], { name: 'web-2', ports: [{ name: 'http', protocol: 'TCP', port: 9090 }] })],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080 10.1.0.2:9090'],
  },
  {
    name: 'names and protocols are told apart',
    items: [
      service({ ports: [port({ name: 'dns', protocol: 'UDP', port: 53 }), port({ name: 'dns-tcp', port: 53 })] }),
      slice([endpoint('10.1.0.1')], { ports: [{ name: 'dns', protocol: 'UDP', port: 5353 }, { name: 'dns-tcp', protocol: 'TCP', port: 5354 }] }),
    ],
    want: ['TCP/10.96.0.10:53 > 10.1.0.1:5354', 'UDP/10.96.0.10:53 > 10.1.0.1:5353'],
  },
  {
    name: 'unnamed port', items: [service({ ports: [port({ name: '' })] }), slice([endpoint('10.1.0.1')], { ports: [{ name: '', protocol: 'TCP', port: 7 }] })],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:7'],
  },
  {
    name: 'external addresses', items: [service({ externalIPs: ['192.0.2.7', '192.168.1.5'] }), slice([endpoint('10.1.0.1')])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080', 'TCP/192.0.2.7:80 > 10.1.0.1:8080', 'TCP/192.168.1.5:80 > 10.1.0.1:8080'],
  },
  {
    name: 'an external address is no way to what another service has',
    items: [service({ name: 'a', clusterIPs: ['10.96.0.11'], externalIPs: ['10.96.0.10'] }), service(), slice([endpoint('10.1.0.1')])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080', 'TCP/10.96.0.11:80 >'],
  },
  {
    name: 'externalTrafficPolicy Local rules external addresses', items: [service({ externalIPs: ['192.0.2.7'], externalTrafficPolicy: 'Local' }), slice([endpoint('10.1.0.1', { nodeName: 'edge-2' })])],
    want: ['TCP/10.96.0.10:80 > 10.1.0.1:8080', 'TCP/192.0.2.7:80 >'],
  },
  {
    name: 'NodePort', items: [service({ serviceType: 'NodePort', ports: [port({ nodePort: 30_080 })] }), slice([endpoint('10.1.0.1')])],
    want: ['TCP/0.0.0.0:30080 > 10.1.0.1:8080', 'TCP/10.96.0.10:80 > 10.1.0.1:8080'],
  },
  {
    name: 'LoadBalancer', items: [service({ serviceType: 'LoadBalancer', ports: [port({ nodePort: 30_080 })] }), slice([endpoint('10.1.0.1')])],
    want: ['TCP/0.0.0.0:30080 > 10.1.0.1:8080', 'TCP/10.96.0.10:80 > 10.1.0.1:8080'],
  },
  {
    name: 'UDP NodePort also on the node\'s addresses',
    items: [
      service({ serviceType: 'NodePort', ports: [port({ protocol: 'UDP', nodePort: 30_080 })] }),
      slice([endpoint('10.1.0.1')], { ports: [{ name: 'http', protocol: 'UDP', port: 8080 }] }),
    ],
    want: ['UDP/0.0.0.0:30080 > 10.1.0.1:8080', 'UDP/10.96.0.10:80 > 10.1.0.1:8080', 'UDP/192.168.1.5:30080 > 10.1.0.1:8080'],
  },
  {
    name: 'policies Local, each for its own listeners',
    items: [
      service({ serviceType: 'NodePort', externalTrafficPolicy: 'Local', ports: [port({ nodePort: 30_080 })] }),
      service({ name: 'inner', clusterIPs: ['10.96.0.11'], internalTrafficPolicy: 'Local' }),
      slice([endpoint('10.1.0.1'), endpoint('10.1.0.2', { nodeName: 'edge-2' })]),
      slice([endpoint('10.1.0.3', leaving), endpoint('10.1.0.4', { nodeName: 'edge-2' })], { name: 'inner-1', service: 'inner' }),
    ],
    want: [
      'TCP/0.0.0.0:30080 > 10.1.0.1:8080', 'TCP/10.96.0.10:80 > 10.1.0.1:8080 10.1.0.2:8080', 'TCP/10.96.0.11:80 > 10.1.0.3:8080',
    ],
  },
  {
    name: 'two services with one node port: the first by name has it',
    items: ['b', 'a'].flatMap((name, index) => [
      service({ name, clusterIPs: [`10.96.0.${index}`], serviceType: 'NodePort', ports: [port({ nodePort: 30_080 })] }),
      slice([endpoint(`10.1.0.${index}`)], { name, service: name }),
    ]),
    want: ['TCP/0.0.0.0:30080 > 10.1.0.1:8080', 'TCP/10.96.0.0:80 > 10.1.0.0:8080', 'TCP/10.96.0.1:80 > 10.1.0.1:8080'],
  },
  {
    name: 'never forwards to itself',
    items: [
      service({ serviceType: 'NodePort', ports: [port({ nodePort: 8080 })] }),
      slice([endpoint('192.168.1.5'), endpoint('192.168.1.6')]),
    ],
    want: ['TCP/0.0.0.0:8080 > 192.168.1.6:8080', 'TCP/10.96.0.10:80 > 192.168.1.5:8080 192.168.1.6:8080'],
  },
  {
    name: 'dual stack keeps to the family', addresses: ['192.168.1.5', 'fd00::5'],
    items: [
      service({ serviceType: 'NodePort', clusterIPs: ['10.96.0.10', 'fd00:96::a'], ports: [port({ nodePort: 30_080 })] }),
      slice([endpoint('10.1.0.1')]), slice([endpoint('fd00:1::1')], { name: 'web-6' }),
    ],
    want: ['TCP/0.0.0.0:30080 > 10.1.0.1:8080', 'TCP/10.96.0.10:80 > 10.1.0.1:8080', 'TCP/:::30080 > fd00:1::1:8080', 'TCP/fd00:96::a:80 > fd00:1::1:8080'],
  },
];

for (const { name, items, want, addresses } of cases) {
  test(name, () => {
    const view = { ...node, ...(addresses ? { nodeAddresses: addresses } : {}) };
    assert.equal(lines(planRoutes(items, view)), want);
    assert.equal(lines(planRoutes([...items].reverse(), view)), want, 'in any order of items');
  });
}

test('a listener says its service, affinity and the nodes of its backends', () => {
  const [listener] = planRoutes([service({ affinitySeconds: 600 }), slice([endpoint('10.1.0.1')])], node);
  assert.equal(listener, {
    protocol: 'TCP', address: '10.96.0.10', port: 80, service: 'default/web:http', affinitySeconds: 600,
    backends: [{ address: '10.1.0.1', port: 8080, nodeName: 'edge-1' }],
  });
});

test.run();
