import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podStatus, type StatusInput } from '../../../agent/pods/status.ts';
import { toTime } from '../../../shared/time.ts';
import { podOf } from '../../fakes/pod.ts';
import { at, created, exited, sandbox, view } from './views.ts';

const test = suite('status');
const of = (restartPolicy: string, more: object = {}) => podOf('p', { restartPolicy, containers: [{ name: 'a', image: 'a:1' }], ...more });
const input = (more: Partial<StatusInput>): StatusInput => ({
  pod: of('Always'), views: [], now: at + 2000, monotonicMs: at + 2000, hostIPs: ['192.0.2.1'], waiting: new Map(), probes: new Map(), replacing: new Set(), failure: undefined, ending: false, previous: undefined, ...more,
});
const phase = (more: Partial<StatusInput>) => podStatus(input(more)).phase;
const a = (more: Partial<StatusInput>) => podStatus(input(more)).containerStatuses![0]!;
const condition = (type: string, more: Partial<StatusInput>) => podStatus(input(more)).conditions!.find((c) => c.type === type)!;

test('phases', () => {
  assert.is(phase({}), 'Pending');
  assert.is(phase({ views: [sandbox(), created('a')] }), 'Pending');
  assert.is(phase({ views: [sandbox(), view('a')] }), 'Running');
  assert.is(phase({ views: [sandbox(), exited('a', 1)] }), 'Running');
  assert.is(phase({ pod: of('Never'), views: [exited('a', 0)] }), 'Succeeded');
  assert.is(phase({ pod: of('Never'), views: [exited('a', 2)] }), 'Failed');
  assert.is(phase({ pod: of('OnFailure'), views: [exited('a', 2)] }), 'Running');
  assert.is(phase({ failure: { reason: 'No', message: 'no' } }), 'Failed');
  assert.is(phase({ previous: podStatus(input({ pod: of('Never'), views: [exited('a', 2)] })) }), 'Failed');
});

test('phases with init containers', () => {
  const init = (policy: string) => of(policy, { initContainers: [{ name: 'i', image: 'a:1' }] });
  assert.is(phase({ pod: init('Always'), views: [sandbox(), view('i')] }), 'Pending');
  assert.is(phase({ pod: init('Always'), views: [sandbox(), exited('i', 1)] }), 'Pending');
  assert.is(phase({ pod: init('Never'), views: [exited('i', 1)] }), 'Failed');
  assert.is(phase({ pod: init('Always'), views: [sandbox(), exited('i', 0), view('a')] }), 'Running');
  assert.equal(a({ pod: init('Always'), views: [sandbox(), view('i')] }).state, { waiting: { reason: 'PodInitializing' } });
  assert.equal(a({ pod: of('Always', { initContainers: [{ name: 'i', image: 'i:1' }] }), views: [sandbox(), exited('i', 0)] }).state, { waiting: { reason: 'PodInitializing' } }, 'also when its turn has come');
  assert.is(condition('Initialized', { pod: init('Always'), views: [sandbox(), view('i')] }).message, 'containers with incomplete status: [i]');
});

test('container states', () => {
  assert.equal(a({}).state, { waiting: { reason: 'ContainerCreating' } });
  assert.equal(a({ waiting: new Map([['a', { reason: 'ErrImagePull', message: 'no' }]]) }).state, { waiting: { reason: 'ErrImagePull', message: 'no' } });
  assert.equal(a({ views: [sandbox(), view('a')] }).state, { running: { startedAt: toTime(at) } });
  const ended = (more: object) => a({ pod: of('Never'), views: [exited('a', 1, more)] }).state!.terminated!;
  assert.is(ended({}).reason, 'Error');
  assert.is(ended({ exitCode: 0 }).reason, 'Completed');
  assert.is(ended({ oomKilled: true, exitCode: 137 }).reason, 'OOMKilled');
  assert.equal([ended({ cannotRun: true, message: 'no such file' }).reason, ended({ cannotRun: true, message: 'no such file' }).message], ['ContainerCannotRun', 'no such file']);
  assert.equal([ended({}).containerID, ended({}).finishedAt], ['docker://a-0', toTime(at + 1000)]);
});

test('a container in back-off waits, and its end is its last state', () => {
  const held = a({ views: [sandbox(), exited('a', 1, { attempt: 3, backoffMs: 80_000 })] });
  assert.is(held.state!.waiting!.reason, 'CrashLoopBackOff');
  assert.is(held.state!.waiting!.message, 'back-off 1m20s restarting failed container=a pod=p_default(uid-p)');
  assert.equal([held.lastState!.terminated!.exitCode, held.restartCount, held.ready], [1, 3, false]);
});

test('a restarted container shows how the one before it ended', () => {
  const status = a({ views: [sandbox(), exited('a', 1), view('a', { attempt: 1 })] });
  assert.equal([status.restartCount, status.lastState!.terminated!.exitCode, status.ready], [1, 1, true]);
});

test('readiness is the probes\' to say', () => {
  const pod = of('Always', { containers: [{ name: 'a', image: 'a:1', readinessProbe: { tcpSocket: { port: 80 } } }] });
  const views = [sandbox(), view('a')];
  assert.is(a({ pod, views }).ready, false);
  const probes = new Map([['a-0', { started: true, ready: true, unhealthy: undefined, graceSeconds: undefined }]]);
  assert.is(a({ pod, views, probes }).ready, true);
  assert.is(condition('Ready', { pod, views }).message, 'containers with unready status: [a]');
});

test('a transition time changes with the status only', () => {
  const first = podStatus(input({ views: [sandbox(), view('a')] }));
  const later = podStatus(input({ views: [sandbox(), view('a')], now: at + 99_000, previous: first }));
  assert.equal(later, first);
  const ended = podStatus(input({ views: [sandbox(), exited('a', 1)], now: at + 99_000, previous: first }));
  const time = (type: string) => ended.conditions!.find((c) => c.type === type)!.lastTransitionTime;
  assert.is(time('Ready'), toTime(at + 99_000));
  assert.is(time('Initialized'), toTime(at + 2000));
});

test('a pod that is over keeps its address', () => {
  const previous = podStatus(input({ views: [sandbox(), view('a')] }));
  assert.is(podStatus(input({ pod: of('Never'), views: [exited('a', 0)], previous })).podIP, '10.0.0.2');
});

test('readiness gates', () => {
  const pod = { ...of('Always', { readinessGates: [{ conditionType: 'lb' }, { conditionType: 'quota' }] }), status: { conditions: [{ type: 'quota', status: 'False' }] } } as ReturnType<typeof of>;
  assert.is(condition('Ready', { pod, views: [sandbox(), view('a')] }).message,
    'corresponding condition of pod readiness gate "lb" does not exist., the status of pod readiness gate "quota" is not "True", but False');
  const passed = { ...pod, status: { conditions: [{ type: 'quota', status: 'True' }, { type: 'lb', status: 'True' }] } } as ReturnType<typeof of>;
  assert.is(condition('Ready', { pod: passed, views: [sandbox(), view('a')] }).status, 'True');
});

test('ephemeral containers have a list of their own, and no part in readiness or phase', () => {
  const pod = of('Always', { ephemeralContainers: [{ name: 'd', image: 'a:1' }] });
  const running = podStatus(input({ pod, views: [sandbox(), view('a'), view('d')] }));
  assert.equal([running.phase, running.containerStatuses!.length, running.initContainerStatuses], ['Running', 1, undefined]);
  const { name, ready, started, state } = running.ephemeralContainerStatuses![0]!;
  assert.equal([name, ready, started, state], ['d', false, undefined, { running: { startedAt: toTime(at) } }]);
  const ended = podStatus(input({ pod, views: [sandbox(), view('a'), exited('d', 2)] }));
  assert.equal([ended.phase, ended.ephemeralContainerStatuses![0]!.state!.terminated!.exitCode], ['Running', 2]);
  assert.is(ended.conditions!.find((c) => c.type === 'Ready')!.status, 'True');
});

test('a container whose postStart hook is under way does not count as running', () => {
  const held = podStatus(input({ views: [sandbox(), view('a')], hooks: new Set(['a-0']) }));
  assert.equal([held.phase, held.containerStatuses![0]!.state, held.containerStatuses![0]!.started], ['Pending', { waiting: { reason: 'ContainerCreating' } }, false]);
  const failed = podStatus(input({ views: [sandbox(), exited('a', 143)], waiting: new Map([['a', { reason: 'PostStartHookError', message: 'why' }]]) }));
  assert.equal(failed.containerStatuses![0]!.state, { waiting: { reason: 'PostStartHookError', message: 'why' } });
});

test('of a pod that is over, a container whose turn it was and that never ran has failed', () => {
  const failure = { reason: 'DeadlineExceeded', message: 'why' };
  const unknown = { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown', message: 'The container could not be located when the pod was terminated' } };
  const withInit = of('Never', { initContainers: [{ name: 'i', image: 'i:1' }] });
  const stateOf = (more: Parameters<typeof input>[0]): unknown => podStatus(input({ failure, ending: true, ...more })).containerStatuses![0]!.state;
  assert.equal(stateOf({ views: [sandbox()] }), unknown);
  assert.equal(stateOf({ pod: withInit, views: [sandbox(), exited('i', 0)] }), unknown);
  assert.equal(stateOf({ pod: withInit, views: [sandbox(), exited('i', 143)] }), { waiting: { reason: 'PodInitializing' } });
});

test('a rejected pod has no containers to tell of, in the words of this agent and of the next', () => {
  const failure = { reason: 'NodePorts', message: 'Pod was rejected: Predicate NodePorts failed', rejected: true };
  const status = podStatus(input({ failure, ending: true }));
  assert.equal(status, { phase: 'Failed', reason: 'NodePorts', message: failure.message, startTime: toTime(at + 2000), qosClass: 'BestEffort' });
  assert.equal(podStatus(input({ previous: status, now: at + 9000, ending: true })), status);
});

test('images by what they can be pulled by; resources and mounts as they are in force', () => {
  const container = { name: 'a', image: 'a:1', resources: { limits: { cpu: '1' }, requests: { cpu: '500m' } }, volumeMounts: [{ name: 'v', mountPath: '/v', readOnly: true }] };
  const status = podStatus(input({ pod: of('Always', { containers: [container] }), views: [sandbox(), view('a', { imageDigest: 'a@sha256:0' })] })).containerStatuses![0]!;
  assert.equal([status.imageID, status.allocatedResources, status.resources], ['docker-pullable://a@sha256:0', { cpu: '500m' }, container.resources]);
  assert.equal(status.volumeMounts, [{ name: 'v', mountPath: '/v', readOnly: true, recursiveReadOnly: 'Disabled' }]);
  assert.is(a({ views: [sandbox(), view('a')] }).imageID, 'docker://sha256:1');
});

test.run();
