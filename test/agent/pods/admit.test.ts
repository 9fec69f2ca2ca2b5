import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { admit, type AdmitInput } from '../../../agent/pods/admit.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('admit');
const node = {
  name: 'n', ips: [], cpus: 2, memoryBytes: 2 ** 30, labels: { 'kubernetes.io/hostname': 'n', zone: 'a' },
  allocatable: { cpu: '2', memory: '1Gi', 'ephemeral-storage': '0', pods: '3' },
};
const pod = (name: string, container: object = {}, spec: object = {}, metadata: object = {}) => podOf(name, { containers: [{ name: 'a', image: 'a:1', ...container }], ...spec }, metadata);
const why = (asked: ReturnType<typeof pod>, more: Partial<AdmitInput> = {}) => admit({ pod: asked, others: [], node, appArmor: false, unsafeSysctls: [], ...more });
const cpu = (amount: string) => ({ resources: { requests: { cpu: amount } } });

test('resources', () => {
  assert.is(why(pod('p', cpu('2'))), undefined);
  assert.equal(why(pod('p', cpu('2500m'))), { reason: 'OutOfcpu', message: 'Node didn\'t have enough resource: cpu, requested: 2500, used: 0, capacity: 2000' });
  assert.is(why(pod('p', cpu('1')), { others: [pod('q', cpu('1100m'))] })?.message, 'Node didn\'t have enough resource: cpu, requested: 1000, used: 1100, capacity: 2000');
  assert.is(why(pod('p', { resources: { requests: { memory: '2Gi' } } }))?.reason, 'OutOfmemory');
  assert.is(why(pod('p', { resources: { requests: { 'ephemeral-storage': '1Gi' } } })), undefined, 'a disk that was not looked at yet');
  assert.is(why(pod('p'), { others: ['q', 'r', 's'].map((name) => pod(name)) })?.message, 'Node didn\'t have enough resource: pods, requested: 1, used: 3, capacity: 3');
  const init = (amount: string, restartPolicy?: string) => ({ name: `i${amount}`, image: 'a:1', ...cpu(amount), ...(restartPolicy ? { restartPolicy } : {}) });
  assert.is(why(pod('p', cpu('1'), { initContainers: [init('2')] })), undefined, 'init containers go before');
  assert.is(why(pod('p', cpu('1'), { initContainers: [init('1', 'Always'), init('1500m')] }))?.message, 'Node didn\'t have enough resource: cpu, requested: 2500, used: 0, capacity: 2000');
});

test('a node that lacks something', () => {
  const refusal = (pressures: readonly string[]) => ({ reason: 'Evicted', message: `The node had condition: [${pressures.join(' ')}]. ` });
  const memory = ['MemoryPressure'];
  assert.equal(why(pod('p'), { pressures: memory }), refusal(memory));
  assert.is(why(pod('p', cpu('1')), { pressures: memory }), undefined, 'one that says what it needs');
  assert.is(why(pod('p', {}, { tolerations: [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' }] }), { pressures: memory }), undefined);
  assert.is(why(pod('p', {}, { priority: 2_000_000_000 }), { pressures: ['DiskPressure'] }), undefined);
  for (const pressures of [['DiskPressure'], ['PIDPressure'], ['MemoryPressure', 'DiskPressure']]) assert.equal(why(pod('p', cpu('1')), { pressures }), refusal(pressures));
});

test('host ports', () => {
  const ports = (hostPort: number, more: object = {}) => ({ ports: [{ containerPort: 80, hostPort, ...more }] });
  const taken = (a: object, b: object): boolean => why(pod('p', a), { others: [pod('q', b)] })?.message === 'Predicate NodePorts failed';
  assert.ok(taken(ports(80), ports(80)));
  assert.not.ok(taken(ports(80), ports(81)));
  assert.not.ok(taken(ports(80), ports(80, { protocol: 'UDP' })));
  assert.not.ok(taken(ports(80, { hostIP: '10.0.0.1' }), ports(80, { hostIP: '10.0.0.2' })));
  assert.ok(taken(ports(80, { hostIP: '10.0.0.1' }), ports(80)));
});

test('labels of the node, those that it knows itself', () => {
  assert.equal(why(pod('p', {}, { nodeSelector: { zone: 'b' } })), { reason: 'NodeAffinity', message: 'Predicate NodeAffinity failed' });
  assert.is(why(pod('p', {}, { nodeSelector: { 'added.by/api': 'b' } })), undefined);
  const terms = (...list: object[]) => ({ affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: list } } } });
  const zone = (operator: string, ...values: string[]) => ({ matchExpressions: [{ key: 'zone', operator, values }] });
  assert.is(why(pod('p', {}, terms(zone('In', 'b'), zone('In', 'a')))), undefined);
  assert.is(why(pod('p', {}, terms(zone('NotIn', 'a'))))?.reason, 'NodeAffinity');
  assert.is(why(pod('p', {}, terms({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['m'] }] })))?.reason, 'NodeAffinity');
});

test('all labels of the node, once the master has told them', () => {
  const terms = (operator: string, ...values: string[]) => ({ affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'added.by/api', operator, values }] }] } } } });
  const reason = (spec: object, labels: Record<string, string>) => why(pod('p', {}, spec), { node: { name: 'n', ips: [], cpus: 8, memoryBytes: 2 ** 34, labels, labelsComplete: true } })?.reason;
  for (const [operator, values, without, with1] of [
    ['In', ['1'], 'NodeAffinity', undefined], ['NotIn', ['1'], undefined, 'NodeAffinity'], ['Exists', [], 'NodeAffinity', undefined], ['DoesNotExist', [], undefined, 'NodeAffinity'],
    ['Gt', ['0'], 'NodeAffinity', undefined], ['Lt', ['1'], 'NodeAffinity', 'NodeAffinity'],
  ] as const) {
    assert.equal([reason(terms(operator, ...values), {}), reason(terms(operator, ...values), { 'added.by/api': '1' })], [without, with1], operator);
  }
  assert.equal([reason({ nodeSelector: { 'added.by/api': '1' } }, {}), reason({ nodeSelector: { 'added.by/api': '1' } }, { 'added.by/api': '1' })], ['NodeAffinity', undefined]);
});

test('taints of the node: those of effect NoExecute have to be tolerated, for however long', () => {
  const tainted = (...taints: { key: string; value?: string; effect: 'NoExecute' | 'NoSchedule' | 'PreferNoSchedule' }[]) => ({ node: { ...node, taints } });
  const reason = (tolerations: object[] | undefined, more: Partial<AdmitInput>) => why(pod('p', {}, tolerations ? { tolerations } : {}), more)?.reason;
  const gpu = tainted({ key: 'gpu', value: 'yes', effect: 'NoExecute' });
  assert.equal(why(pod('p'), gpu), { reason: 'TaintToleration', message: 'Predicate TaintToleration failed' });
  assert.is(reason(undefined, tainted({ key: 'gpu', effect: 'NoSchedule' }, { key: 'old', effect: 'PreferNoSchedule' })), undefined, 'others are the scheduler\'s affair');
  for (const toleration of [{ operator: 'Exists' }, { key: 'gpu', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 1 }, { key: 'gpu', value: 'yes' }]) assert.is(reason([toleration], gpu), undefined);
  for (const toleration of [{ key: 'gpu', value: 'no' }, { key: 'gpu', operator: 'Exists', effect: 'NoSchedule' }, { key: 'other', operator: 'Exists' }]) assert.is(reason([toleration], gpu), 'TaintToleration');
  assert.is(reason([{ key: 'gpu', operator: 'Exists' }], tainted({ key: 'gpu', effect: 'NoExecute' }, { key: 'more', effect: 'NoExecute' })), 'TaintToleration');
  assert.is(why(pod('p', {}, { nodeSelector: { zone: 'b' } }), gpu)?.reason, 'NodeAffinity', 'what the kubelet finds first is what is said');
});

test('a term of affinity that says nothing means no node', () => {
  const empty = { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{}] } } } };
  assert.is(why(pod('p', {}, empty))?.reason, 'NodeAffinity');
});

test('what the host lacks or forbids', () => {
  assert.equal(why(pod('p', {}, {}, { labels: { 'kubernetes.io/os': 'windows' } })), { reason: 'PodOSSelectorNodeLabelDoesNotMatch', message: 'Failed to admit pod as the `kubernetes.io/os` label doesn\'t match node label' });
  assert.is(why(pod('p', {}, {}, { labels: { 'kubernetes.io/os': 'linux' } })), undefined);
  assert.is(why(pod('p', {}, { os: { name: 'windows' } }))?.reason, 'PodOSNotSupported');
  const sysctls = (...names: string[]) => ({ securityContext: { sysctls: names.map((name) => ({ name, value: '1' })) } });
  assert.is(why(pod('p', {}, sysctls('net.ipv4.ip_unprivileged_port_start', 'kernel/shm_rmid_forced'))), undefined);
  assert.equal(why(pod('p', {}, sysctls('net.core.somaxconn'))), { reason: 'SysctlForbidden', message: 'forbidden sysctl: "net.core.somaxconn" not allowlisted' });
  assert.is(why(pod('p', {}, sysctls('net.core.somaxconn')), { unsafeSysctls: ['net.core.*'] }), undefined);
  assert.is(why(pod('p', {}, { ...sysctls('net.ipv4.tcp_syncookies'), hostNetwork: true }))?.message, 'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled');
  const profile = (type: string) => ({ securityContext: { appArmorProfile: { type } } });
  assert.equal(why(pod('p', profile('RuntimeDefault'))), { reason: 'AppArmor', message: 'Cannot enforce AppArmor: AppArmor is not enabled on the host' });
  assert.is(why(pod('p', profile('RuntimeDefault')), { appArmor: true }), undefined);
  assert.is(why(pod('p', profile('Unconfined'))), undefined);
  assert.is(why(pod('p', {}, {}, { annotations: { 'container.apparmor.security.beta.kubernetes.io/a': 'localhost/x' } }))?.reason, 'AppArmor');
});

test.run();
