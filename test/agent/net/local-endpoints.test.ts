import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { withLocalPods, type LocalPod } from '../../../agent/net/local-endpoints.ts';
import type { EndpointsItem } from '../../../shared/protocol.ts';

const test = suite('local endpoints');
type Endpoint = EndpointsItem['endpoints'][number];
const endpoint = (more: Partial<Endpoint> = {}): Endpoint => ({ addresses: ['10.0.0.1'], ready: true, serving: true, terminating: false, nodeName: 'here', pod: 'p', ...more });
const item = (...endpoints: Endpoint[]): EndpointsItem => ({ type: 'endpoints', revision: 1, namespace: 'default', name: 's-1', service: 's', ports: [], endpoints });
const seen = (endpoints: Endpoint[], pods: Record<string, LocalPod | 'gone'>, alone = false): string[] => {
  const [made] = [...withLocalPods([item(...endpoints)], { nodeName: 'here', alone, pod: (namespace, name) => (namespace === 'default' ? pods[name] : undefined) })];
  return (made as EndpointsItem).endpoints.map(({ addresses, ready, serving }) => `${addresses.join()} ${ready ? 'ready' : serving ? 'serving' : 'unready'}`);
};

test('a pod that was started again is where it is, not where it was', () => {
  assert.equal(seen([endpoint()], { p: { ips: ['10.0.0.7'], ready: true } }), ['10.0.0.7 ready']);
});

test('one without an address, or that is gone, is nowhere', () => {
  assert.equal(seen([endpoint(), endpoint({ pod: 'q', addresses: ['10.0.0.2'] })], { p: { ips: [], ready: false }, q: 'gone' }), []);
});

test('readiness: both must agree while there is a master, the node decides alone', () => {
  const ready = { p: { ips: ['10.0.0.1'], ready: true } };
  assert.equal(seen([endpoint({ ready: false, serving: false })], ready), ['10.0.0.1 unready']);
  assert.equal(seen([endpoint({ ready: false, serving: false })], ready, true), ['10.0.0.1 ready']);
  assert.equal(seen([endpoint()], { p: { ips: ['10.0.0.1'], ready: false } }, true), ['10.0.0.1 unready']);
  assert.equal(seen([endpoint({ ready: false, terminating: true })], ready, true), ['10.0.0.1 serving']);
});

test('pods of other nodes, endpoints that are no pods, and pods not looked at yet stay as they are', () => {
  const { pod: _, ...plain } = endpoint({ addresses: ['192.0.2.1'] });
  assert.equal(seen([endpoint({ nodeName: 'there' }), plain, endpoint({ pod: 'unknown' })], { p: 'gone' }, true), ['10.0.0.1 ready', '192.0.2.1 ready', '10.0.0.1 ready']);
  const untouched = item(endpoint({ nodeName: 'there' }));
  assert.is([...withLocalPods([untouched], { nodeName: 'here', alone: true, pod: () => 'gone' })][0], untouched);
});

test('an address of the same family', () => {
  assert.equal(seen([endpoint({ addresses: ['fd00::1'] }), endpoint()], { p: { ips: ['10.0.0.9', 'fd00::9'], ready: true } }), ['fd00::9 ready', '10.0.0.9 ready']);
});

test.run();
