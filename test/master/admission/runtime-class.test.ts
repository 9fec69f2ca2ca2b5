import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { admissions } from '../../../master/admission/index.ts';
import { podItem } from '../../../master/hub/items.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { runtimeClasses } from '../../../shared/kinds/runtimeclass.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { Cluster, podDocument, realClock } from '../controllers/cluster.ts';

const test = suite('runtime class');

async function cluster(): Promise<Cluster> {
  const made = new Cluster({ admissions: (registry) => admissions({ registry, clock: realClock }) });
  await made.create(namespaces, '', { metadata: { name: 'default' } });
  await made.create(serviceAccounts, 'default', { metadata: { name: 'default' } });
  await made.create(runtimeClasses, '', {
    metadata: { name: 'safe' }, handler: 'gvisor', overhead: { podFixed: { cpu: '250m', memory: '64Mi' } },
    scheduling: { nodeSelector: { sandboxed: 'yes' }, tolerations: [{ key: 'sandbox', operator: 'Exists', effect: 'NoSchedule' }] },
  });
  await made.create(runtimeClasses, '', { metadata: { name: 'plain' }, handler: 'runc' });
  return made;
}

const messageOf = (attempt: Promise<unknown>): Promise<string> => attempt.then(() => 'taken', (error: Error) => error.message);

test('a pod gets the overhead, node selector and tolerations of its class', async () => {
  const { registry } = await cluster();
  const { spec } = (await registry.create(pods, 'default', podDocument('a', { runtimeClassName: 'safe', nodeSelector: { disk: 'ssd', sandboxed: 'yes' }, overhead: { cpu: '0.25', memory: '64Mi' } }))).object;
  assert.equal(spec.overhead, { cpu: '250m', memory: '64Mi' });
  assert.equal(spec.nodeSelector, { disk: 'ssd', sandboxed: 'yes' });
  assert.equal(spec.tolerations?.filter(({ key }) => key === 'sandbox'), [{ key: 'sandbox', operator: 'Exists', effect: 'NoSchedule' }]);
  assert.is((await registry.create(pods, 'default', podDocument('b', { runtimeClassName: 'plain' }))).object.spec.overhead, undefined);
});

test('what does not fit its class is refused', async () => {
  const { registry } = await cluster();
  for (const [spec, message] of [
    [{ runtimeClassName: 'gone' }, 'pod rejected: RuntimeClass "gone" not found'],
    [{ runtimeClassName: 'safe', overhead: { cpu: '1' } }, 'pod rejected: Pod\'s Overhead doesn\'t match RuntimeClass\'s defined Overhead'],
    [{ runtimeClassName: 'plain', overhead: { cpu: '1' } }, 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead'],
    [{ overhead: { cpu: '1' } }, 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead'],
    [{ runtimeClassName: 'safe', nodeSelector: { sandboxed: 'no' } }, 'conflict: runtimeClass.scheduling.nodeSelector[sandboxed] = yes; pod.spec.nodeSelector[sandboxed] = no'],
  ] as const) assert.is(await messageOf(registry.create(pods, 'default', podDocument('a', spec))), `pods "a" is forbidden: ${message}`);
});

test('a handler is a name, and stays', async () => {
  const { registry } = await cluster();
  assert.match(await messageOf(registry.create(runtimeClasses, '', { metadata: { name: 'x' }, handler: 'Not/A/Name' })), /handler: Invalid value: "Not\/A\/Name"/);
  assert.match(await messageOf(registry.create(runtimeClasses, '', { metadata: { name: 'x' }, handler: '' })), /handler: Required value/);
  assert.match(await messageOf(registry.modify(runtimeClasses, '', 'plain', (current) => ({ ...current, handler: 'other' }))), /handler: Invalid value: "other": field is immutable/);
});

test('the node is told the handler, and what the owner wrote in its place is not', async () => {
  const { registry } = await cluster();
  const { object } = await registry.create(pods, 'default', { ...podDocument('a') as object, metadata: { name: 'a', annotations: { 'wherry.io/runtime-handler': 'mine', note: 'x' } } });
  assert.equal(podItem(object, 1).object.metadata.annotations, { note: 'x' });
  assert.equal(podItem(object, 1, 'gvisor').object.metadata.annotations, { note: 'x', 'wherry.io/runtime-handler': 'gvisor' });
});

test.run();
