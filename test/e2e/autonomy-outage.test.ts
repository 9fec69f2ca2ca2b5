import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod } from '../../shared/kinds/pod.ts';
import { Api, containersOn, converged, image, isReady, pause, podDocument, type Seen } from './autonomy-support.ts';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** A node whose cable is pulled: what its pods do, who replaces them, and what the master hears of it afterwards. */
const test = suite('autonomy: outage');
const graceSeconds = 6;
let lab: Lab;
let api: Api;

test.before(async () => {
  await buildBusybox();
  lab = await createLab({ hosts: 2, name: 'aout', images: [image], masterFlags: ['--node-monitor-grace-period', String(graceSeconds)] });
  api = await Api.open(lab);
});
test.after(async () => {
  await api?.close();
  await lab?.down();
});

const annotations = (text: string): object => ({ annotations: { 'wherry.io/unreachable': text } });
const onHost2 = async (name: string): Promise<Seen[]> => (await containersOn(lab, 2)).filter(({ pod, container, state }) => pod === name && container === 'main' && state === 'running');
const nodeReady = async (name: string): Promise<string> => (await api.ask<{ status: { conditions: { type: string; status: string }[] } }>('GET', `/api/v1/nodes/${name}`)).status.conditions.find(({ type }) => type === 'Ready')?.status ?? '';
const members = async (app: string): Promise<Pod[]> => (await api.pods()).filter(({ metadata }) => metadata.labels?.['app'] === app);
interface Told { readonly reason: string; readonly firstTimestamp: string; readonly lastTimestamp: string; readonly count: number; readonly involvedObject: { readonly name: string } }
const eventsOf = async (name: string): Promise<Told[]> => (await api.ask<{ items: Told[] }>('GET', '/api/v1/namespaces/default/events')).items.filter(({ involvedObject }) => involvedObject.name === name);

test('a bad annotation is refused in one line', async () => {
  assert.match(await lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', ...podDocument('bad', {}, { name: 'bad', ...annotations('sometimes') }) }), 'create', '-f', '-').catch((error: Error) => error.message),
    /The Pod "bad" is invalid: metadata.annotations\[wherry.io\/unreachable\]: Invalid value: "sometimes": must be "stay"/);
});

let cutMs = 0;
let healMs = 0;
let crashed: Seen | undefined;
let untouched: string[] = [];

test('each pod does what it says when its node is cut off', async () => {
  for (const [name, text] of [['stay', 'stay'], ['quiet', 'stay'], ['stop', 'stop=10,stay']] as const) await api.createPod(name, { nodeName: 'node2' }, annotations(text));
  // The replaced ones start on node2, and find node1 open to them later.
  await lab.kubectl('cordon', 'node1');
  for (const [name, text] of [['replace', 'replace=3'], ['stopper', 'stop=8']] as const) {
    await api.ask('POST', '/api/v1/namespaces/default/replicationcontrollers', { metadata: { name }, spec: { replicas: 1, selector: { app: name }, template: podDocument(name, {}, { labels: { app: name }, ...annotations(text) }) } });
  }
  await until('all five run on node2', 60_000, async () => { const pods = await api.pods('node2'); return pods.length === 5 && pods.every(isReady); });
  await lab.kubectl('uncordon', 'node1');
  untouched = (await onHost2('quiet')).map(({ id, startedAt }) => `${id} ${startedAt}`);

  await lab.host('cut', 2);
  cutMs = Date.now();
  [crashed] = await onHost2('stay');
  await lab.docker(2, 'kill', crashed!.id);
  await until('node2 is lost', 30_000, async () => (await nodeReady('node2')) === 'Unknown');
  await until('its pods are not ready', 10_000, async () => !(await api.pods('node2')).some(isReady));
  await until('the one to be replaced has a successor on node1', 40_000, async () => (await members('replace')).some((pod) => pod.spec.nodeName === 'node1' && isReady(pod)));
  const [stoppedMs] = await until('those that are to stop have stopped', 40_000, async () => {
    const left = [...await onHost2('stop'), ...(await containersOn(lab, 2)).filter(({ pod, container, state }) => pod.startsWith('stopper') && container === 'main' && state === 'running')];
    return left.length === 0 && [Date.now()];
  });
  assert.ok(stoppedMs! - cutMs >= 8000, `stopped ${stoppedMs! - cutMs} ms after the cut`);
  await until('the one that stopped itself has a successor too', 40_000, async () => (await members('stopper')).some((pod) => pod.spec.nodeName === 'node1' && isReady(pod)));
  for (const name of ['stay', 'quiet', 'stop']) assert.is((await api.pod(name)).metadata.deletionTimestamp, undefined, `${name} is never driven away`);
  assert.is((await onHost2('stay')).length, 1, 'the crashed container runs again');
});

test('an agent that is killed and started during the outage does not start again what has stopped', async () => {
  // Events are on disk within half a minute.
  await pause(Math.max(0, cutMs + 34_000 - Date.now()));
  await lab.killAgent(2);
  await lab.startAgent(2);
  await until('the agent has looked', 20_000, async () => (await containersOn(lab, 2)).some(({ pod }) => pod === 'quiet'));
  await pause(5000);
  assert.is((await onHost2('stop')).length, 0);
  assert.equal((await onHost2('quiet')).map(({ id, startedAt }) => `${id} ${startedAt}`), untouched);
});

test('the cable back: the master learns how it was, pods that stopped begin again, and nobody who lives is disturbed', async () => {
  const survivors = async (): Promise<string[]> => (await containersOn(lab, 1)).filter(({ state }) => state === 'running').map(({ id, startedAt }) => `${id} ${startedAt}`).sort();
  const before = await survivors();
  healMs = Date.now();
  await lab.host('heal', 2);
  await until('node2 is ready', 60_000, async () => (await nodeReady('node2')) === 'True');
  await until('its pods are ready again, though nothing changed on them', 20_000, async () => isReady(await api.pod('quiet')) && isReady(await api.pod('stay')));
  await until('the stopped pod runs again', 30_000, async () => isReady(await api.pod('stop')));
  await converged(api, lab, 2, 60_000);
  await converged(api, lab, 1, 60_000);
  assert.equal(await survivors(), before, 'the successors are not restarted');
  assert.equal((await onHost2('quiet')).map(({ id, startedAt }) => `${id} ${startedAt}`), untouched);
  for (const app of ['replace', 'stopper']) assert.equal((await members(app)).map(({ spec }) => spec.nodeName), ['node1'], `${app} is there once`);
});

const during = (time: string | undefined): boolean => Date.parse(time ?? '') >= cutMs - 2000 && Date.parse(time ?? '') < healMs;

test('statuses and events of the outage arrive with their true times', async () => {
  const [status] = (await api.pod('stay')).status.containerStatuses ?? [];
  assert.is(status?.restartCount, 1);
  assert.is(status?.lastState?.terminated?.exitCode, 137);
  assert.is(status?.lastState?.terminated?.containerID, `docker://${crashed!.id}`);
  assert.ok(during(status?.lastState?.terminated?.finishedAt), `ended at ${status?.lastState?.terminated?.finishedAt}`);
  assert.ok(during(status?.state?.running?.startedAt), `runs since ${status?.state?.running?.startedAt}`);
  const told = await until('the second start is told of', 20_000, async () => (await eventsOf('stay')).find(({ reason, count }) => reason === 'Started' && count === 2));
  assert.ok(during(told.lastTimestamp), JSON.stringify(told));
  const stop = (await eventsOf('stop')).find(({ reason }) => reason === 'NodeUnreachable');
  assert.ok(stop && during(stop.firstTimestamp), JSON.stringify(stop));
});

test.run();
