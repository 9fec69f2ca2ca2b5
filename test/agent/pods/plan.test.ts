import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { plan, type PlanInput, type Step } from '../../../agent/pods/plan.ts';
import { podOf } from '../../fakes/pod.ts';
import { at, created, exited, sandbox, view } from './views.ts';

const test = suite('plan');
const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1' }, { name: 'b', image: 'a:1' }] });
const none = { stopping: new Map(), replacing: new Set<string>(), heldUntil: new Map(), probes: new Map(), restartCounts: new Map(), ending: undefined };
const input = (more: Partial<PlanInput>): PlanInput => ({ pod, views: [], now: at + 2000, volumes: 'ready', images: new Set(['a', 'b']), ...none, ...more });

const short = (step: Step): string => [step.type, 'container' in step ? step.container : 'id' in step ? step.id : '', 'attempt' in step && step.attempt > 0 ? `#${step.attempt}` : ''].filter(Boolean).join(' ');
const steps = (more: Partial<PlanInput>): string[] => plan(input(more)).steps.map(short);

const withInit = podOf('p', { containers: [{ name: 'a', image: 'a:1' }], initContainers: [{ name: 'i', image: 'a:1' }, { name: 's', image: 'a:1', restartPolicy: 'Always' }, { name: 'j', image: 'a:1' }] });
const images = new Set(['a', 'b', 'i', 's', 'j']);

const debugged = podOf('p', { containers: [{ name: 'a', image: 'a:1' }], initContainers: [{ name: 'i', image: 'a:1' }], ephemeralContainers: [{ name: 'd', image: 'a:1' }] });
const hooked = podOf('p', { containers: [{ name: 'a', image: 'a:1', lifecycle: { postStart: { exec: { command: ['x'] } } } }, { name: 'b', image: 'a:1' }] });
const twoSidecars = podOf('p', { containers: [{ name: 'a', image: 'a:1' }], initContainers: ['s', 't'].map((name) => ({ name, image: 'a:1', restartPolicy: 'Always' })) });

const table: [string, Partial<PlanInput>, string[]][] = [
  ['nothing there: all that can be done at once', { volumes: 'absent', images: new Set() }, ['prepareVolumes', 'createSandbox', 'ensureImage a', 'ensureImage b']],
  ['a sandbox made: it starts while containers are made', { views: [created('POD', { id: 'box' })] }, ['startSandbox box', 'createContainer a', 'createContainer b']],
  ['a sandbox made, no volumes yet: no containers', { views: [created('POD', { id: 'box' })], volumes: 'absent' }, ['prepareVolumes', 'startSandbox box']],
  ['made but not started, as after a kill of the agent', { views: [sandbox(), created('a'), view('b')] }, ['startContainer a']],
  ['all as it should be', { views: [sandbox(), view('a'), view('b')] }, []],
  ['first crash: at once', { views: [sandbox(), exited('a', 1), view('b')] }, ['createContainer a #1']],
  ['second crash: held back', { views: [sandbox(), exited('a', 1, { attempt: 1, backoffMs: 10_000 }), view('b')] }, []],
  ['a hold after a failure', { views: [sandbox(), view('b')], heldUntil: new Map([['a', at + 9999]]) }, []],
  ['two of a name: one goes', { views: [sandbox(), view('a'), view('a', { id: 'x', attempt: 1 }), view('b')] }, ['remove a-0']],
  ['only the last dead one stays', { views: [sandbox(), exited('a', 1), exited('a', 1, { attempt: 1 }), view('a', { attempt: 2 }), view('b')] }, ['remove a-0']],
  ['a name that the pod does not have', { views: [sandbox(), view('a'), view('b'), view('c')] }, ['remove c-0']],
  ['made for a sandbox that is gone', { views: [sandbox({ id: 'new' }), created('a'), view('b')] }, ['remove a-0']],
  ['the sandbox died: what ran in it ends first', { views: [sandbox({ state: 'exited' }), view('a'), exited('b', 0)] }, ['stop a']],
  ['then it starts again', { views: [sandbox({ state: 'exited' }), exited('a', 137), exited('b', 0)] }, ['startSandbox box']],
  ['a changed image', { views: [sandbox(), view('a', { hash: 'other' }), view('b')] }, ['stop a']],
  ['being stopped already', { views: [sandbox(), view('a', { hash: 'other' }), view('b')], stopping: new Map([['a-0', at + 60_000]]) }, []],
  ['and past its time', { views: [sandbox(), view('a', { hash: 'other' }), view('b')], stopping: new Map([['a-0', at]]) }, ['kill a-0']],
  ['liveness failed', { views: [sandbox(), view('a'), view('b')], probes: new Map([['a-0', { started: true, ready: true, unhealthy: 'liveness', graceSeconds: 3 }]]) }, ['stop a']],
  ['init containers one by one', { pod: withInit, images, views: [sandbox()] }, ['createContainer i']],
  ['init running: wait', { pod: withInit, images, views: [sandbox(), view('i')] }, []],
  ['init done: the sidecar', { pod: withInit, images, views: [sandbox(), exited('i', 0)] }, ['createContainer s']],
  ['sidecar up: the next init container', { pod: withInit, images, views: [sandbox(), exited('i', 0), view('s')] }, ['createContainer j']],
  ['all done: the app', { pod: withInit, images, views: [sandbox(), exited('i', 0), view('s'), exited('j', 0)] }, ['createContainer a']],
  ['init failed: again', { pod: withInit, images, views: [sandbox(), exited('i', 1)] }, ['createContainer i #1']],
  ['after a reboot init containers run again', { pod: withInit, images, views: [sandbox({ startedMs: at + 5000 }), exited('i', 0), exited('s', 137), exited('j', 0), exited('a', 137)] }, ['createContainer i #1']],
  ['init containers that were cleaned away stay so', { pod: withInit, images, views: [sandbox(), view('s'), view('a')] }, []],
  ['deleted: stop all', { views: [sandbox(), view('a'), view('b')], ending: { kind: 'deleted', graceSeconds: 3 } }, ['stop a', 'stop b']],
  ['deleted: then the sidecars', { pod: withInit, images, views: [sandbox(), view('s'), exited('a', 0)], ending: { kind: 'deleted', graceSeconds: 3 } }, ['stop s']],
  ['deleted: then remove', { views: [sandbox(), exited('a', 0), created('b')], ending: { kind: 'deleted', graceSeconds: 3 } }, ['remove box', 'remove a-0', 'remove b-0']],
  ['deleted: then volumes', { ending: { kind: 'deleted', graceSeconds: 3 } }, ['releaseVolumes']],
  ['an ephemeral container waits for nothing', { pod: debugged, images: new Set(['d']), views: [sandbox(), view('i')] }, ['createContainer d']],
  ['it is started once', { pod: debugged, images: new Set(['d']), views: [sandbox(), view('i'), exited('d', 1)] }, []],
  ['and not again when it was cleaned away', { pod: debugged, images: new Set(['d']), views: [sandbox(), view('i')], restartCounts: new Map([['d', 0]]) }, []],
  ['a postStart hook ahead: the others wait', { pod: hooked, views: [sandbox()] }, ['createContainer a']],
  ['while it is under way', { pod: hooked, views: [sandbox(), view('a')], hooks: new Set(['a-0']) }, []],
  ['until it is done', { pod: hooked, views: [sandbox(), view('a')] }, ['createContainer b']],
  ['what cannot start holds up nobody', { pod: hooked, views: [sandbox()], heldUntil: new Map([['a', at + 9999]]) }, ['createContainer b']],
  ['a hook under way again: what runs is looked after', { pod: hooked, views: [sandbox(), view('a', { attempt: 1 }), view('b', { hash: 'other' })], hooks: new Set(['a-1']) }, ['stop b']],
  ['deleted: sidecars one after the other, the last first', { pod: twoSidecars, views: [sandbox(), view('s'), view('t'), exited('a', 0)], ending: { kind: 'deleted', graceSeconds: 3 } }, ['stop t']],
  ['terminal: logs stay, the sandbox goes', { views: [sandbox(), exited('a', 0), exited('b', 0)], ending: { kind: 'terminal', graceSeconds: 3 } }, ['remove box', 'emptyVolumes']],
];

for (const [name, given, expected] of table) test(name, () => assert.equal(steps(given), expected));

test('sidecars have what the others left of the grace', () => {
  const grace = (sinceMs: number): unknown => {
    const [step] = plan(input({ pod: twoSidecars, views: [sandbox(), view('s')], ending: { kind: 'deleted', graceSeconds: 30, sinceMs } })).steps;
    return step?.type === 'stop' && step.graceSeconds;
  };
  assert.equal([grace(at + 2000), grace(at - 8000), grace(at - 99_000)], [30, 20, 2]);
});

test('a pod of policy Never that is done loses its sandbox only', () => {
  const never = podOf('p', { restartPolicy: 'Never', containers: [{ name: 'a', image: 'a:1' }] });
  assert.equal(steps({ pod: never, views: [sandbox(), exited('a', 1)] }), ['remove box', 'emptyVolumes']);
  assert.equal(steps({ pod: never, views: [exited('a', 1)], volumes: 'emptied' }), []);
});

test('OnFailure: a failure is run again, a success is not', () => {
  const onFailure = podOf('p', { restartPolicy: 'OnFailure', containers: [{ name: 'a', image: 'a:1' }, { name: 'b', image: 'a:1' }] });
  assert.equal(steps({ pod: onFailure, views: [sandbox(), exited('a', 1), exited('b', 0)] }), ['createContainer a #1']);
});

test('a container that is told the pod\'s address waits for it', () => {
  const told = podOf('p', { containers: [{ name: 'a', image: 'a:1', env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }] }] });
  assert.equal(steps({ pod: told, views: [created('POD', { id: 'box' })] }), ['startSandbox box']);
  assert.equal(steps({ pod: told, views: [sandbox()] }), ['createContainer a']);
});

test('it asks to be woken when a back-off ends', () => {
  assert.is(plan(input({ views: [sandbox(), exited('a', 1, { attempt: 1, backoffMs: 10_000 }), view('b')] })).wakeAtMs, at + 11_000);
});

test('restart counts go on where containers were removed', () => {
  assert.equal(steps({ views: [sandbox(), view('b')], restartCounts: new Map([['a', 4]]) }), ['createContainer a #5']);
});

test('gone when nothing is left', () => {
  assert.is(plan(input({ volumes: 'absent', ending: { kind: 'deleted', graceSeconds: 0 } })).gone, true);
});

test.run();
