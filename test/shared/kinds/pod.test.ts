import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ContainerStatus } from '../../../shared/kinds/container.ts';
import { pods, type Pod } from '../../../shared/kinds/pod.ts';
import { defaultPullPolicy } from '../../../shared/kinds/pod-defaults.ts';
import { cells, changed, made } from '../kind-cases.ts';

const test = suite('pods');
const now = Date.parse('2026-01-02T03:10:00Z');

type Fields = Record<string, unknown>;
const container = (fields: Fields = {}): Fields => ({ name: 'web', image: 'nginx:1.27', ...fields });
const document = (spec: Fields = {}, metadata: Fields = {}): Fields =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', ...metadata }, spec: { containers: [container()], ...spec } });

test('defaults', () => {
  const { object, errors } = made(pods, document({
    volumes: [{ name: 'a' }, { name: 'b', configMap: { name: 'c' } }, { name: 'h', hostPath: { path: '/x' } }],
    containers: [container({ ports: [{ containerPort: 80 }], resources: { limits: { cpu: '0.5', memory: '1Gi' }, requests: { cpu: '100m' } }, readinessProbe: { httpGet: { port: 80 } } })],
  }));
  assert.equal(errors, []);
  assert.equal(object.spec, {
    volumes: [{ name: 'a', emptyDir: {} }, { name: 'b', configMap: { name: 'c', defaultMode: 420 } }, { name: 'h', hostPath: { path: '/x', type: '' } }],
    containers: [{
      name: 'web', image: 'nginx:1.27', ports: [{ containerPort: 80, protocol: 'TCP' }],
      resources: { limits: { cpu: '500m', memory: '1Gi' }, requests: { cpu: '100m', memory: '1Gi' } },
      readinessProbe: { httpGet: { path: '/', port: 80, scheme: 'HTTP' }, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 },
      terminationMessagePath: '/dev/termination-log', terminationMessagePolicy: 'File', imagePullPolicy: 'IfNotPresent',
    }],
    restartPolicy: 'Always', terminationGracePeriodSeconds: 30, dnsPolicy: 'ClusterFirst', securityContext: {}, schedulerName: 'default-scheduler',
    enableServiceLinks: true,
  });
  assert.equal(object.status, { phase: 'Pending', qosClass: 'Burstable' });
});

test('a gated pod says so from the beginning', () => {
  const { object } = made(pods, document({ schedulingGates: [{ name: 'example.com/wait' }] }));
  assert.equal(object.status.conditions, [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message: 'Scheduling is blocked due to non-empty scheduling gates' }]);
  assert.is(cells(pods, object, now)['Status'], 'SchedulingGated');
});

const policies: readonly [image: string, policy: string][] = [
  ['nginx', 'Always'], ['nginx:latest', 'Always'], ['nginx:1.27', 'IfNotPresent'], ['host:5000/nginx', 'Always'], ['host:5000/nginx:1', 'IfNotPresent'],
  [`nginx@sha256:${'0'.repeat(64)}`, 'IfNotPresent'], [`nginx:latest@sha256:${'0'.repeat(64)}`, 'Always'],
];
for (const [image, policy] of policies) test(`${image} is pulled ${policy}`, () => assert.is(defaultPullPolicy(image), policy));

const both = { limits: { cpu: '1', memory: '1Gi' } };
const classes: readonly [what: string, containers: Fields[], expected: string][] = [
  ['no resources', [container()], 'BestEffort'], ['only limits', [container({ resources: both })], 'Guaranteed'],
  ['one container without', [container({ resources: both }), container({ name: 'b' })], 'Burstable'],
  ['lower requests', [container({ resources: { ...both, requests: { cpu: '500m' } } })], 'Burstable'],
];
for (const [what, containers, expected] of classes) test(`quality of service: ${what}`, () => assert.is(made(pods, document({ containers })).object.status.qosClass, expected));

const label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const invalid: readonly [what: string, spec: Fields, errors: string[]][] = [
  ['no containers', { containers: [] }, ['spec.containers: Required value']],
  ['no container list', { containers: null }, ['spec.containers: Required value']],
  ['no name, no image', { containers: [{}] }, ['spec.containers[0].name: Required value', 'spec.containers[0].image: Required value']],
  ['bad name', { containers: [container({ name: 'A' })] }, [`spec.containers[0].name: Invalid value: "A": ${label}`]],
  ['two of a name', { containers: [container(), container()] }, ['spec.containers[1].name: Duplicate value: "web"']],
  ['init container of the same name', { initContainers: [container()] }, ['spec.initContainers[0].name: Duplicate value: "web"']],
  ['port out of range', { containers: [container({ ports: [{ containerPort: 70000 }] })] }, ['spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive']],
  ['port names', { containers: [container({ ports: [{ name: 'a', containerPort: 1 }, { name: 'a', containerPort: 2 }] })] }, ['spec.containers[0].ports[1].name: Duplicate value: "a"']],
  ['host port twice', { containers: [container({ ports: [{ containerPort: 1, hostPort: 80 }] }), container({ name: 'b', ports: [{ containerPort: 2, hostPort: 80 }] })] }, ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"']],
  ['protocol', { containers: [container({ ports: [{ containerPort: 1, protocol: 'X' }] })] }, ['spec.containers[0].ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"']],
  ['restart policy', { restartPolicy: 'Sometimes' }, ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"']],
  ['mount of nothing', { containers: [container({ volumeMounts: [{ name: 'v', mountPath: '/a' }] })] }, ['spec.containers[0].volumeMounts[0].name: Not found: "v"']],
  ['two volume types', { volumes: [{ name: 'v', emptyDir: {}, hostPath: { path: '/' } }] }, ['spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type']],
  ['two volumes of a name', { volumes: [{ name: 'v' }, { name: 'v' }] }, ['spec.volumes[1].name: Duplicate value: "v"']],
  ['steps back', { volumes: [{ name: 'v', hostPath: { path: '/a/../b' } }] }, ['spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain \'..\'']],
  ['two sources of a variable', { containers: [container({ env: [{ name: 'A', value: 'x', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }] })] }, ['spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']],
  ['probe without handler', { containers: [container({ livenessProbe: {} })] }, ['spec.containers[0].livenessProbe: Required value: must specify a handler type']],
  ['probe without port', { containers: [container({ livenessProbe: { tcpSocket: {} } })] }, ['spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive']],
  ['negative delay', { containers: [container({ livenessProbe: { tcpSocket: { port: 1 }, initialDelaySeconds: -1 } })] }, ['spec.containers[0].livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0']],
  ['liveness in an init container', { initContainers: [container({ name: 'i', livenessProbe: { tcpSocket: { port: 1 } } })] }, ['spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always']],
  ['request over limit', { containers: [container({ resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } })] }, ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1']],
  ['a resource that is none', { containers: [container({ resources: { limits: { ram: '2' }, requests: { ram: '1' } } })] }, ['limits', 'requests'].flatMap((list) => [
    `spec.containers[0].resources.${list}[ram]: Invalid value: "ram": must be a standard resource type or fully qualified`,
    `spec.containers[0].resources.${list}[ram]: Invalid value: "ram": must be a standard resource for containers`,
  ])],
  ['another port on the host', { hostNetwork: true, containers: [container({ ports: [{ containerPort: 80, hostPort: 81 }, { containerPort: 82 }] })] }, ['spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true']],
  ['searches that are no names', { dnsConfig: { searches: ['example.com.', '-'], options: [{ value: '1' }] } }, [
    "spec.dnsConfig.searches[1]: Invalid value: \"-\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    'spec.dnsConfig.options[0]: Required value: must not be empty',
  ]],
  ['toleration of everything', { tolerations: [{ operator: 'Equal' }] }, ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"']],
  ['no terms', { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } } }, ['spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term']],
  ['Localhost without a profile', { securityContext: { seccompProfile: { type: 'Localhost' } } }, ['spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost ']],
  ['a profile without Localhost', { containers: [container({ securityContext: { seccompProfile: { type: 'RuntimeDefault', localhostProfile: 'a' } } })] }, ['spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "a": can only be set when seccomp type is Localhost']],
  ['a profile outside', { containers: [container({ securityContext: { seccompProfile: { type: 'Localhost', localhostProfile: '../a' } } })] }, ['spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "../a": must not contain \'..\'']],
  ['AppArmor without a profile', { securityContext: { appArmorProfile: { type: 'Localhost' } } }, ['spec.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost']],
  ['a sysctl twice', { securityContext: { sysctls: [{ name: 'a.b', value: '1' }, { name: 'a.b', value: '2' }] } }, ['spec.securityContext.sysctls[1].name: Duplicate value: "a.b"']],
  ['no sysctl', { securityContext: { sysctls: [{ name: 'A', value: '1' }] } }, ['spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$']],
  ['two kinds of shared processes', { shareProcessNamespace: true, hostPID: true }, ['spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled']],
  ['an unknown system', { os: { name: 'plan9' } }, ['spec.os.name: Unsupported value: "plan9": supported values: "linux", "windows"']],
  ['Windows on Linux', { os: { name: 'linux' }, securityContext: { windowsOptions: { hostProcess: true } } }, ['spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod']],
  ['a sleep beyond the grace', { terminationGracePeriodSeconds: 5, containers: [container({ lifecycle: { preStop: { sleep: { seconds: 6 } } } })] }, ['spec.containers[0].lifecycle.preStop.sleep: Invalid value: 6: must be greater than 0 and less than terminationGracePeriodSeconds (5). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep.']],
  ['mounts that travel', { volumes: [{ name: 'v', emptyDir: {} }], containers: [container({ volumeMounts: [{ name: 'v', mountPath: '/v', mountPropagation: 'Bidirectional' }] })] }, ['spec.containers[0].volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers']],
  ['recursively read-only, but writable', { volumes: [{ name: 'v', emptyDir: {} }], containers: [container({ volumeMounts: [{ name: 'v', mountPath: '/v', recursiveReadOnly: 'Enabled' }] })] }, ['spec.containers[0].volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly is true']],
];
for (const [what, spec, errors] of invalid) test(`refused: ${what}`, () => assert.equal(made(pods, document(spec)).errors, errors));

test('what is allowed and likely a mistake is told to who creates a pod', () => {
  const env = (...list: [value?: string, valueFrom?: object][]): Fields[] => list.map(([value, valueFrom]) => ({ name: 'A', ...(valueFrom ? { valueFrom } : { value: value ?? '' }) }));
  const field = { fieldRef: { fieldPath: 'metadata.name' } };
  const { object, errors } = made(pods, document({
    terminationGracePeriodSeconds: -1, nodeSelector: { 'beta.kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' },
    initContainers: [container({ name: 'i', env: env(['1'], ['$(A)2'], ['$(A)'], ['3'], ['', field]) })],
    containers: [
      container({ resources: { limits: { memory: '1.5' } }, ports: [{ containerPort: 80 }, { containerPort: 80 }, { containerPort: 80, protocol: 'UDP' }] }),
      container({ name: 'b', ports: [{ containerPort: 80, hostPort: 8080 }] }),
    ],
  }));
  assert.equal(errors, []);
  const hides = (index: number): string => `spec.initContainers[0].env[${index}]: hides previous definition of "A", which may be dropped when using apply`;
  assert.equal(pods.warnings?.(object, undefined), [
    'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
    'spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1',
    hides(2), hides(3), hides(4),
    ...['limits', 'requests'].map((list) => `spec.containers[0].resources.${list}[memory]: fractional byte value "1500m" is invalid, must be an integer`),
    'spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]',
    'spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]',
    'spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[1]',
  ]);
  assert.equal(pods.warnings?.(object, object), []);
});

test('a pod without a spec', () => assert.equal(made(pods, { metadata: { name: 'a' } }).errors, ['spec.containers: Required value']));

const fixed = 'spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';
const before: Fields = { tolerations: [{ key: 'a', operator: 'Exists' }], activeDeadlineSeconds: 10 };
const updates: readonly [what: string, spec: Fields, errors: string[]][] = [
  ['nothing', {}, []],
  ['an image', { containers: [container({ image: 'nginx:1.28' })] }, []],
  ['a command', { containers: [container({ command: ['x'] })] }, [fixed]],
  ['the node', { nodeName: 'n' }, [fixed]],
  ['a shorter deadline', { activeDeadlineSeconds: 5 }, []],
  ['a longer deadline', { activeDeadlineSeconds: 20 }, ['spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value']],
  ['one more toleration', { tolerations: [{ key: 'a', operator: 'Exists' }, { key: 'b', operator: 'Exists' }] }, []],
  ['one toleration less', { tolerations: [] }, ['spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds']],
  ['one container more', { containers: [container(), container({ name: 'b' })] }, ['spec.containers: Forbidden: pod updates may not add or remove containers']],
  ['a gate', { schedulingGates: [{ name: 'g' }] }, ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"]],
];
for (const [what, spec, errors] of updates) {
  test(`update of ${what}`, () => assert.equal(changed(pods, made(pods, document(before)).object, document({ ...before, ...spec })).errors, errors));
}

function pod(change: (pod: Pod) => void, spec: Fields = {}): Pod {
  const { object } = made(pods, document({ nodeName: 'n1', ...spec }, { creationTimestamp: '2026-01-02T03:00:00Z' }));
  change(object);
  return object;
}
const status = (fields: Partial<ContainerStatus> = {}): ContainerStatus => ({ name: 'web', ready: false, restartCount: 0, image: '', imageID: '', ...fields });
const running = { running: { startedAt: '2026-01-02T03:00:00Z' } };
const ended = (exitCode: number, reason?: string) => ({ terminated: { exitCode, finishedAt: '2026-01-02T03:08:00Z', ...(reason ? { reason } : {}) } });
const init: Fields = { initContainers: [{ name: 'i1', image: 'x:1' }, { name: 'i2', image: 'x:1' }] };
const sidecar: Fields = { initContainers: [{ name: 's', image: 'x:1', restartPolicy: 'Always' }] };

const statuses: readonly [what: string, expected: [ready: string, status: string, restarts: string], pod: Pod][] = [
  ['pending', ['0/1', 'Pending', '0'], pod(() => undefined)],
  ['creating', ['0/1', 'ContainerCreating', '0'], pod((p) => { p.status.containerStatuses = [status({ state: { waiting: { reason: 'ContainerCreating' } } })]; })],
  ['running', ['1/1', 'Running', '0'], pod((p) => { p.status = { phase: 'Running', containerStatuses: [status({ ready: true, state: running })] }; })],
  ['crashing', ['0/1', 'CrashLoopBackOff', '3 (2m ago)'], pod((p) => { p.status = { phase: 'Running', containerStatuses: [status({ restartCount: 3, state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: ended(1, 'Error') })] }; })],
  ['failed', ['0/1', 'Error', '0'], pod((p) => { p.status = { phase: 'Failed', containerStatuses: [status({ state: ended(1, 'Error') })] }; })],
  ['exit code', ['0/1', 'ExitCode:2', '0'], pod((p) => { p.status = { phase: 'Failed', containerStatuses: [status({ state: ended(2) })] }; })],
  ['completed', ['0/1', 'Completed', '0'], pod((p) => { p.status = { phase: 'Succeeded', containerStatuses: [status({ state: ended(0, 'Completed') })] }; })],
  ['one of two completed, ready', ['1/2', 'Running', '0'], pod((p) => {
    p.status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }], containerStatuses: [status({ state: ended(0, 'Completed') }), status({ name: 'b', ready: true, state: running })] };
  }, { containers: [container(), container({ name: 'b' })] })],
  ['one of two completed, not ready', ['1/2', 'NotReady', '0'], pod((p) => {
    p.status = { phase: 'Running', containerStatuses: [status({ state: ended(0, 'Completed') }), status({ name: 'b', ready: true, state: running })] };
  }, { containers: [container(), container({ name: 'b' })] })],
  ['first init container', ['0/1', 'Init:0/2', '0'], pod((p) => { p.status.initContainerStatuses = [status({ name: 'i1', state: running }), status({ name: 'i2' })]; }, init)],
  ['second init container', ['0/1', 'Init:1/2', '0'], pod((p) => { p.status.initContainerStatuses = [status({ name: 'i1', state: ended(0, 'Completed') }), status({ name: 'i2' })]; }, init)],
  ['init container fails', ['0/1', 'Init:Error', '1 (2m ago)'], pod((p) => { p.status.initContainerStatuses = [status({ name: 'i1', restartCount: 1, state: ended(1, 'Error'), lastState: ended(1, 'Error') })]; }, init)],
  ['init containers done', ['0/1', 'PodInitializing', '0'], pod((p) => {
    p.status.initContainerStatuses = ['i1', 'i2'].map((name) => status({ name, state: ended(0, 'Completed') }));
    p.status.containerStatuses = [status({ state: { waiting: { reason: 'PodInitializing' } } })];
  }, init)],
  ['sidecar', ['2/2', 'Running', '1'], pod((p) => {
    p.status = { phase: 'Running', initContainerStatuses: [status({ name: 's', ready: true, started: true, restartCount: 1, state: running })], containerStatuses: [status({ ready: true, state: running })] };
  }, sidecar)],
  ['terminating', ['1/1', 'Terminating', '0'], pod((p) => { p.metadata.deletionTimestamp = '2026-01-02T03:09:00Z'; p.status = { phase: 'Running', containerStatuses: [status({ ready: true, state: running })] }; })],
  ['deleted after its end', ['0/1', 'Completed', '0'], pod((p) => { p.metadata.deletionTimestamp = '2026-01-02T03:09:00Z'; p.status = { phase: 'Succeeded', containerStatuses: [status({ state: ended(0, 'Completed') })] }; })],
  ['node lost', ['0/1', 'Unknown', '0'], pod((p) => { p.metadata.deletionTimestamp = '2026-01-02T03:09:00Z'; p.status = { phase: 'Running', reason: 'NodeLost' }; })],
  ['evicted', ['0/1', 'Evicted', '0'], pod((p) => { p.status = { phase: 'Failed', reason: 'Evicted' }; })],
  ['gated', ['0/1', 'SchedulingGated', '0'], pod((p) => { p.status.conditions = [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }]; })],
];
for (const [what, [ready, text, restarts], object] of statuses) {
  test(`columns: ${what}`, () => {
    const row = cells(pods, object, now);
    assert.equal([row['Ready'], row['Status'], row['Restarts'], row['Age'], row['Node']], [ready, text, restarts, '10m', 'n1']);
  });
}

test('grace of a deletion', () => {
  const grace = pods.gracePeriodSeconds!;
  const bound = pod((p) => { p.status.phase = 'Running'; });
  assert.is(grace(bound, undefined), 30);
  assert.is(grace(bound, 5), 5);
  assert.is(grace(bound, -1), 1);
  assert.is(grace(pod((p) => { p.status.phase = 'Failed'; }), 5), 0);
  assert.is(grace(made(pods, document()).object, undefined), 0);
});

test.run();
