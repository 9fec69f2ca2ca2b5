import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { admissions } from '../../../master/admission/index.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods, type Pod } from '../../../shared/kinds/pod.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { unreachableAnnotation } from '../../../shared/unreachable.ts';
import { Cluster, podDocument, realClock } from '../controllers/cluster.ts';

const test = suite('unreachable admission');

async function cluster(): Promise<Cluster> {
  const made = new Cluster({ admissions: (registry) => admissions({ registry, clock: realClock }) });
  await made.create(namespaces, '', { metadata: { name: 'default' } });
  await made.create(serviceAccounts, 'default', { metadata: { name: 'default' } });
  return made;
}

const document = (name: string, text: string, spec: object = {}): unknown => podDocument(name, { ...spec }, { annotations: { [unreachableAnnotation]: text } });
const tolerated = (pod: Pod): string => (pod.spec.tolerations ?? []).map(({ key, effect, tolerationSeconds }) => `${key?.split('/')[1]}:${effect}:${tolerationSeconds ?? 'always'}`).sort().join(' ');

test('the annotation becomes tolerations', async () => {
  const made = await cluster();
  for (const [text, seconds, spec] of [['stay', 'always'], ['replace=7', 7], ['stop=600', 630], ['stop=600', 605, { terminationGracePeriodSeconds: 5 }], ['stop=600,stay', 'always'], ['stop=600,replace=20', 20]] as const) {
    const pod = await made.create(pods, 'default', document(`p${Math.random()}`, text, spec));
    assert.is(tolerated(pod), `not-ready:NoExecute:${seconds} unreachable:NoExecute:${seconds}`, text);
  }
});

test('without it five minutes, and what the pod tolerates itself stands', async () => {
  const made = await cluster();
  assert.is(tolerated(await made.create(pods, 'default', podDocument('plain'))), 'not-ready:NoExecute:300 unreachable:NoExecute:300');
  const own = [{ key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 3 }];
  assert.is(tolerated(await made.create(pods, 'default', document('own', 'stay', { tolerations: own }))), 'not-ready:NoExecute:always unreachable:NoExecute:3');
});

test('nonsense is refused in one line, at creation and later', async () => {
  const made = await cluster();
  const why = async (attempt: Promise<unknown>): Promise<string> => attempt.then(() => 'taken', (error: Error) => error.message);
  const expected = 'Pod "p" is invalid: metadata.annotations[wherry.io/unreachable]: Invalid value: "go": must be "stay", "replace=SECONDS", "stop=SECONDS", or "stop=SECONDS" with one of the others behind a comma';
  assert.is(await why(made.create(pods, 'default', document('p', 'go'))), expected);
  await made.create(pods, 'default', document('p', 'stay'));
  const say = (text: string) => made.registry.modify(pods, 'default', 'p', (pod) => ({ ...pod, metadata: { ...pod.metadata, annotations: { [unreachableAnnotation]: text } } }));
  assert.is(await why(say('go')), expected);
  assert.is(await why(say('stop=5,stay')), 'taken');
  assert.is(tolerated(made.registry.get(pods, 'default', 'p').object), 'not-ready:NoExecute:always unreachable:NoExecute:always');
});

test.run();
