import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { serviceItem } from '../../../master/hub/items.ts';
import type { Service } from '../../../shared/kinds/service.ts';

const test = suite('items');

const service = (spec: Partial<Service['spec']>, ingress: { ip?: string; ipMode?: string; hostname?: string }[] = []): Service => ({
  apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'shop' },
  spec: { type: 'ClusterIP', clusterIP: '10.96.0.5', clusterIPs: ['10.96.0.5'], ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }], sessionAffinity: 'None', ...spec },
  status: { loadBalancer: { ingress } },
} as Service);

test('addresses outside the cluster go with a service that has some', () => {
  assert.not.ok('externalIPs' in serviceItem(service({}), 1));
  assert.equal(serviceItem(service({ externalIPs: ['192.0.2.7'] }), 1).externalIPs, ['192.0.2.7']);
  const ingress = [{ ip: '192.0.2.8' }, { ip: '192.0.2.9', ipMode: 'Proxy' }, { hostname: 'lb.example.com' }];
  assert.equal(serviceItem(service({ type: 'LoadBalancer', externalIPs: ['192.0.2.7'] }, ingress), 1).externalIPs, ['192.0.2.7', '192.0.2.8']);
  assert.not.ok('externalIPs' in serviceItem(service({ type: 'LoadBalancer', loadBalancerSourceRanges: ['198.51.100.0/24'] }, ingress), 1));
  assert.not.ok('externalIPs' in serviceItem(service({}, ingress), 1), 'what is left from when it was a load balancer');
});

test.run();
