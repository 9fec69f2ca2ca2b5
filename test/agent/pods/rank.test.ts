import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { evictionMessage, isCritical, rank } from '../../../agent/pods/rank.ts';
import { parseThresholds, type Observations } from '../../../agent/pods/thresholds.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('eviction ranking');
const claimant = (name: string, used: number | undefined, requested: number, priority = 0) => ({ pod: podOf(name, { containers: [{ name: 'main', image: 'a:1' }], priority }), used, requested });
const order = (...of: ReturnType<typeof claimant>[]): string[] => rank(of).map(({ pod }) => pod.metadata.name!);

test('who takes more than it asked for goes first, whatever its priority', () => {
  assert.equal(order(claimant('within', 90, 100, -5), claimant('over', 11, 10, 1000)), ['over', 'within']);
});

test('then the lower priority, then who exceeds its request by more', () => {
  assert.equal(order(claimant('a', 300, 0, 10), claimant('b', 20, 0), claimant('c', 200, 100), claimant('d', 30, 0)), ['c', 'd', 'b', 'a']);
  assert.equal(order(claimant('less', 50, 100), claimant('more', 99, 100)), ['more', 'less']);
});

test('who is not known goes with those that exceed', () => {
  assert.equal(order(claimant('within', 1, 2), claimant('unknown', undefined, 5), claimant('over', 9, 2), claimant('unknown-2', undefined, 1)), ['unknown', 'unknown-2', 'over', 'within']);
});

test('ranking does not depend on the order that pods come in', () => {
  const all = Array.from({ length: 40 }, (_, i) => claimant(`p${i}`, (i * 7919) % 101, (i * 104_729) % 53, i % 3));
  const once = order(...all);
  const shuffled = all.map((one, i) => ({ one, key: (i * 31) % 41 })).sort((a, b) => a.key - b.key).map(({ one }) => one);
  const worth = (name: string) => { const { used, requested, pod } = all.find((c) => c.pod.metadata.name === name)!; return [used! > requested, pod.spec.priority, used! - requested]; };
  assert.equal(order(...shuffled).map(worth), once.map(worth));
});

test('the system\'s pods are critical', () => {
  assert.equal([2_000_000_000, 1_999_999_999].map((priority) => isCritical(podOf('p', { containers: [{ name: 'main', image: 'a:1' }], priority }))), [true, false]);
});

test('the message is the kubelet\'s', () => {
  const seen: Observations = new Map([['memory.available', { available: 50 * 2 ** 20, capacity: 2 ** 30 }], ['pid.available', { available: 10, capacity: 1000 }]]);
  const pod = podOf('p', { containers: [{ name: 'x', image: 'a:1', resources: { requests: { memory: '64Mi' } } }, { name: 'y', image: 'a:1' }, { name: 'z', image: 'a:1', resources: { requests: { memory: '1Gi' } } }] });
  const used = new Map([['x', 65 * 2 ** 20], ['y', 1000], ['z', 2 ** 20]]);
  assert.is(evictionMessage(parseThresholds('memory.available<100Mi')[0]!, seen, pod, used),
    'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container x was using 65Mi, request is 64Mi, has larger consumption of memory. Container y was using 1Ki, request is 0, has larger consumption of memory. ');
  assert.is(evictionMessage(parseThresholds('pid.available<5%')[0]!, seen, pod, used), 'The node was low on resource: pids. Threshold quantity: 50, available: 10. ');
});

test.run();
