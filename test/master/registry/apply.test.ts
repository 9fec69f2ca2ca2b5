import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { serverSideApply } from '../../../master/registry/apply.ts';
import type { Kind } from '../../../shared/kind.ts';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { replicationControllers } from '../../../shared/kinds/replicationcontroller.ts';
import { services } from '../../../shared/kinds/service.ts';
import type { KubeObject } from '../../../shared/meta.ts';
import { StatusError } from '../../../shared/status.ts';

const test = suite('server-side apply');
const nowMs = Date.parse('2026-01-02T03:04:05Z');

interface By { readonly force?: boolean; readonly subresource?: string; readonly at?: number }
const apply = (kind: unknown, live: KubeObject | undefined, config: object, manager: string, { force = false, subresource, at = nowMs }: By = {}): KubeObject =>
  serverSideApply(kind as Kind, live, config, { manager, force, nowMs: at, ...(subresource ? { subresource } : {}) });

const map = (data: Record<string, string> | undefined, more: object = {}): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'n', ...more }, ...(data ? { data } : {}) });
const dataOf = (object: KubeObject): unknown => (object as { data?: unknown }).data;
const fields = (object: KubeObject): Record<string, unknown> => Object.fromEntries((object.metadata.managedFields ?? []).map(({ manager = '', operation, fieldsV1 }) => [operation === 'Apply' ? manager : `${manager}*`, fieldsV1]));
const failure = (run: () => unknown): StatusError => {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

test('creates what is not there', () => {
  const made = apply(configMaps, undefined, map({ x: '1' }), 'me');
  assert.equal(dataOf(made), { x: '1' });
  assert.equal(made.metadata.managedFields, [{ manager: 'me', operation: 'Apply', apiVersion: 'v1', time: '2026-01-02T03:04:05Z', fieldsType: 'FieldsV1', fieldsV1: { 'f:data': { 'f:x': {} } } }]);
});

test('the same again changes nothing, not even times', () => {
  const made = apply(configMaps, undefined, map({ x: '1' }), 'me');
  assert.equal(apply(configMaps, made, map({ x: '1' }), 'me', { at: nowMs + 60_000 }), made);
});

test('equal values are shared, different ones conflict', () => {
  const made = apply(configMaps, apply(configMaps, undefined, map({ x: '1', y: '1' }), 'one'), map({ x: '1' }), 'two');
  assert.equal(fields(made), { one: { 'f:data': { 'f:x': {}, 'f:y': {} } }, two: { 'f:data': { 'f:x': {} } } });
  const error = failure(() => apply(configMaps, made, map({ x: '2', y: '2' }), 'two'));
  assert.equal([error.code, error.reason, error.message], [409, 'Conflict', 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.x\n- .data.y']);
  assert.equal(error.details?.causes, [
    { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.x' },
    { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.y' },
  ]);
  const forced = apply(configMaps, made, map({ x: '2' }), 'two', { force: true });
  assert.equal(dataOf(forced), { x: '2', y: '1' });
  assert.equal(fields(forced), { one: { 'f:data': { 'f:y': {} } }, two: { 'f:data': { 'f:x': {} } } });
});

test('an updater is named with version and time', () => {
  const live = { ...map({ x: '1' }), metadata: { name: 'a', managedFields: [{ manager: 'hand', operation: 'Update', apiVersion: 'v1', time: '2026-01-01T00:00:00Z', fieldsType: 'FieldsV1', fieldsV1: { 'f:data': { 'f:x': {} } }, subresource: 'status' }] } } as unknown as KubeObject;
  assert.is(failure(() => apply(configMaps, live, map({ x: '2' }), 'me')).message, 'Apply failed with 1 conflict: conflict with "hand" with subresource "status" using v1 at 2026-01-01T00:00:00Z: .data.x');
});

test('what a manager gives up goes unless others have it', () => {
  const both = apply(configMaps, apply(configMaps, undefined, map({ x: '1', y: '1', z: '1' }), 'one'), map({ y: '1' }), 'two');
  const less = apply(configMaps, both, map({ z: '1' }), 'one');
  assert.equal(dataOf(less), { y: '1', z: '1' });
  assert.is(dataOf(apply(configMaps, apply(configMaps, undefined, map({ x: '1' }), 'one'), map(undefined), 'one')), undefined);
});

test('what nobody applied stays', () => {
  const live = { ...map({ x: '1' }), metadata: { name: 'a', labels: { by: 'hand' } } } as unknown as KubeObject;
  const made = apply(configMaps, live, map({ y: '1' }), 'me');
  assert.equal(dataOf(made), { x: '1', y: '1' });
  assert.equal(apply(configMaps, made, map(undefined), 'me').metadata.labels, { by: 'hand' });
});

const rc = (containers: object[], replicas?: number): object => ({
  apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'w', namespace: 'n' }, spec: { ...(replicas === undefined ? {} : { replicas }), template: { spec: { containers } } },
});
const containersOf = (object: KubeObject): Record<string, unknown>[] => (object as unknown as { spec: { template: { spec: { containers: Record<string, unknown>[] } } } }).spec.template.spec.containers;

test('keyed lists: managers own items, order is kept', () => {
  const one = apply(replicationControllers, undefined, rc([{ name: 'a', image: '1' }, { name: 'b', image: '1' }]), 'one');
  const two = apply(replicationControllers, one, rc([{ name: 'c', image: '1' }]), 'two');
  assert.equal(containersOf(two).map(({ name }) => name), ['a', 'b', 'c']);
  const reordered = apply(replicationControllers, two, rc([{ name: 'b', image: '1' }, { name: 'a', image: '2' }]), 'one');
  assert.equal(containersOf(reordered), [{ name: 'b', image: '1' }, { name: 'c', image: '1' }, { name: 'a', image: '2' }], 'the new order holds; others stay behind what they stood behind');
  const less = apply(replicationControllers, reordered, rc([{ name: 'b', image: '1' }]), 'one');
  assert.equal(containersOf(less).map(({ name }) => name), ['b', 'c']);
});

test('a named field goes with the defaults in it, once nobody owns anything there', () => {
  const probed = apply(replicationControllers, undefined, rc([{ name: 'a', image: '1', livenessProbe: { tcpSocket: { port: 1 } } }]), 'me');
  Object.assign(containersOf(probed)[0]!['livenessProbe'] as object, { periodSeconds: 10, timeoutSeconds: 1 });
  containersOf(probed)[0]!['terminationMessagePath'] = '/dev/termination-log';
  const without = apply(replicationControllers, probed, rc([{ name: 'a', image: '1' }]), 'me');
  assert.equal(containersOf(without), [{ name: 'a', image: '1', terminationMessagePath: '/dev/termination-log' }]);
  assert.ok(without.metadata.name, 'the metadata stays, although nobody owns a thing in it');
});

test('ports are told apart by port and protocol, with its default', () => {
  const service = (ports: object[]): object => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'n' }, spec: { ports } });
  const made = apply(services, undefined, service([{ port: 53, name: 'tcp' }, { port: 53, protocol: 'UDP', name: 'udp' }]), 'me');
  const live = structuredClone(made) as unknown as { spec: { ports: Record<string, unknown>[] } };
  live.spec.ports[0]!['protocol'] = 'TCP';
  const next = apply(services, live as unknown as KubeObject, service([{ port: 53, name: 'dns' }]), 'me') as unknown as { spec: { ports: unknown[] } };
  assert.equal(next.spec.ports, [{ port: 53, name: 'dns', protocol: 'TCP' }]);
});

test('status and the rest are applied apart', () => {
  const pod = (more: object): object => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'n' }, ...more });
  const made = apply(pods, undefined, pod({ spec: { containers: [{ name: 'c' }] }, status: { phase: 'Failed' } }), 'me');
  assert.equal(fields(made), { me: { 'f:spec': { 'f:containers': { 'k:{"name":"c"}': { '.': {}, 'f:name': {} } } } } });
  const marked = apply(pods, made, pod({ spec: { nodeName: 'n' }, status: { phase: 'Running' } }), 'kubelet', { subresource: 'status' });
  assert.equal(marked.metadata.managedFields!.find(({ manager }) => manager === 'kubelet'), {
    manager: 'kubelet', operation: 'Apply', apiVersion: 'v1', time: '2026-01-02T03:04:05Z', fieldsType: 'FieldsV1', fieldsV1: { 'f:status': { 'f:phase': {} } }, subresource: 'status',
  });
});

test('kubectl takes over what client-side apply set, as long as nobody changed it', () => {
  const annotation = 'kubectl.kubernetes.io/last-applied-configuration';
  const last = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { x: '1', y: '1' } });
  const live = { ...map({ x: '1', y: 'changed' }, { annotations: { [annotation]: last }, managedFields: [{ manager: 'kubectl-client-side-apply', operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1', fieldsV1: { 'f:data': { 'f:x': {} } } }, { manager: 'hand', operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1', fieldsV1: { 'f:data': { 'f:y': {} } } }] }) } as KubeObject;
  const taken = apply(configMaps, live, map({ x: '2' }), 'kubectl');
  assert.equal(dataOf(taken), { x: '2', y: 'changed' });
  assert.is(taken.metadata.annotations![annotation], '{"apiVersion":"v1","data":{"x":"2"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"n"}}\n');
  assert.is(failure(() => apply(configMaps, live, map({ y: '2' }), 'kubectl')).message, 'Apply failed with 1 conflict: conflict with "hand" using v1: .data.y');
  assert.is(failure(() => apply(configMaps, live, map({ x: '2' }), 'other')).code, 409);
});

test('configurations that cannot be', () => {
  const two = failure(() => apply(configMaps, undefined, { ...map({}), colour: 'red', size: 1 }, 'me'));
  assert.equal([two.code, two.reason, two.message], [500, '', 'failed to create typed patch object (n/a; /v1, Kind=ConfigMap): errors:\n  .colour: field not declared in schema\n  .size: field not declared in schema']);
  assert.is(failure(() => apply(configMaps, undefined, map({}, { managedFields: [] }), 'me')).message, 'metadata.managedFields must be nil');
});

test.run();
