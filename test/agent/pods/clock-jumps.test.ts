import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podOf } from '../../fakes/pod.ts';
import { withNode } from './fake-node.ts';

/** Somebody sets the machine's clock by a day, or NTP does: nothing that takes time may take more or less of it. */
const test = suite('clock jumps');
const day = 86_400_000;
const pod = (name: string, container: object = {}, spec: object = {}) => podOf(name, { containers: [{ name: 'a', image: 'a:1', ...container }], ...spec });

for (const jump of [-day, day]) {
  const by = jump < 0 ? 'back' : 'forward';

  test(`${by}: a container in back-off is restarted when its time has come`, () => withNode(async (node) => {
    await node.assign(pod('p'));
    await node.crash('p');
    assert.is(node.running('p').length, 1, 'the first restart is at once');
    await node.crash('p');
    assert.is(node.status('p').containerStatuses?.[0]?.state?.waiting?.reason, 'CrashLoopBackOff');
    await node.pass(4000);
    node.clock.jump(jump);
    await node.pass(5000);
    assert.is(node.running('p').length, 0, 'not sooner');
    await node.pass(1500);
    assert.is(node.running('p').length, 1, 'nor later');
  }));

  test(`${by}: back-off goes on growing, in a sandbox that was started by another time`, () => withNode(async (node) => {
    await node.assign(pod('p'));
    node.clock.jump(jump);
    let waited = 0;
    for (const seconds of [0, 10, 20, 40]) {
      await node.crash('p');
      await node.pass(Math.max(0, seconds * 1000 - 500));
      if (seconds > 0) assert.is(node.running('p').length, 0, `${seconds} s`);
      await node.pass(1000);
      assert.is(node.running('p').length, 1, `after ${seconds} s`);
      waited += seconds;
    }
    assert.is(waited, 70);
    assert.is(node.sandboxes('p').length, 1);
  }));

  test(`${by}: an agent that starts after the jump waits no longer than the back-off`, () => withNode(async (node) => {
    await node.assign(pod('p'));
    await node.crash('p');
    await node.crash('p');
    await node.stop();
    node.clock.jump(jump);
    await node.start();
    await node.pass(11_000);
    assert.is(node.running('p').length, 1);
  }));

  test(`${by}: nothing that is healthy ends or begins again`, () => withNode(async (node) => {
    const initContainers = [{ name: 'i', image: 'a:1' }];
    await node.assign(pod('deadline', {}, { activeDeadlineSeconds: 3600 }), pod('init', {}, { initContainers }), pod('probed', { livenessProbe: { exec: { command: ['true'] }, periodSeconds: 5 } }));
    for (const { id, labels } of node.containers('init')) if (labels['io.kubernetes.container.name'] === 'i') node.runtime.end(id, 0);
    await node.pass(1000);
    const before = ['deadline', 'init', 'probed'].flatMap((name) => node.running(name).map(({ id }) => id));
    assert.is(before.length, 3);
    node.clock.jump(jump);
    await node.pass(120_000);
    assert.equal(['deadline', 'init', 'probed'].flatMap((name) => node.running(name).map(({ id }) => id)), before);
    node.clock.jump(-jump);
    await node.pass(120_000);
    assert.equal(['deadline', 'init', 'probed'].flatMap((name) => node.running(name).map(({ id }) => id)), before);
    await node.crash('init');
    assert.is(node.containers('init').filter(({ labels }) => labels['io.kubernetes.container.name'] === 'i').length, 1, 'init containers do not run again');
    await node.pass(3_400_000);
    assert.is(node.status('deadline').reason, 'DeadlineExceeded', 'after an hour by the monotonic clock');
  }));

  test(`${by}: a graceful end takes its grace and no more`, () => withNode(async (node) => {
    const one = pod('p', {}, { terminationGracePeriodSeconds: 20 });
    await node.assign(one);
    // An engine that does not manage to end it.
    node.runtime.stop = async () => {};
    await node.assign({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-01-02T03:05:05Z', deletionGracePeriodSeconds: 20 } });
    node.clock.jump(jump);
    await node.pass(20_000);
    assert.is(node.running('p').length, 1);
    await node.pass(6000);
    assert.is(node.containers('p').length, 0);
  }));

  test(`${by}: a probe keeps its period, and an image that cannot be pulled its back-off`, () => withNode(async (node) => {
    let probes = 0;
    const { exec } = node.runtime;
    node.runtime.exec = (...call) => { probes++; return exec.apply(node.runtime, call); };
    await node.assign(pod('probed', { readinessProbe: { exec: { command: ['true'] }, periodSeconds: 10 } }), pod('missing', { image: 'none:1' }));
    await node.pass(60_000);
    const [probed, pulled] = [probes, node.runtime.pulls];
    node.clock.jump(jump);
    await node.pass(60_000);
    assert.ok(Math.abs(probes - 2 * probed) <= 1, `${probed} probes in a minute, ${probes} in two`);
    assert.ok(node.runtime.pulls - pulled >= 1 && node.runtime.pulls - pulled <= pulled, `${pulled} pulls in a minute, ${node.runtime.pulls} in two`);
  }));
}

test.run();
