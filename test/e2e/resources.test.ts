import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Node } from '../../shared/kinds/node.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { parseQuantity } from '../../shared/quantity.ts';
import { clients, Kubectl } from './kubectl-support.ts';
import { buildBusybox, kubectlPath, run, until } from './lab.ts';

/** What pods get, what they may not exceed, what they are told to use (`kubectl top`), and who goes when a node runs short; one node, this machine's engine. */
const test = suite('resources');
const masterProgram = fileURLToPath(new URL('../../master/main.js', import.meta.url));
const agentProgram = fileURLToPath(new URL('../../agent/main.js', import.meta.url));
const port = 27_430;
const image = 'wherry-test/busybox:1';
const kept = ['--kube-reserved', 'cpu=100m,memory=64Mi', '--system-reserved', 'memory=32Mi', '--max-pods', '12', '--eviction-pressure-transition-period', '1s'];

let directory = '';
let master: ChildProcess;
let startMaster = (): void => {};
let agent: ChildProcess;
const kubectls: Kubectl[] = [];
let kubectl: Kubectl;

interface Given { readonly resources?: object; readonly command?: readonly string[]; readonly spec?: object }
const pod = (name: string, { resources = {}, command = ['stay'], spec = {} }: Given = {}): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } },
  spec: { terminationGracePeriodSeconds: 1, restartPolicy: 'Never', containers: [{ name: 'main', image, imagePullPolicy: 'Never', command, resources }], ...spec },
});
const apply = async (...objects: object[]): Promise<void> => { await kubectl.with({ input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }) }, 'apply', '-f', '-'); };
const get = async <T>(...what: string[]): Promise<T> => JSON.parse(await kubectl.ok('get', ...what, '-o', 'json')) as T;
const containerOf = async (name: string): Promise<string> => (await get<Pod>('pod', name)).status?.containerStatuses?.[0]?.containerID?.replace('docker://', '') ?? '';
const condition = async (type: string): Promise<string | undefined> => (await get<Node>('node', 'resources')).status.conditions?.find((one) => one.type === type)?.status;
const ended = (name: string): Promise<Pod> => until(`${name} has ended`, 90_000, async () => {
  const found = await get<Pod>('pod', name);
  return found.status?.phase === 'Failed' && found;
});

function start(...args: string[]): ChildProcess {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(join(directory, 'log'), { flags: 'a' });
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  return child;
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => { child.once('exit', resolve); });
  child.kill('SIGTERM');
  await gone;
}

async function startAgent(...flags: string[]): Promise<void> {
  const token = agent ? [] : ['--token', (await run(process.execPath, [masterProgram, 'token', 'create', '--data-dir', join(directory, 'master')])).trim()];
  await end(agent);
  agent = start(agentProgram, '--config', 'none', '--master', `wss://127.0.0.1:${port}`, ...token, '--node-name', 'resources', '--node-ip', '127.0.0.1', '--data-dir', join(directory, 'agent'), ...kept, ...flags);
}

test.before(async () => {
  await buildBusybox();
  directory = await mkdtemp(join(tmpdir(), 'wherry-resources-'));
  const masterData = join(directory, 'master');
  const kubeconfig = join(masterData, 'admin.kubeconfig');
  startMaster = () => { master = start(masterProgram, 'master', '--data-dir', masterData, '--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--port', String(port), '--service-cidr', '10.124.0.0/24'); };
  startMaster();
  const path = await kubectlPath();
  await until('the master is ready', 60_000, () => run(path, ['--kubeconfig', kubeconfig, 'get', '--raw', '/readyz']).then((text) => text.startsWith('ok')));
  for (const name of clients) kubectls.push(new Kubectl({ name, path: await kubectlPath(name), kubeconfig, namespace: 'default', files: directory }));
  kubectl = kubectls.at(-1)!;
  // A small disk of the agent's own, for volumes.
  await mkdir(join(directory, 'agent'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', join(directory, 'agent')]);
  await startAgent('--eviction-hard', 'memory.available<1Mi');
  await until('the node is ready', 60_000, async () => await condition('Ready') === 'True');
});

test.after(async () => {
  if (process.env['DEBUG']) process.stderr.write(await readFile(join(directory, 'log'), 'utf8').catch(() => ''));
  await end(agent);
  await end(master);
  await run('bash', ['-c', 'docker ps -aq --filter "label=io.wherry.owner=$0" | xargs -r docker rm -f', join(directory, 'agent')]);
  await run('ip', ['route', 'del', 'local', '10.124.0.0/24', 'dev', 'lo']).catch(() => '');
  await run('umount', ['-l', join(directory, 'agent')]).catch(() => '');
  await rm(directory, { recursive: true, force: true });
});

test('a node says what it has and what of it is for pods', async () => {
  const { status: { capacity = {}, allocatable = {} } } = await get<Node>('node', 'resources');
  const less = (resource: string): number => parseQuantity(capacity[resource]!) - parseQuantity(allocatable[resource]!);
  assert.equal([capacity['pods'], allocatable['pods']], ['12', '12']);
  assert.ok(Math.abs(less('cpu') - 0.1) < 1e-9, allocatable['cpu']);
  assert.ok(Math.abs(less('memory') - 97 * 2 ** 20) <= 1024, allocatable['memory']);
});

test('limits and requests are what the engine and the kernel go by', async () => {
  const of = { cpu: '250m', memory: '32Mi' };
  await apply(pod('bounded', { resources: { requests: of, limits: of } }), pod('best'));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/bounded', 'pod/best', '--timeout=90s');
  const inspect = async (name: string, format: string): Promise<string> => (await run('docker', ['inspect', '-f', format, await containerOf(name)])).trim();
  const limits = '{{with .HostConfig}}{{.CpuShares}} {{.CpuPeriod}} {{.CpuQuota}} {{.Memory}} {{.MemorySwap}}{{end}}';
  assert.is(await inspect('bounded', limits), '256 100000 25000 33554432 33554432');
  assert.is(await inspect('best', limits), '2 0 0 0 0');
  const inside = await kubectl.ok('exec', 'bounded', '--', 'sh', '-c', 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us');
  assert.match(inside, /^33554432\n25000( 100000)?\n$/);
  assert.equal([(await get<Pod>('pod', 'bounded')).status?.qosClass, (await get<Pod>('pod', 'best')).status?.qosClass], ['Guaranteed', 'BestEffort']);
  assert.is((await kubectl.ok('exec', 'best', '--', 'cat', '/proc/1/oom_score_adj')).trim(), '1000');
});

test('more memory than the limit ends a container: OOMKilled, 137', async () => {
  await apply(pod('greedy', { command: ['tail', '/dev/zero'], resources: { limits: { memory: '16Mi' } } }));
  const { state } = (await ended('greedy')).status!.containerStatuses![0]!;
  assert.equal([state?.terminated?.reason, state?.terminated?.exitCode], ['OOMKilled', 137]);
  await kubectl.ok('delete', 'pod', 'greedy');
});

test('kubectl top, of three generations, against what docker says', async () => {
  await apply(pod('busy', { command: ['sh', '-c', 'while :; do :; done'], resources: { limits: { cpu: '200m', memory: '32Mi' } } }));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/busy', '--timeout=90s');
  for (const one of kubectls) {
    const [head, ...rows] = (await one.ok('top', 'pods')).trim().split('\n').map((line) => line.split(/\s+/));
    assert.equal(head!.slice(0, 3), ['NAME', 'CPU(cores)', 'MEMORY(bytes)']);
    assert.equal(rows.map(([name]) => name).sort(), ['best', 'bounded', 'busy']);
    assert.match(await one.ok('top', 'nodes'), /^NAME\s+CPU\(cores\)\s+CPU(%|\(%\))\s+MEMORY\(bytes\)\s+MEMORY(%|\(%\))\s*\nresources\s+\d+m\s+\d+%\s+\d+Mi\s+\d+%/);
    assert.match(await one.ok('top', 'pod', '-l', 'app=busy', '--containers', '--no-headers'), /^busy\s+main\s+\d+m\s+\d+Mi/);
    assert.match(await one.ok('top', 'pods', '-A', '--sort-by=cpu', '--no-headers'), /^default\s+busy\s/);
  }
  const metrics = JSON.parse(await kubectl.ok('get', '--raw', '/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/busy')) as { containers: { usage: { cpu: string; memory: string } }[] };
  const { cpu, memory } = metrics.containers[0]!.usage;
  assert.ok(parseQuantity(cpu) > 0.02 && parseQuantity(cpu) < 0.26, `200m at most, not ${cpu}`);
  const docker = (await run('docker', ['stats', '--no-stream', '--format', '{{.MemUsage}}', await containerOf('busy')])).split('/')[0]!.trim();
  const bytes = parseQuantity(docker.replace(/iB$/, 'i').replace(/B$/, ''));
  assert.ok(Math.abs(parseQuantity(memory) - bytes) < 2 ** 20, `${memory} here, ${docker} there`);
  assert.match((await kubectl.run(['top', 'pod', 'nobody'])).stderr, /pods "nobody" not found|podmetrics\.metrics\.k8s\.io "default\/nobody" not found/);
  await kubectl.ok('delete', 'pod', 'busy');
});

test('a node without enough memory evicts, one after the other, who takes most over what it asked for', async () => {
  const request = { requests: { memory: '64Mi' } };
  await apply(pod('modest', { resources: request }), pod('hog', { command: ['sh', '-c', 'head -c 30000000 /dev/zero | sort >/dev/null; x=$(head -c 20000000 /dev/zero | tr "\\0" a); stay'] }));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/modest', 'pod/hog', '--timeout=90s');
  // No machine has as much as this.
  await startAgent('--eviction-hard', 'memory.available<99.9%');
  const first = await until('a pod is evicted', 120_000, async () => {
    const { items } = await get<{ items: Pod[] }>('pods');
    return items.find(({ status }) => status?.reason === 'Evicted');
  });
  assert.is(first.metadata.name, 'hog');
  assert.match(first.status!.message!, /^The node was low on resource: memory\. Threshold quantity: \w+, available: \w+\. Container main was using \w+, request is 0, has larger consumption of memory\. $/);
  const target = first.status!.conditions!.find(({ type }) => type === 'DisruptionTarget');
  assert.equal([first.status!.phase, target?.status, target?.reason], ['Failed', 'True', 'TerminationByKubelet']);
  await until('the condition shows', 60_000, async () => await condition('MemoryPressure') === 'True');
  await until('the taint shows', 60_000, async () => (await get<Node>('node', 'resources')).spec?.taints?.some(({ key }) => key === 'node.kubernetes.io/memory-pressure'));
  const after = await ended('modest');
  assert.is(after.status!.reason, 'Evicted');
  const events = await kubectl.ok('get', 'events', '-A', '--field-selector', 'reason=EvictionThresholdMet', '-o', 'jsonpath={.items[*].message}');
  assert.match(events, /Attempting to reclaim memory/);
  // One that names its node itself passes no scheduler.
  await apply(pod('late', { spec: { nodeName: 'resources' } }));
  const late = await ended('late');
  assert.equal([late.status!.reason, late.status!.message], ['Evicted', 'Pod was rejected: The node had condition: [MemoryPressure]. ']);
});

test('with enough memory again, the node takes pods on, and what was evicted stays so', async () => {
  await startAgent('--eviction-hard', 'memory.available<1Mi');
  await until('the condition is gone', 60_000, async () => await condition('MemoryPressure') === 'False');
  await apply(pod('again'));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/again', '--timeout=90s');
  const modest = (await get<Pod>('pod', 'modest')).status!;
  assert.equal([modest.phase, modest.reason, modest.conditions!.filter(({ type }) => type === 'DisruptionTarget').length], ['Failed', 'Evicted', 1]);
});

test('without a master, who has filled the disk goes, and nobody in vain; the master learns of it when it is back', async () => {
  const writer = (name: string, megabytes: number, spec: object = {}): object => pod(name, {
    spec: {
      volumes: [{ name: 'v', emptyDir: {} }], ...spec,
      containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', `head -c ${megabytes}000000 /dev/zero >/v/file; exec stay`], volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
    },
  });
  await apply(writer('less', 3), writer('most', 8), writer('none', 0), writer('system', 9, { priorityClassName: 'system-node-critical' }));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/less', 'pod/most', 'pod/none', 'pod/system', '--timeout=90s');
  const names = async (): Promise<string[]> => (await run('docker', ['ps', '--filter', `label=io.wherry.owner=${join(directory, 'agent')}`, '--format', '{{.Names}}'])).split('\n').filter((name) => name.startsWith('k8s_main_')).map((name) => name.split('_')[2]!).sort();
  await startAgent('--eviction-hard', 'nodefs.available<40%');
  await end(master);
  assert.equal(await names(), ['again', 'less', 'most', 'none', 'system']);
  // 20 of 40 MB are the pods' own: 8 more leave fewer than 16, and what the largest gives back is enough.
  await run('dd', ['if=/dev/zero', `of=${join(directory, 'agent', 'ballast')}`, 'bs=1M', 'count=8']);
  await until('the largest has gone', 90_000, async () => !(await names()).includes('most'));
  startMaster();
  const most = await until('the master knows', 90_000, async () => {
    const { status } = await get<Pod>('pod', 'most');
    return status?.reason === 'Evicted' && status;
  });
  assert.match(most.message!, /^The node was low on resource: ephemeral-storage\. Threshold quantity: \w+, available: \w+\. $/);
  await until('the condition is gone again', 90_000, async () => await condition('DiskPressure') === 'False');
  assert.equal(await names(), ['again', 'less', 'none', 'system'], 'enough is enough');
});

test('a flag that cannot be is one line', async () => {
  const said = await run(process.execPath, [agentProgram, '--config', 'none', '--eviction-hard', 'memory.free<1Gi']).catch((error: Error) => error.message);
  assert.match(said, /--eviction-hard: eviction signal memory\.free is not supported/);
  assert.not.match(said, /\n\s+at /);
});

test.run();
