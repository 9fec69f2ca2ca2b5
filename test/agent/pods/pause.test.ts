import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { unreachableAnnotation } from '../../../shared/unreachable.ts';
import { podOf } from '../../fakes/pod.ts';
import { withNode, type FakeNode } from './fake-node.ts';

/** Pods that stop themselves when there has been no master for some time (wherry.io/unreachable: stop=N). */
const test = suite('pause');
const pod = (name: string, annotation: string | undefined, spec: object = {}) =>
  podOf(name, { containers: [{ name: 'a', image: 'a:1' }], terminationGracePeriodSeconds: 5, ...spec }, annotation ? { annotations: { [unreachableAnnotation]: annotation } } : {});

/** The link goes; time passes for outage and clock alike. */
async function away(node: FakeNode, ms: number): Promise<void> {
  node.outage.ms ??= 0;
  node.manager.linkChanged();
  for (let left = ms; left > 0; left -= 500) {
    await node.pass(Math.min(500, left));
    node.outage.ms += Math.min(500, left);
  }
  await node.pass(500);
}

async function back(node: FakeNode): Promise<void> {
  node.outage.ms = undefined;
  node.manager.linkChanged();
  await node.pass(500);
}

test('stops after its time, others do not, and starts again when the master is back', () => withNode(async (node) => {
  await node.assign(pod('stop', 'stop=20,stay'), pod('stay', 'stay'), pod('plain', undefined));
  await away(node, 19_000);
  assert.is(node.running('stop').length, 1);
  await away(node, 2000);
  assert.is(node.running('stop').length, 0);
  assert.is(node.sandboxes('stop').length, 0, 'its address is free');
  assert.equal([node.running('stay').length, node.running('plain').length], [1, 1]);
  assert.ok(node.outage.kept > 0, 'an agent after this one knows');
  const { phase, containerStatuses, conditions } = node.status('stop');
  assert.is(phase, 'Running');
  assert.equal(containerStatuses?.[0]?.state, { waiting: { reason: 'NodeUnreachable', message: 'stopped after 20 s without a master (wherry.io/unreachable)' } });
  assert.is(containerStatuses?.[0]?.lastState?.terminated?.exitCode, 143);
  assert.is(conditions?.find(({ type }) => type === 'Ready')?.status, 'False');
  assert.ok(node.reasons().includes('NodeUnreachable'));
  await back(node);
  assert.is(node.running('stop').length, 1);
  assert.is(node.status('stop').containerStatuses?.[0]?.restartCount, 1);
  assert.is(node.status('stop').conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
}));

test('an outage that ends in time stops nothing', () => withNode(async (node) => {
  await node.assign(pod('stop', 'stop=20'));
  const [before] = node.running('stop');
  for (let round = 0; round < 3; round++) {
    await away(node, 15_000);
    await back(node);
  }
  assert.is(node.running('stop')[0]?.id, before?.id);
}));

test('stays stopped in an agent that starts during the outage, also after a reboot', () => withNode(async (node) => {
  await node.assign(pod('stop', 'stop=20'));
  await away(node, 21_000);
  for (const rebooted of [false, true]) {
    await node.stop();
    if (rebooted) for (const id of [...node.runtime.held.keys()]) node.runtime.held.delete(id);
    node.reports.clear();
    await node.start();
    await away(node, 1000);
    assert.is(node.running('stop').length, 0);
    assert.is(node.status('stop').containerStatuses?.[0]?.state?.waiting?.reason, 'NodeUnreachable');
  }
  await back(node);
  assert.is(node.running('stop').length, 1);
}));

test('a stopped pod that is another node\'s by then is not started', () => withNode(async (node) => {
  await node.assign(pod('stop', 'stop=20'));
  await away(node, 21_000);
  await node.state.drop('pod/default/stop');
  await back(node);
  assert.is(node.containers('stop').length, 0);
}));

test('one that is deleted while it is stopped goes', () => withNode(async (node) => {
  const one = pod('stop', 'stop=20');
  await node.assign(one);
  await away(node, 21_000);
  await node.assign({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-01-02T03:05:05Z', deletionGracePeriodSeconds: 5 } });
  await back(node);
  assert.is(node.containers('stop').length, 0);
  assert.is(node.reports.get('stop')?.gone, true);
}));

test('a container in back-off does not begin while it should be stopped', () => withNode(async (node) => {
  await node.assign(pod('stop', 'stop=20'));
  await away(node, 15_000);
  await node.crash('stop');
  await node.crash('stop');
  await away(node, 30_000);
  assert.is(node.running('stop').length, 0);
}));

test('the annotation is followed when it changes', () => withNode(async (node) => {
  const one = pod('stop', 'stop=20');
  await node.assign(one);
  await node.assign({ ...one, metadata: { ...one.metadata, annotations: {} } });
  await away(node, 30_000);
  assert.is(node.running('stop').length, 1);
}));

test('a pod of policy Never that was stopped is over', () => withNode(async (node) => {
  await node.assign(pod('job', 'stop=20', { restartPolicy: 'Never' }));
  await away(node, 21_000);
  await back(node);
  assert.is(node.status('job').phase, 'Failed');
  assert.is(node.running('job').length, 0);
}));

test.run();
