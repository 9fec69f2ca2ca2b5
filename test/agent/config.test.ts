import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, loadConfigFile, readAgentConfig, readConfigText } from '../../agent/config.ts';

const test = suite('agent config');

const messageOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
};

test('flags override the file, and the file the defaults', () => {
  const file = readConfigText('{"master":"wss://a.example:6443","nodeName":"from-file","dataDir":"/data","logLevel":"warn"}', 'f');
  const config = readAgentConfig({ nodeName: 'from-flag', nodeIp: '192.0.2.7' }, file);
  assert.equal([config.master, config.nodeName, config.nodeIP, config.dataDir, config.logLevel], ['https://a.example:6443', 'from-flag', '192.0.2.7', '/data', 'warn']);
  assert.is(readAgentConfig({ nodeIp: '192.0.2.7' }).dataDir, '/var/lib/wherry/agent');
});

test('what is wrong in a file is named with its place, in one line', async () => {
  assert.is(await messageOf(() => readConfigText('{"nodeName":"Big"}', '/etc/x.json')), '/etc/x.json: nodeName must consist of lower case letters, digits, "-" and ".", not "Big"');
  assert.match(await messageOf(() => readConfigText('{"nodename":"a"}', '/etc/x.json')), /^\/etc\/x\.json: there is no setting "nodename"; there are: master, /);
  assert.match(await messageOf(() => readConfigText('{"token":"a"}', '/etc/x.json')), /there is no setting "token"/);
  assert.match(await messageOf(() => readConfigText('{', '/etc/x.json')), /^\/etc\/x\.json is not JSON: /);
  assert.match(await messageOf(() => readConfigText('[]', '/etc/x.json')), /^\/etc\/x\.json must hold a JSON object$/);
  for (const text of ['{', '{"nodeIp":1}', '[]', 'null']) assert.not.match(await messageOf(() => readConfigText(text, 'f')), /\n/);
});

test('what is kept from pods, and when they are evicted', async () => {
  const of = (more: object) => readAgentConfig({ nodeIp: '192.0.2.7', ...more }).resources;
  const { maxPods, allotment, eviction } = of({ maxPods: 20, kubeReserved: 'cpu=100m,memory=1Mi', systemReserved: 'memory=1Mi', evictionHard: 'memory.available<1Gi', evictionSoft: 'memory.available<2Gi', evictionSoftGracePeriod: 'memory.available=1m30s', evictionMaxPodGracePeriod: '9', evictionPressureTransitionPeriod: '30s' });
  assert.equal([maxPods, [...allotment.reserved], allotment.thresholds.length], [20, [['cpu', 0.1], ['memory', 2 ** 21]], 1]);
  assert.equal([eviction.thresholds.map(({ graceMs }) => graceMs), eviction.maxGraceSeconds, eviction.transitionMs], [[0, 90_000], 9, 30_000]);
  assert.equal([of({}).maxPods, of({}).eviction.thresholds.length, of({}).eviction.transitionMs, of({ evictionHard: '' }).eviction.thresholds], [110, 5, 300_000, []]);
  assert.is(await messageOf(() => of({ evictionSoft: 'memory.available<2Gi' })), '--eviction-soft: grace period must be specified for the soft eviction threshold memory.available');
  assert.is(await messageOf(() => of({ kubeReserved: 'pods=3' })), '--kube-reserved: cannot reserve "pods" resource');
  assert.match(await messageOf(() => of({ systemReserved: 'cpu=much' })), /^--system-reserved: [^\n]+$/);
  const pids = (podMaxPids?: string | number) => readAgentConfig({ nodeIp: '192.0.2.1', ...(podMaxPids === undefined ? {} : { podMaxPids }) }).podMaxPids;
  assert.equal([pids(), pids(-1), pids('0'), pids('512'), pids(64)], [undefined, undefined, undefined, 512, 64]);
  assert.is(await messageOf(() => pids('-2')), '--pod-max-pids: must be a number of processes, or -1 for no limit, not "-2"');
  assert.is(await messageOf(() => of({ maxPods: 'all' })), '--max-pods: must be a number of pods, not "all"');
  assert.is(await messageOf(() => of({ evictionPressureTransitionPeriod: '5' })), '--eviction-pressure-transition-period: "5" is no duration such as 5m0s');
});

test('a file that is asked for must be there; the usual one need not; "none" is none', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wherry-config-'));
  try {
    const path = join(directory, 'agent.json');
    assert.match(await messageOf(() => loadConfigFile(path)), /^--config: cannot read .*agent\.json: it does not exist$/);
    await writeFile(path, '{"nodeName":"a"}');
    assert.equal(await loadConfigFile(path), { nodeName: 'a' });
    assert.equal(await loadConfigFile('none'), {});
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('flags that cannot be', async () => {
  assert.is(await messageOf(() => readAgentConfig({ nodeIp: 'x' })), '--node-ip: must be an IPv4 address, not "x"');
  assert.match(await messageOf(() => readAgentConfig({ master: 'http://a' })), /^--master: must be an address/);
  assert.match(await messageOf(() => readAgentConfig({ nodeIp: '192.0.2.1', nodeLabels: 'a' })), /^--node-labels: "a" is not of the form/);
  assert.equal(readAgentConfig({ nodeIp: '192.0.2.1', allowedUnsafeSysctls: 'net.core.*, kernel.msgmax' }).allowedUnsafeSysctls, ['net.core.*', 'kernel.msgmax']);
  assert.is(await messageOf(() => readAgentConfig({ nodeIp: '192.0.2.1', allowedUnsafeSysctls: 'vm.swappiness' })), '--allowed-unsafe-sysctls: "vm.swappiness" is not known to be namespaced');
});

test.run();
