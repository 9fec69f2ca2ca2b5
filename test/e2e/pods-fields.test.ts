import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { logs } from '../../agent/streams/logs.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import { Bench, simplePod, testImage } from './pods-support.ts';

// What the fields of a pod come to on a real engine, one group of fields after the other.
const test = suite('fields of pods on Docker');
const run = promisify(execFile);
const bench = new Bench('wherry-e2e-fields');
let seccompRoot = '';

test.before(async () => {
  seccompRoot = await mkdtemp(join(tmpdir(), 'wherry-seccomp-'));
  await bench.start({ seccompRoot });
});
test.after(async () => {
  await bench.cleanUp();
  await rm(seccompRoot, { recursive: true, force: true });
});

async function remove(pod: Pod): Promise<void> {
  await bench.delete(pod, 0);
  await bench.gone(pod.metadata.name!);
  await bench.state.drop(`pod/default/${pod.metadata.name}`);
}

async function logOf(pod: string, container = 'main'): Promise<string> {
  const request = { type: 'logs' as const, namespace: 'default', pod, uid: '', container, follow: false, previous: false, timestamps: false };
  const chunks: Uint8Array[] = [];
  for await (const chunk of logs(request, { runtime: bench.runtime, target: (r) => bench.manager.logTarget(r) }, new AbortController().signal)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Runs a shell script in a pod of its own, to its end, and returns what it said. */
async function outputOf(name: string, script: string, container: object = {}, spec: object = {}): Promise<string> {
  const pod = simplePod(name, { command: ['sh', '-c', script], ...container }, { restartPolicy: 'Never', ...spec });
  await bench.assign(pod);
  await bench.phase(name, 'Succeeded');
  const text = await logOf(name);
  await remove(pod);
  return text;
}

const first = (status: PodStatus) => status.containerStatuses![0]!;
const events = (name: string) => bench.events.filter((e) => e.object.name === name);
const reasons = (name: string): string[] => events(name).map((e) => e.reason);

test('identity and privileges: what a process finds that it is and may', async () => {
  const who = await outputOf('who', 'id -u; id -g; id -G; grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; touch /x 2>/dev/null || echo read-only', {
    securityContext: { runAsUser: 1000, runAsGroup: 2000, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } },
  }, { securityContext: { supplementalGroups: [3000], fsGroup: 4000 } });
  const [uid, gid, groups, ...rest] = who.trim().split('\n');
  assert.equal([uid, gid], ['1000', '2000']);
  for (const group of ['2000', '3000', '4000']) assert.ok(groups!.split(' ').includes(group), groups);
  assert.equal(rest.map((line) => line.replace(/\s+/g, ' ')), ['CapEff: 0000000000000000', 'NoNewPrivs: 1', 'Seccomp: 2', 'read-only']);
  assert.match(await outputOf('free', 'grep ^Seccomp: /proc/self/status', { securityContext: { seccompProfile: { type: 'Unconfined' } } }), /Seccomp:\s+0/);
  assert.match(await outputOf('net-admin', 'grep ^CapEff: /proc/self/status', { securityContext: { capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } } }), /0000000000001000/);
});

test('a seccomp profile of the node', async () => {
  await mkdir(join(seccompRoot, 'profiles'), { recursive: true });
  const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }] };
  await writeFile(join(seccompRoot, 'profiles/no-mkdir.json'), JSON.stringify(profile));
  const localhost = (localhostProfile: string) => ({ securityContext: { seccompProfile: { type: 'Localhost', localhostProfile } } });
  assert.match(await outputOf('profile', 'mkdir /tmp/a 2>&1 || echo refused', localhost('profiles/no-mkdir.json')), /Operation not permitted\nrefused/);
  const pod = simplePod('no-profile', localhost('missing.json'));
  await bench.assign(pod);
  const waiting = await bench.until('error', () => first(bench.status('no-profile')).state?.waiting?.reason === 'CreateContainerError' && bench.status('no-profile'));
  assert.match(first(waiting).state!.waiting!.message!, /^cannot load seccomp profile ".*missing\.json": open .*: no such file or directory$/);
  await remove(pod);
});

test('runAsNonRoot holds a container back, in the kubelet\'s words', async () => {
  const pod = simplePod('non-root', {}, { securityContext: { runAsNonRoot: true } });
  await bench.assign(pod);
  const status = await bench.until('error', () => first(bench.status('non-root')).state?.waiting?.reason === 'CreateContainerConfigError' && bench.status('non-root'));
  assert.is(first(status).state!.waiting!.message, `container has runAsNonRoot and image will run as root (pod: "non-root_default(${pod.metadata.uid})", container: main)`);
  await remove(pod);
});

test('sysctls, shared processes, host namespaces', async () => {
  const sysctls = { securityContext: { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '80' }, { name: 'kernel/shm_rmid_forced', value: '1' }] } };
  assert.is(await outputOf('sysctl', 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced', {}, sysctls), '80\n1\n');
  assert.match(await outputOf('shared', 'ps -o args | grep -c "[/]pause" || true', {}, { shareProcessNamespace: true }), /^1\n$/);
  const host = await outputOf('host', 'for one in pid net ipc; do readlink /proc/self/ns/$one; done', {}, { hostNetwork: true, hostPID: true, hostIPC: true });
  const own = await run('readlink', ['/proc/self/ns/pid', '/proc/self/ns/net', '/proc/self/ns/ipc']);
  assert.is(host, own.stdout);
});

test('a pod that the node cannot take is rejected', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const ports = { ports: [{ containerPort: 80, hostPort: port }] };
  const holder = simplePod('holder', ports);
  await bench.assign(holder);
  await bench.phase('holder', 'Running');
  const second = simplePod('second', ports);
  await bench.assign(second);
  const { reason, message, containerStatuses, qosClass } = await bench.phase('second', 'Failed');
  assert.equal([reason, message, containerStatuses, qosClass], ['NodePorts', 'Pod was rejected: Predicate NodePorts failed', undefined, 'BestEffort']);
  assert.equal(events('second').map((e) => [e.type, e.reason, e.message]), [['Warning', 'NodePorts', 'Predicate NodePorts failed']]);
  const unsafe = simplePod('unsafe', {}, { securityContext: { sysctls: [{ name: 'net.core.somaxconn', value: '9' }] } });
  await bench.assign(unsafe);
  assert.is((await bench.phase('unsafe', 'Failed')).reason, 'SysctlForbidden');
  await bench.stop();
  bench.reports.clear();
  await bench.start({ seccompRoot });
  assert.equal([(await bench.phase('holder', 'Running')).phase, (await bench.phase('second', 'Failed')).message], ['Running', message], 'an agent that comes back neither forgets nor asks again');
  for (const pod of [holder, second, unsafe]) await remove(pod);
});

test('an ephemeral container comes into a running pod, in the processes of another', async () => {
  const pod = simplePod('debug', { command: ['sh', '-c', 'exec stay'] });
  await bench.assign(pod);
  await bench.phase('debug', 'Running');
  const debuggers = [
    { name: 'look', image: testImage, command: ['sh', '-c', 'ps -o pid,args; cat /dev/termination-log; exit 3'], targetContainerName: 'main' },
    { name: 'apart', image: testImage, command: ['stay'] },
  ];
  await bench.assign({ ...pod, spec: { ...pod.spec, ephemeralContainers: debuggers } } as Pod);
  const status = await bench.until('debuggers', () => {
    const [look, apart] = bench.status('debug').ephemeralContainerStatuses ?? [];
    return look?.state?.terminated && apart?.state?.running && bench.status('debug');
  });
  const [look] = status.ephemeralContainerStatuses!;
  assert.equal([look!.state!.terminated!.exitCode, look!.state!.terminated!.reason, look!.ready, look!.restartCount], [3, 'Error', false, 0]);
  assert.match(await logOf('debug', 'look'), /^\s+1 .*stay/m);
  assert.is(first(status).restartCount, 0);
  assert.is(status.conditions!.find((c) => c.type === 'Ready')!.status, 'True');
  assert.ok(events('debug').some((e) => e.reason === 'Started' && e.object.fieldPath === 'spec.ephemeralContainers{look}'));
  await remove(pod);
});

test('a postStart hook comes before the containers after it, and ends its own when it fails', async () => {
  const share = { volumeMounts: [{ name: 'share', mountPath: '/share' }] };
  const hook = (command: string) => ({ lifecycle: { postStart: { exec: { command: ['sh', '-c', command] } } } });
  const pod = simplePod('hooks', {}, {
    restartPolicy: 'OnFailure', volumes: [{ name: 'share', emptyDir: {} }],
    containers: [
      { name: 'one', image: testImage, command: ['stay'], ...share, ...hook('touch /share/begun; until [ -e /share/go ]; do sleep 0.1; done; touch /share/done') },
      { name: 'two', image: testImage, command: ['sh', '-c', 'ls /share > /dev/termination-log'], ...share },
    ],
  });
  await bench.assign(pod);
  const started = await bench.until('hook', () => reasons('hooks').includes('Started') && bench.status('hooks'));
  assert.equal([started.phase, first(started).state?.waiting?.reason], ['Pending', 'ContainerCreating']);
  const one = (await bench.containers()).find((c) => c.name.startsWith('k8s_one_hooks'))!;
  assert.not.ok((await bench.containers()).some((c) => c.name.startsWith('k8s_two_hooks')));
  await bench.runtime.exec(one.id, ['touch', '/share/go'], 5000);
  await bench.phase('hooks', 'Running');
  const two = await bench.until('the other', () => bench.status('hooks').containerStatuses?.[1]?.state?.terminated);
  assert.match(two.message!, /^done$/m);
  await remove(pod);
  const bad = simplePod('bad-hook', { command: ['sh', '-c', 'trap "exit 9" TERM; while :; do sleep 0.1; done'], ...hook('echo why; exit 1') }, { restartPolicy: 'Never' });
  await bench.assign(bad);
  assert.is(first(await bench.phase('bad-hook', 'Failed')).state!.terminated!.exitCode, 9);
  const failed = events('bad-hook').find((e) => e.reason === 'FailedPostStartHook')!;
  assert.is(failed.message, 'PostStartHook failed');
  await remove(bad);
});

test('sidecars start in order and end in reverse, after the others', async () => {
  const mounts = { volumeMounts: [{ name: 'share', mountPath: '/share' }] };
  const say = (name: string, more: object = {}) => ({
    name, image: testImage, ...mounts, command: ['sh', '-c', `echo +${name} >> /share/log; trap 'echo -${name} >> /share/log; exit 0' TERM; while :; do sleep 0.1; done`], ...more,
  });
  const folder = await mkdtemp(join(tmpdir(), 'wherry-order-'));
  const sidecar = { restartPolicy: 'Always' };
  const pod = simplePod('order', {}, {
    terminationGracePeriodSeconds: 20, volumes: [{ name: 'share', hostPath: { path: folder } }],
    initContainers: [say('a', { ...sidecar, startupProbe: { exec: { command: ['grep', '+a', '/share/log'] }, periodSeconds: 1 } }), say('b', sidecar)], containers: [say('main')],
  });
  await bench.assign(pod);
  const status = await bench.phase('order', 'Running');
  assert.ok(status.initContainerStatuses!.every((c) => c.started && c.state?.running));
  await bench.delete(pod, 20);
  await bench.gone('order');
  const { stdout } = await run('cat', [join(folder, 'log')]);
  assert.is(stdout.trim().split('\n').join(' '), '+a +b +main -main -b -a');
  await bench.state.drop('pod/default/order');
  await rm(folder, { recursive: true });
});

test('the environment knows the pod, its resources and its own earlier variables', async () => {
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const resource = (name: string, what: string, divisor: string) => ({ name, valueFrom: { resourceFieldRef: { resource: what, divisor } } });
  const text = await outputOf('facts', 'env | sort; echo "args: $0 $1"', {
    args: ['$(NAME)', '$$(NAME)'], workingDir: '/tmp', resources: { limits: { cpu: '250m', memory: '64Mi' }, requests: { cpu: '125m' } },
    env: [
      field('NAME', 'metadata.name'), field('SPACE', 'metadata.namespace'), field('UID_', 'metadata.uid'), field('NODE', 'spec.nodeName'), field('ACCOUNT', 'spec.serviceAccountName'),
      field('HOST', 'status.hostIP'), field('HOSTS', 'status.hostIPs'), field('LABEL', "metadata.labels['app']"), field('NOTE', "metadata.annotations['no/te']"),
      resource('CPU', 'limits.cpu', '1m'), resource('CPUS', 'limits.cpu', '1'), resource('ASKED', 'requests.cpu', '1m'), resource('MEMORY', 'limits.memory', '1Mi'),
      { name: 'BOTH', value: '$(NAME)/$(SPACE) $(LATER) $$(NAME)' }, { name: 'LATER', value: 'x' },
    ],
  }, { serviceAccountName: 'robot' });
  const lines = text.split('\n');
  for (const line of [
    'NAME=facts', 'SPACE=default', 'NODE=node-a', 'ACCOUNT=robot', 'HOST=192.0.2.10', 'HOSTS=192.0.2.10', 'LABEL=', 'NOTE=', 'CPU=250', 'CPUS=1', 'ASKED=125', 'MEMORY=64',
    'BOTH=facts/default $(LATER) $(NAME)', 'PWD=/tmp', 'args: facts $(NAME)',
  ]) assert.ok(lines.includes(line), `${line} in ${lines.join('; ')}`);
});

test('the termination message of a container that fails may be the end of its log', async () => {
  const pod = simplePod('message', { command: ['sh', '-c', 'i=0; while [ $i -lt 200 ]; do echo "line $i"; i=$((i+1)); done; exit 1'], terminationMessagePolicy: 'FallbackToLogsOnError' }, { restartPolicy: 'Never' });
  await bench.assign(pod);
  const { message } = first(await bench.phase('message', 'Failed')).state!.terminated!;
  assert.is(message!.trim().split('\n').length, 80);
  assert.match(message!, /line 199\n$/);
  await remove(pod);
  const long = simplePod('long', { command: ['sh', '-c', 'i=0; while [ $i -lt 600 ]; do echo 0123456789; i=$((i+1)); done > /tmp/why; exit 1'], terminationMessagePath: '/tmp/why' }, { restartPolicy: 'Never' });
  await bench.assign(long);
  assert.is(first(await bench.phase('long', 'Failed')).state!.terminated!.message!.length, 4096);
  await remove(long);
});

/** `pod:secret`, by bcrypt. */
const htpasswd = 'pod:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';

interface Registry { readonly host: string; readonly process: ChildProcess; readonly folder: string }

async function startRegistry(): Promise<Registry> {
  const folder = await mkdtemp(join(tmpdir(), 'wherry-registry-'));
  const { stdout } = await run('bash', ['test/e2e/registry.sh']);
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await writeFile(join(folder, 'htpasswd'), htpasswd);
  await writeFile(join(folder, 'config.yml'), JSON.stringify({
    version: 0.1, storage: { filesystem: { rootdirectory: join(folder, 'data') } }, http: { addr: `127.0.0.1:${port}` }, auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } },
  }));
  const child = spawn(stdout.trim(), ['serve', join(folder, 'config.yml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let heard = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk) => { if ((heard += String(chunk)).includes('listening on')) resolve(); });
    child.on('exit', () => reject(new Error(`the registry ended: ${heard}`)));
  });
  return { host: `127.0.0.1:${port}`, process: child, folder };
}

async function push(registry: Registry, image: string): Promise<void> {
  const config = join(registry.folder, 'docker');
  await mkdir(config);
  await writeFile(join(config, 'config.json'), JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from('pod:secret').toString('base64') } } }));
  await run('docker', ['tag', testImage, image]);
  await run('docker', ['--config', config, 'push', '-q', image]);
  await run('docker', ['rmi', image]);
}

const pullSecret = (name: string, host: string, password: string) => ({
  type: 'secret' as const, revision: 1, object: {
    apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: 'default' }, type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths: { [host]: { username: 'pod', password } } })).toString('base64') },
  } as Secret,
});

test('images of a private registry', async () => {
  const registry = await startRegistry();
  const image = `${registry.host}/team/app:1`;
  try {
    await push(registry, image);
    await bench.state.put(pullSecret('wrong', registry.host, 'nonsense'), pullSecret('right', `${registry.host}/team`, 'secret'));
    const none = simplePod('stranger', { image, imagePullPolicy: 'Always' }, { imagePullSecrets: [{ name: 'missing' }] });
    await bench.assign(none);
    await bench.until('refusal', () => first(bench.status('stranger')).state?.waiting?.reason === 'ErrImagePull');
    assert.match(events('stranger').find((e) => e.reason === 'FailedToRetrieveImagePullSecret')!.message, /^Unable to retrieve some image pull secrets \(missing\)/);
    const pod = simplePod('member', { image, imagePullPolicy: 'Always' }, { imagePullSecrets: [{ name: 'wrong' }, { name: 'right' }] });
    await bench.assign(pod);
    const status = await bench.phase('member', 'Running');
    assert.match(first(status).imageID, new RegExp(`^docker-pullable://${registry.host}/team/app@sha256:[0-9a-f]{64}$`));
    assert.match(events('member').find((e) => e.reason === 'Pulled')!.message, /^Successfully pulled image/);
    // The image is on the node now, but a registry that says no is not one that cannot be reached.
    const denied = simplePod('denied', { image, imagePullPolicy: 'Always' }, { imagePullSecrets: [{ name: 'wrong' }] });
    await bench.assign(denied);
    await bench.until('refusal', () => first(bench.status('denied')).state?.waiting?.reason === 'ErrImagePull');
    const never = simplePod('never-pull', { image: `${registry.host}/team/other:1`, imagePullPolicy: 'Never' });
    await bench.assign(never);
    const held = await bench.until('never', () => first(bench.status('never-pull')).state?.waiting?.reason === 'ErrImageNeverPull' && bench.status('never-pull'));
    assert.is(first(held).state!.waiting!.message, `Container image "${registry.host}/team/other:1" is not present with pull policy of Never`);
    for (const one of [none, pod, denied, never]) await remove(one);
  } finally {
    registry.process.kill();
    await run('docker', ['rmi', '-f', image]).catch(() => undefined);
    await rm(registry.folder, { recursive: true, force: true });
  }
});

test.run();
