import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { StreamReset, type ByteStream } from '../../../shared/byte-stream.ts';
import { NodeUsages } from '../../../master/hub/usage.ts';
import { encodeUsage, type NodeUsage } from '../../../shared/usage.ts';
import { silentLog } from '../../../shared/log.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { openLab, type Lab } from './support.ts';

const test = suite('metrics.k8s.io');
let lab: Lab;
/** By node; missing: not connected. */
const using = new Map<string, NodeUsage>();
let asked: string[] = [];
const clock = new FakeClock();

const openStream = (node: string): ByteStream => {
  asked.push(node);
  const usage = using.get(node);
  if (!usage) throw new StreamReset(503, `node "${node}" is not connected`);
  return { end: () => {}, reset: () => {}, async *[Symbol.asyncIterator]() { yield encodeUsage(usage); } } as unknown as ByteStream;
};

async function runningPod(name: string, node: string, labels: object = {}): Promise<string> {
  const made = await lab.registry.create(pods, 'default', { metadata: { name, labels }, spec: { nodeName: node, containers: [{ name: 'main', image: 'a:1' }] } });
  await lab.registry.update(pods, 'default', name, { ...made.object, status: { phase: 'Running' } }, { subresource: 'status' });
  return made.object.metadata.uid!;
}

test.before(async () => {
  lab = await openLab({ usages: new NodeUsages({ clock, log: silentLog, openStream }) });
  for (const name of ['n1', 'n2']) await lab.registry.create(nodes, '', { metadata: { name, labels: { site: name } } });
  const a = await runningPod('a', 'n1', { app: 'a' });
  const b = await runningPod('b', 'n2');
  using.set('n1', { windowMs: 15_250, cpu: 1_500_000_000, memory: 3 * 2 ** 20, pods: [['default', 'a', a, 15_000, [['main', 250_000_000, 2 ** 21], ['side', 0, 1024]]], ['default', 'b', b, 1000, [['main', 9, 9]]]] });
});
test.after(() => lab.close());

test.before.each(() => { asked = []; clock.advance(11_000); });

const get = async (path: string, headers: Record<string, string> = {}) => {
  const { code, json } = await lab.client.get(path, headers);
  return { code, body: json as unknown };
};

test('nodes that answer, and those that do not are missing', async () => {
  const { code, body } = await get('/apis/metrics.k8s.io/v1beta1/nodes');
  assert.is(code, 200);
  const { kind, items } = body as { kind: string; items: { metadata: { name: string; labels: object }; window: string; usage: object }[] };
  assert.equal([kind, items.length, items[0]!.metadata.name, items[0]!.metadata.labels, items[0]!.window, items[0]!.usage], ['NodeMetricsList', 1, 'n1', { site: 'n1' }, '15.25s', { cpu: '1500m', memory: '3Mi' }]);
});

test('one node; one that is not there', async () => {
  assert.is(((await get('/apis/metrics.k8s.io/v1beta1/nodes/n1')).body as { kind: string }).kind, 'NodeMetrics');
  const missing = await get('/apis/metrics.k8s.io/v1beta1/nodes/n2');
  assert.equal([missing.code, (missing.body as { message: string }).message], [404, 'nodemetrics.metrics.k8s.io "n2" not found']);
});

test('pods: no node speaks for the pods of others', async () => {
  const { body } = await get('/apis/metrics.k8s.io/v1beta1/pods');
  const { items } = body as { items: { metadata: { name: string; namespace: string }; containers: object[] }[] };
  assert.equal(items.map(({ metadata: { name, namespace } }) => [name, namespace]), [['a', 'default']]);
  assert.equal(items[0]!.containers, [{ name: 'main', usage: { cpu: '250m', memory: '2Mi' } }, { name: 'side', usage: { cpu: '0', memory: '1Ki' } }]);
  assert.equal(asked.sort(), ['n1', 'n2']);
});

test('only nodes that have a wanted pod are asked', async () => {
  const wanted = async (path: string) => ((await get(path)).body as { items: unknown[] }).items.length;
  assert.is(await wanted('/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Da'), 1);
  assert.equal(asked, ['n1']);
  assert.is(await wanted('/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?fieldSelector=metadata.name%3Db'), 0);
  assert.is(await wanted('/apis/metrics.k8s.io/v1beta1/namespaces/other/pods'), 0);
  assert.equal(asked, ['n1', 'n2']);
  assert.is(((await get('/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/b')).body as { message: string }).message, 'podmetrics.metrics.k8s.io "default/b" not found');
});

test('an answer serves all who ask within ten seconds, a failure nobody', async () => {
  await Promise.all([get('/apis/metrics.k8s.io/v1beta1/nodes/n1'), get('/apis/metrics.k8s.io/v1beta1/nodes/n1')]);
  await get('/apis/metrics.k8s.io/v1beta1/nodes/n1');
  assert.equal(asked, ['n1']);
  await get('/apis/metrics.k8s.io/v1beta1/nodes/n2');
  await get('/apis/metrics.k8s.io/v1beta1/nodes/n2');
  assert.equal(asked, ['n1', 'n2', 'n2']);
  clock.advance(10_000);
  await get('/apis/metrics.k8s.io/v1beta1/nodes/n1');
  assert.is(asked.length, 4);
});

test('discovery, tables, and what cannot be done', async () => {
  const list = (await get('/apis/metrics.k8s.io/v1beta1')).body as { resources: { name: string; kind: string; verbs: string[] }[] };
  assert.equal(list.resources.map(({ name, kind, verbs }) => [name, kind, verbs]), [['nodes', 'NodeMetrics', ['get', 'list']], ['pods', 'PodMetrics', ['get', 'list']]]);
  const table = (await get('/apis/metrics.k8s.io/v1beta1/namespaces/default/pods', { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' })).body as { rows: { cells: unknown[] }[] };
  assert.equal(table.rows[0]!.cells, ['a', '250m', '2049Ki', '15s']);
  assert.is((await lab.client.delete('/apis/metrics.k8s.io/v1beta1/nodes/n1')).code, 405);
  assert.is((await get('/apis/metrics.k8s.io/v1beta1/leaves')).code, 404);
});

test.run();
