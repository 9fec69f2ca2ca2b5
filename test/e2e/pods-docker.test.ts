import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { logs } from '../../agent/streams/logs.ts';
import type { ConfigMap } from '../../shared/kinds/configmap.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { Bench, simplePod, testImage } from './pods-support.ts';

const test = suite('pods on Docker');
const bench = new Bench('wherry-e2e-pods');

test.before(() => bench.start());
test.after(() => bench.cleanUp());

async function remove(pod: Pod): Promise<void> {
  await bench.delete(pod, 0);
  await bench.gone(pod.metadata.name!);
  await bench.state.drop(`pod/default/${pod.metadata.name}`);
}

async function logOf(pod: string, container = 'main', previous = false): Promise<string> {
  const request = { type: 'logs' as const, namespace: 'default', pod, uid: '', container, follow: false, previous, timestamps: false };
  const chunks: Uint8Array[] = [];
  for await (const chunk of logs(request, { runtime: bench.runtime, target: (r) => bench.manager.logTarget(r) }, new AbortController().signal)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const first = (status: PodStatus) => status.containerStatuses![0]!;
const reasons = (name: string): string[] => bench.events.filter((e) => e.object.name === name).map((e) => e.reason);
const condition = (status: PodStatus, type: string) => status.conditions?.find((c) => c.type === type)?.status;
const configMap = (name: string, data: Record<string, string>) =>
  ({ type: 'configMap' as const, revision: 1, object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' }, data } as ConfigMap });

test('a pod runs, is reported as a kubelet would, and leaves nothing when deleted', async () => {
  const pod = simplePod('run');
  await bench.assign(pod);
  const status = await bench.phase('run', 'Running');
  assert.match(status.podIP!, /^\d+\.\d+\.\d+\.\d+$/);
  assert.is(status.hostIP, '192.0.2.10');
  assert.is(status.qosClass, 'BestEffort');
  for (const type of ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']) assert.is(condition(status, type), 'True', type);
  assert.match(first(status).containerID!, /^docker:\/\/[0-9a-f]{64}$/);
  assert.equal(reasons('run').filter((reason) => reason !== 'MissingClusterDNS'), ['Pulled', 'Created', 'Started']);
  assert.equal((await bench.runtime.exec(first(status).containerID!.slice(9), ['hostname'], 5000)).output, 'run\n');
  await bench.delete(pod, 5);
  await bench.gone('run');
  assert.equal(await bench.containers(), []);
  await bench.state.drop('pod/default/run');
});

test('a crashed container is back within 1.5 s, and then held back', async () => {
  const pod = simplePod('crash', { command: ['sh', '-c', 'echo run; [ -e /dev/shm/crashed ] && exec stay; touch /dev/shm/crashed; sleep 1; exit 3'] });
  await bench.assign(pod);
  await bench.phase('crash', 'Running');
  const ended = await bench.until('restart', () => first(bench.status('crash')).restartCount === 1 && first(bench.status('crash')).state?.running && bench.status('crash'));
  const { finishedAt, exitCode, reason } = first(ended).lastState!.terminated!;
  assert.equal([exitCode, reason], [3, 'Error']);
  assert.ok(Date.parse(first(ended).state!.running!.startedAt!) - Date.parse(finishedAt!) <= 1500);
  assert.is(await logOf('crash', 'main', true), 'run\n');
  await bench.runtime.kill(first(ended).containerID!.slice(9), 'SIGKILL');
  const held = await bench.until('back-off', () => first(bench.status('crash')).state?.waiting?.reason === 'CrashLoopBackOff' && bench.status('crash'));
  assert.match(first(held).state!.waiting!.message!, /^back-off 10s restarting failed container=main pod=crash_default\(/);
  assert.is(condition(held, 'Ready'), 'False');
  await remove(pod);
});

test('an agent that comes back adopts what runs, and restarts what ended meanwhile', async () => {
  const pod = simplePod('adopt', {}, { containers: ['one', 'two'].map((name) => ({ name, image: testImage, command: ['stay'] })) });
  await bench.assign(pod);
  const before = await bench.phase('adopt', 'Running');
  await bench.stop();
  const [one, two] = before.containerStatuses!;
  await bench.runtime.kill(two!.containerID!.slice(9), 'SIGKILL');
  bench.reports.clear();
  await bench.start();
  const after = await bench.until('adoption', () => bench.status('adopt').containerStatuses?.every((c) => c.state?.running) && bench.status('adopt'));
  assert.equal(after.containerStatuses![0], one);
  assert.is(after.containerStatuses![1]!.restartCount, 1);
  assert.is(after.podIP, before.podIP);
  await remove(pod);
});

test('containers of a pod that nobody knows are removed', async () => {
  const pod = simplePod('orphan');
  await bench.assign(pod);
  await bench.phase('orphan', 'Running');
  await bench.stop();
  await bench.state.drop('pod/default/orphan');
  await bench.start();
  const abort = new AbortController();
  if ((await bench.containers()).length > 0) {
    for await (const event of await bench.runtime.events('io.wherry.owner', abort.signal)) {
      if (event.type === 'destroy' && (await bench.containers()).length === 0) break;
      if ((await bench.containers()).length === 0) break;
    }
  }
  abort.abort();
  assert.equal(await bench.containers(), []);
});

test('a force-deleted pod goes at once, though it is being stopped with more grace', async () => {
  const pod = simplePod('force', { command: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'] }, { terminationGracePeriodSeconds: 30 });
  await bench.assign(pod);
  await bench.phase('force', 'Running');
  await bench.delete(pod, 30);
  await bench.until('killing', () => reasons('force').includes('Killing'));
  const began = Date.now();
  await bench.delete(pod, 0);
  await bench.gone('force');
  assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`);
  await bench.state.drop('pod/default/force');
});

test('environment: values, references, fields, services', async () => {
  await bench.state.put(configMap('settings', { COLOR: 'red', SIZE: 'big' }), {
    type: 'service', revision: 1, namespace: 'default', name: 'redis-master', serviceType: 'ClusterIP', clusterIPs: ['10.96.0.7'],
    ports: [{ name: '', protocol: 'TCP', port: 6379 }], affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false,
  });
  const pod = simplePod('env', {
    command: ['sh', '-c', 'env | sort; echo "$(S_COLOR)"'], envFrom: [{ configMapRef: { name: 'settings' }, prefix: 'S_' }],
    env: [
      { name: 'GREETING', value: 'hello $(S_COLOR) $$(X) $(UNKNOWN)' }, { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'SIZE', valueFrom: { configMapKeyRef: { name: 'settings', key: 'SIZE' } } },
    ],
  }, { restartPolicy: 'Never' });
  await bench.assign(pod);
  const status = await bench.phase('env', 'Succeeded');
  const lines = (await logOf('env')).split('\n');
  for (const line of ['S_COLOR=red', 'SIZE=big', `IP=${status.podIP}`, 'REDIS_MASTER_SERVICE_HOST=10.96.0.7', 'REDIS_MASTER_PORT_6379_TCP_ADDR=10.96.0.7', 'GREETING=hello red $(X) $(UNKNOWN)']) {
    assert.ok(lines.includes(line), `${line} in ${lines.join('; ')}`);
  }
  await remove(pod);
});

test('a configMap volume holds its keys, and follows a change', async () => {
  await bench.state.put(configMap('page', { 'index.html': 'one' }));
  const pod = simplePod('files', { command: ['sh', '-c', 'until [ "$(cat /page/index.html)" = two ]; do sleep 0.1; done; cat /page/index.html'], volumeMounts: [{ name: 'page', mountPath: '/page' }] }, {
    restartPolicy: 'Never', volumes: [{ name: 'page', configMap: { name: 'page' } }],
  });
  await bench.assign(pod);
  await bench.phase('files', 'Running');
  await bench.state.put(configMap('page', { 'index.html': 'two' }));
  await bench.phase('files', 'Succeeded');
  assert.is(await logOf('files'), 'two');
  await remove(pod);
});

test('a missing configMap holds a container back until it comes', async () => {
  const pod = simplePod('missing', { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'later', key: 'a' } } }] });
  await bench.assign(pod);
  const waiting = await bench.until('waiting', () => first(bench.status('missing')).state?.waiting?.reason === 'CreateContainerConfigError' && bench.status('missing'));
  assert.is(first(waiting).state!.waiting!.message, 'configmap "later" not found');
  await bench.state.put(configMap('later', { a: 'b' }));
  await bench.phase('missing', 'Running');
  await remove(pod);
});

test('init containers run in order before the others, and share volumes with them', async () => {
  const mount = { volumeMounts: [{ name: 'work', mountPath: '/scratch' }] };
  const init = (name: string, word: string) => ({ name, image: testImage, command: ['sh', '-c', `echo ${word} >> /scratch/list`], ...mount });
  const pod = simplePod('init', { command: ['sh', '-c', 'cat /scratch/list; exec stay'], ...mount }, {
    initContainers: [init('first', 'a'), init('second', 'b')], volumes: [{ name: 'work', emptyDir: {} }],
  });
  await bench.assign(pod);
  const status = await bench.phase('init', 'Running');
  assert.equal(status.initContainerStatuses!.map((c) => [c.name, c.state?.terminated?.reason, c.ready]), [['first', 'Completed', true], ['second', 'Completed', true]]);
  assert.is(await logOf('init'), 'a\nb\n');
  await remove(pod);
});

test('an image that cannot be had: ErrImagePull, then ImagePullBackOff', async () => {
  const pod = simplePod('pull', { image: '127.0.0.1:1/none:1' });
  await bench.assign(pod);
  await bench.until('error', () => first(bench.status('pull')).state?.waiting?.reason === 'ErrImagePull');
  const held = await bench.until('back-off', () => first(bench.status('pull')).state?.waiting?.reason === 'ImagePullBackOff' && bench.status('pull'));
  assert.is(held.phase, 'Pending');
  assert.equal(reasons('pull').filter((r) => r !== 'Failed'), ['Pulling', 'BackOff']);
  await logOf('pull').then(() => assert.unreachable(), (error: Error) => assert.is(error.message, 'container "main" in pod "pull" is waiting to start: trying and failing to pull image'));
  await remove(pod);
});

test('a pod of policy Never fails once, keeps its log and message, and is not started again', async () => {
  const pod = simplePod('never', { command: ['sh', '-c', 'echo gone wrong; echo why > /dev/termination-log; exit 4'] }, { restartPolicy: 'Never' });
  await bench.assign(pod);
  const status = await bench.phase('never', 'Failed');
  const { exitCode, reason, message } = first(status).state!.terminated!;
  assert.equal([exitCode, reason, message], [4, 'Error', 'why\n']);
  await bench.stop();
  bench.reports.clear();
  await bench.start();
  const again = await bench.phase('never', 'Failed');
  assert.is(first(again).restartCount, 0);
  assert.is(await logOf('never'), 'gone wrong\n');
  await remove(pod);
});

test('readiness and liveness by probes', async () => {
  const pod = simplePod('probes', {
    command: ['sh', '-c', 'trap "exit 0" TERM; touch /tmp/live; sleep 1; touch /tmp/ready; while :; do sleep 0.1; done'],
    readinessProbe: { exec: { command: ['cat', '/tmp/ready'] }, periodSeconds: 1 }, livenessProbe: { exec: { command: ['cat', '/tmp/live'] }, periodSeconds: 1, failureThreshold: 1 },
  });
  await bench.assign(pod);
  const running = await bench.phase('probes', 'Running');
  assert.is(first(running).ready, false);
  const ready = await bench.until('ready', () => condition(bench.status('probes'), 'Ready') === 'True' && bench.status('probes'));
  await bench.runtime.exec(first(ready).containerID!.slice(9), ['rm', '/tmp/live'], 5000);
  await bench.until('restart', () => first(bench.status('probes')).restartCount === 1);
  assert.ok(reasons('probes').includes('Unhealthy'));
  await remove(pod);
});

test('a new image restarts that container in its pod', async () => {
  const pod = simplePod('update', {}, { containers: ['one', 'two'].map((name) => ({ name, image: testImage, command: ['stay'] })) });
  await bench.assign(pod);
  const before = await bench.phase('update', 'Running');
  const [one, two] = pod.spec.containers;
  await bench.assign({ ...pod, spec: { ...pod.spec, containers: [{ ...one!, image: 'wherry-test/busybox:latest', imagePullPolicy: 'IfNotPresent' }, two!] } });
  const after = await bench.until('update', () => first(bench.status('update')).restartCount === 1 && first(bench.status('update')).state?.running && bench.status('update'));
  assert.is(after.podIP, before.podIP);
  assert.is(after.containerStatuses![1]!.containerID, before.containerStatuses![1]!.containerID);
  await remove(pod);
});

test('what this agent cannot do fails the pod, and says what it is', async () => {
  const pod = simplePod('refused', {}, { hostUsers: false });
  await bench.assign(pod);
  const status = await bench.phase('refused', 'Failed');
  assert.is(status.reason, 'UnsupportedField');
  assert.match(status.message!, /user namespaces per pod are not served/);
  await remove(pod);
});

test('a dead sandbox is started again, and its containers with it', async () => {
  const pod = simplePod('sandbox');
  await bench.assign(pod);
  await bench.phase('sandbox', 'Running');
  const sandbox = (await bench.containers()).find((c) => c.name.startsWith('k8s_POD_sandbox_'))!;
  await bench.runtime.kill(sandbox.id, 'SIGKILL');
  const after = await bench.until('restart', () => first(bench.status('sandbox')).restartCount === 1 && first(bench.status('sandbox')).state?.running && bench.status('sandbox'));
  assert.ok(after.podIP);
  await remove(pod);
});

test.run();
