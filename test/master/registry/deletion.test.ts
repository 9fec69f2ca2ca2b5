import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { planDeletion, specFinalizers } from '../../../master/registry/deletion.ts';
import type { DeleteOptions } from '../../../master/registry/types.ts';
import type { Kind } from '../../../shared/kind.ts';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { replicationControllers } from '../../../shared/kinds/replicationcontroller.ts';
import type { KubeObject } from '../../../shared/meta.ts';

const test = suite('deletion');
const nowMs = Date.parse('2026-01-02T03:04:05Z');
const at = (seconds: number): string => new Date(nowMs + seconds * 1000).toISOString().replace('.000', '');

const plan = (kind: unknown, object: object, options: DeleteOptions = {}) => planDeletion(kind as Kind, object as KubeObject, options, nowMs);
const map = (metadata: object = {}): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', ...metadata } });
const pod = (spec: object, metadata: object = {}, status: object = {}): object =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', ...metadata }, spec: { terminationGracePeriodSeconds: 30, containers: [], ...spec }, status });
const rc = (metadata: object = {}): object => ({ apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'r', generation: 3, ...metadata }, spec: {} });

test('an object without finalizers or grace goes at once', () => {
  assert.is(plan(configMaps, map()).type, 'remove');
  assert.is(plan(configMaps, map(), { gracePeriodSeconds: 60 }).type, 'remove');
  assert.is(plan(pods, pod({})).type, 'remove', 'no node, nothing to end');
  assert.is(plan(pods, pod({ nodeName: 'n' }, {}, { phase: 'Succeeded' })).type, 'remove');
  assert.is(plan(pods, pod({ nodeName: 'n' }), { gracePeriodSeconds: 0 }).type, 'remove');
});

const graces: readonly { readonly name: string; readonly options: DeleteOptions; readonly metadata?: object; readonly expected: readonly [string, string?, number?] }[] = [
  { name: 'the pod\'s own grace', options: {}, expected: ['mark', at(30), 30] },
  { name: 'the grace asked for', options: { gracePeriodSeconds: 5 }, expected: ['mark', at(5), 5] },
  { name: 'a shorter grace later', options: { gracePeriodSeconds: 10 }, metadata: { deletionTimestamp: at(20), deletionGracePeriodSeconds: 30 }, expected: ['mark', at(0), 10] },
  { name: 'a longer grace later', options: { gracePeriodSeconds: 60 }, metadata: { deletionTimestamp: at(20), deletionGracePeriodSeconds: 30 }, expected: ['nothing'] },
  { name: 'the same again', options: {}, metadata: { deletionTimestamp: at(20), deletionGracePeriodSeconds: 30 }, expected: ['nothing'] },
];
for (const { name, options, metadata = {}, expected } of graces) {
  test(`grace: ${name}`, () => {
    const made = plan(pods, pod({ nodeName: 'n' }, metadata), options);
    const { deletionTimestamp, deletionGracePeriodSeconds } = made.type === 'nothing' ? {} as never : made.object.metadata;
    assert.equal([made.type, ...(made.type === 'nothing' ? [] : [deletionTimestamp, deletionGracePeriodSeconds])], expected);
  });
}

test('finalizers hold an object, which is marked', () => {
  const made = plan(configMaps, map({ finalizers: ['example.com/x'] }));
  assert.is(made.type, 'mark');
  assert.equal((made as { object: KubeObject }).object.metadata, { name: 'a', finalizers: ['example.com/x'], deletionTimestamp: at(0), deletionGracePeriodSeconds: 0 });
});

const policies: readonly [DeleteOptions['propagationPolicy'], string[], string, string[]?][] = [
  [undefined, [], 'mark', ['orphan']],
  ['Background', [], 'remove'],
  ['Foreground', [], 'mark', ['foregroundDeletion']],
  ['Orphan', ['x.test/y'], 'mark', ['x.test/y', 'orphan']],
  ['Background', ['foregroundDeletion', 'x.test/y'], 'mark', ['x.test/y']],
];
for (const [policy, before, type, after] of policies) {
  test(`propagation ${policy ?? 'by default'} of a replication controller with finalizers [${before.join(', ')}]`, () => {
    const made = plan(replicationControllers, rc(before.length > 0 ? { finalizers: before } : {}), policy ? { propagationPolicy: policy } : {});
    assert.is(made.type, type);
    if (made.type === 'mark') assert.equal(made.object.metadata.finalizers, after);
  });
}

test('marking counts a generation', () => {
  const made = plan(replicationControllers, rc(), { propagationPolicy: 'Foreground' });
  assert.is((made as { object: KubeObject }).object.metadata.generation, 4);
});

test('a namespace waits for its spec\'s finalizers, and says so', () => {
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'n' }, spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } };
  const made = plan(namespaces, namespace) as { type: string; object: KubeObject & { status: unknown } };
  assert.equal([made.type, made.object.status], ['mark', { phase: 'Terminating' }]);
  assert.equal(specFinalizers(namespaces as unknown as Kind, namespace as KubeObject), ['kubernetes']);
  assert.is(namespace.status.phase, 'Active', 'the stored object is not touched');
  assert.is(plan(namespaces, { ...namespace, spec: { finalizers: [] } }).type, 'remove');
});

test.run();
