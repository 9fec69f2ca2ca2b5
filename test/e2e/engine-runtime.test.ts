import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** The engine of a host in two unusual moods: with a runtime of another name, and hanging without being dead. */
const test = suite('engine runtimes and hangs');
const image = 'wherry-test/busybox';
let lab: Lab;

const pod = (name: string, runtimeClassName: string): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name },
  spec: {
    nodeName: 'node1', runtimeClassName, terminationGracePeriodSeconds: 1,
    containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', "trap 'exit 0' TERM; while true; do sleep 1; done"] }],
  },
});
const runtimeClass = (name: string, handler: string): object => ({ apiVersion: 'node.k8s.io/v1', kind: 'RuntimeClass', metadata: { name }, handler });
const apply = (...items: object[]): Promise<string> => lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }), 'apply', '-f', '-');
const get = (jsonpath: string, ...what: string[]): Promise<string> => lab.kubectl('get', ...what, '-o', `jsonpath={${jsonpath}}`);

test.before(async () => {
  await buildBusybox();
  process.env['LAB_DOCKERD'] = '--add-runtime second=runc';
  lab = await createLab({ hosts: 1, name: 'engr', images: [image] });
});

test.after(async () => {
  delete process.env['LAB_DOCKERD'];
  await lab?.down();
});

test('a runtime class picks one of the engine\'s runtimes, for all containers of the pod', async () => {
  await apply(runtimeClass('other', 'second'), pod('other', 'other'));
  await lab.kubectl('wait', '--for=condition=Ready', '--timeout=120s', 'pod/other');
  const ids = (await lab.docker(1, 'ps', '-q', '--filter', 'name=_other_default_')).trim().split('\n');
  assert.is(ids.length, 2);
  for (const id of ids) assert.is((await lab.docker(1, 'inspect', '-f', '{{.HostConfig.Runtime}}', id)).trim(), 'second');
  assert.match(await lab.kubectl('get', 'runtimeclass'), /other\s+second/);
});

test('a class that is not there is refused, and a handler that the node has not is said', async () => {
  const refused = await apply(pod('nowhere', 'nowhere')).catch((error: Error) => error.message);
  assert.match(refused, /pods "nowhere" is forbidden: pod rejected: RuntimeClass "nowhere" not found/);
  await apply(runtimeClass('missing', 'missing'), pod('missing', 'missing'));
  const message = (): Promise<string> => get('.items[?(@.reason=="FailedCreatePodSandBox")].message', 'events', '--field-selector', 'involvedObject.name=missing');
  await until('the event', 60_000, async () => (await message()).includes('Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for "missing" is configured'));
  await lab.kubectl('delete', 'pod', 'missing', '--wait', '--timeout=60s');
});

test('labels added through the API count when a node takes a pod on', async () => {
  await lab.kubectl('label', 'node', 'node1', 'crane=big');
  const wants = (name: string, size: string): object => ({ ...pod(name, 'other'), spec: { ...(pod(name, 'other') as { spec: object }).spec, nodeSelector: { crane: size } } });
  await apply(wants('fits', 'big'), wants('misfit', 'small'));
  await lab.kubectl('wait', '--for=condition=Ready', '--timeout=60s', 'pod/fits');
  await lab.kubectl('wait', '--for=jsonpath={.status.phase}=Failed', '--timeout=60s', 'pod/misfit');
  assert.is(`${await get('.status.reason', 'pod', 'misfit')}: ${await get('.status.message', 'pod', 'misfit')}`, 'NodeAffinity: Pod was rejected: Predicate NodeAffinity failed');
  await lab.kubectl('delete', 'pod', 'fits', 'misfit');
});

test('a new cluster has a default storage class', async () => {
  assert.match(await lab.kubectl('get', 'storageclass'), /^local-path \(default\) +wherry\.dev\/local-path +Delete +WaitForFirstConsumer /m);
});

test('an engine that hangs makes its node NotReady, and is back as soon as it goes on', async () => {
  const pid = Number((await readFile(`${lab.engines}/1/pid`, 'utf8')).trim());
  const ready = (): Promise<string> => get('.status.conditions[?(@.type=="Ready")]', 'node', 'node1').then((text) => { const { status, reason, message } = JSON.parse(text) as Record<string, string>; return `${status} ${reason} ${message}`; });
  const restarts = await get('.status.containerStatuses[0].containerID', 'pod', 'other');
  assert.match(await ready(), /^True KubeletReady/);
  process.kill(pid, 'SIGSTOP');
  try {
    await until('the node is NotReady', 120_000, async () => (await ready()) === 'False KubeletNotReady container runtime is down');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await until('the node is Ready again', 120_000, async () => (await ready()).startsWith('True KubeletReady'));
  await lab.kubectl('wait', '--for=condition=Ready', '--timeout=60s', 'pod/other');
  assert.is(await get('.status.containerStatuses[0].containerID', 'pod', 'other'), restarts, 'nothing was restarted');
});

test.run();
