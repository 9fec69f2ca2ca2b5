import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RuntimeError, type ContainerDetails } from '../../../agent/runtime/runtime.ts';
import { podOf } from '../../fakes/pod.ts';
import { withNode, type FakeNode } from './fake-node.ts';

/** The engine dies and comes back: what it was doing is done again, what it forgot is found out, and nobody asks it too often. */
const test = suite('engine death');
const pod = (name: string, spec: object = {}) => podOf(name, { containers: [{ name: 'a', image: 'a:1' }], ...spec });
const nameOf = (node: FakeNode, id: string): string | undefined => node.runtime.held.get(id)?.details.labels['io.kubernetes.container.name'];

/** The first start of a container fails, as `fail` does it; returns its id. */
function wreck(node: FakeNode, container: string, fail: (id: string, attempt: number) => void): () => string | undefined {
  let first: string | undefined;
  let attempts = 0;
  node.runtime.before = (call, id) => {
    if (call !== 'start' || nameOf(node, id) !== container) return;
    first ??= id;
    if (first === id) fail(id, attempts++);
  };
  return () => first;
}

/** As Docker marks what it could not start. */
const markFailed = (node: FakeNode, id: string): void => {
  Object.assign(node.runtime.held.get(id)!.details as { -readonly [K in keyof ContainerDetails]: ContainerDetails[K] }, { exitCode: 128, error: `task ${id}: already exists` });
};

for (const container of ['POD', 'a']) {
  for (const restartPolicy of ['Always', 'Never']) {
    test(`${container}, ${restartPolicy}: what runs though the engine says that it never did is killed, removed and made anew, and that is no end of it`, () => withNode(async (node) => {
      const first = wreck(node, container, (id) => {
        node.runtime.strays.add(id);
        markFailed(node, id);
        throw new RuntimeError('failed', `task ${id}: already exists`);
      });
      await node.assign(pod('p', { restartPolicy }));
      await node.pass(3000);
      assert.is(node.running('p').length, 1);
      assert.is(node.sandboxes('p').length, 1);
      assert.is(node.runtime.strays.size, 0);
      assert.not(node.runtime.held.has(first()!));
      assert.is(node.status('p').phase, 'Running');
      assert.is(node.status('p').containerStatuses?.[0]?.restartCount, 0);
      assert.not(node.reasons().includes('Failed'));
    }));
  }
}

test('so is what it was starting when it was last seen, though nothing is left of that', () => withNode(async (node) => {
  const first = wreck(node, 'a', (id, attempt) => {
    if (attempt === 0) throw new RuntimeError('unreachable', 'socket hang up');
    markFailed(node, id);
    throw new RuntimeError('failed', 'id already in use');
  });
  await node.assign(pod('p', { restartPolicy: 'Never' }));
  await node.pass(5000);
  assert.is(node.status('p').phase, 'Running');
  assert.not(node.runtime.held.has(first()!));
}));

test('a sandbox that runs and lets nothing in is replaced', () => withNode(async (node) => {
  let broken: string | undefined;
  node.runtime.before = (call, id) => {
    if (call !== 'start' || nameOf(node, id) !== 'a') return;
    const [sandbox] = node.sandboxes('p');
    broken ??= sandbox?.id;
    if (sandbox?.id !== broken) return;
    markFailed(node, id);
    throw new RuntimeError('failed', 'can\'t join IPC of container: non-shareable IPC');
  };
  await node.assign(pod('p', { restartPolicy: 'Never' }));
  await node.pass(10_000);
  assert.is(node.status('p').phase, 'Running');
  assert.is(node.sandboxes('p').length, 1);
  assert.not(node.runtime.held.has(broken!));
}));

test('what the engine fails to remove is replaced under another name, and keeps no pod from going', () => withNode(async (node) => {
  for (const container of ['POD', 'a']) {
    const stuck = new Set<string>();
    node.runtime.before = (call, id) => {
      if (call === 'start' && nameOf(node, id) === container && stuck.size === 0) {
        node.runtime.strays.add(id);
        stuck.add(id);
      }
      if (!stuck.has(id) || (call !== 'start' && call !== 'remove')) return;
      if (call === 'remove') Object.assign(node.runtime.held.get(id)!.details, { state: 'dead' });
      throw new RuntimeError('failed', call === 'start' ? 'task already exists' : 'failed to remove root filesystem: device or resource busy');
    };
    await node.assign(pod(`p-${container}`.toLowerCase(), { restartPolicy: 'Never' }));
    await node.pass(10_000);
    const name = `p-${container}`.toLowerCase();
    assert.is(node.running(name).length, 1, container);
    assert.is(node.status(name).phase, 'Running');
    assert.ok(node.runtime.held.has([...stuck][0]!));
    await node.state.drop(`pod/default/${name}`);
    await node.pass(60_000);
    assert.equal([...node.manager.pods()].map((one) => one.pod.metadata.name), []);
    for (const id of stuck) node.runtime.held.delete(id);
  }
}));

test('a failure of the engine\'s own counts when it is not the only one', () => withNode(async (node) => {
  let failing = 1;
  let starts = 0;
  node.runtime.before = (call, id) => {
    if (call !== 'start' || nameOf(node, id) !== 'a') return;
    starts++;
    if (starts > failing) return;
    markFailed(node, id);
    throw new RuntimeError('failed', 'OCI runtime create failed');
  };
  await node.assign(pod('once', { restartPolicy: 'Never' }));
  await node.pass(5000);
  assert.is(node.status('once').phase, 'Running');
  [failing, starts] = [Infinity, 0];
  await node.assign(pod('ever', { restartPolicy: 'Never' }));
  await node.pass(5000);
  assert.is(node.status('ever').phase, 'Failed');
  assert.is(starts, 3, 'another container, another sandbox, then its word stands');
}));

test('what cannot be started for a reason of its own fails by its policy', () => withNode(async (node) => {
  wreck(node, 'a', (id) => {
    markFailed(node, id);
    throw new RuntimeError('invalid', 'exec: "nothing": executable file not found');
  });
  await node.assign(pod('p', { restartPolicy: 'Never' }));
  await node.pass(5000);
  assert.is(node.status('p').phase, 'Failed');
  assert.is(node.status('p').containerStatuses?.[0]?.state?.terminated?.reason, 'ContainerCannotRun');
}));

test('an agent that died over a failed start ends what was left of it', () => withNode(async (node) => {
  await node.assign(pod('p'));
  const [one] = node.running('p');
  await node.stop();
  node.runtime.held.delete(one!.id);
  markFailed(node, await node.runtime.create('k8s_a_p', { ...{ Image: 'a:1', HostConfig: {} }, Labels: one!.labels } as never));
  const left = node.containers('p')[0]!.id;
  node.runtime.strays.add(left);
  await node.start();
  await node.pass(1000);
  assert.is(node.runtime.strays.size, 0);
}));

test('a sandbox that ran before its engine died over a second start of it takes what that has left along', () => withNode(async (node) => {
  const one = pod('p', { terminationGracePeriodSeconds: 1 });
  await node.assign(one);
  const [sandbox] = node.sandboxes('p');
  node.runtime.before = (call) => { if (call === 'start') throw new RuntimeError('unreachable', 'socket hang up'); };
  node.runtime.end(sandbox!.id, 255);
  node.runtime.strays.add(sandbox!.id);
  await node.assign({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-01-02T03:05:05Z', deletionGracePeriodSeconds: 1 } });
  await node.pass(60_000);
  assert.equal(node.containers('p'), []);
  assert.is(node.runtime.strays.size, 0);
}));

test('what happened while nobody could tell of it is found: an end, a removal, another address', () => withNode(async (node) => {
  await node.assign(pod('ended'), pod('removed'), pod('moved'));
  node.runtime.die();
  for (const { id } of node.running('ended')) node.runtime.end(id, 1);
  for (const { id } of [...node.running('removed'), ...node.sandboxes('removed')]) node.runtime.held.delete(id);
  const [sandbox] = node.sandboxes('moved');
  (sandbox as { ips: readonly string[] }).ips = ['10.0.0.99'];
  await node.pass(1000);
  for (const name of ['ended', 'removed', 'moved']) assert.is(node.running(name).length, 1, name);
  assert.is(node.status('ended').containerStatuses?.[0]?.restartCount, 1);
  assert.is(node.status('removed').podIP, node.sandboxes('removed')[0]?.ips[0]);
  assert.is(node.status('moved').podIP, '10.0.0.99');
}));

test('while it is away it is asked now and then, not as fast as can be; once it is back, all ends that should', () => withNode(async (node) => {
  const one = pod('stops', { terminationGracePeriodSeconds: 1 });
  await node.assign(one, pod('begins'));
  const calls = new Map<string, number>();
  let away = true;
  node.runtime.die();
  node.runtime.before = (call) => {
    if (!away) return;
    calls.set(call, (calls.get(call) ?? 0) + 1);
    throw new RuntimeError('unreachable', 'connect ENOENT docker.sock');
  };
  await node.assign({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-01-02T03:05:05Z', deletionGracePeriodSeconds: 1 } }, pod('late'));
  await node.pass(60_000);
  for (const [call, count] of calls) assert.ok(count >= 5 && count <= 150, `${call} ${count} times in a minute`);
  assert.ok((calls.get('stop') ?? 0) > 0);
  away = false;
  await node.pass(5000);
  assert.is(node.containers('stops').length, 0);
  assert.is(node.running('late').length, 1);
}));

test('what ended but cannot be removed is asked for again, and not at once', () => withNode(async (node) => {
  await node.assign(pod('p', { terminationGracePeriodSeconds: 1 }));
  let asked = 0;
  node.runtime.before = (call) => {
    if (call !== 'remove') return;
    asked++;
    if (asked < 8) throw new RuntimeError('failed', 'driver "overlay2" failed to remove root filesystem');
  };
  await node.state.drop('pod/default/p');
  await node.pass(3000);
  assert.ok(asked <= 6, `${asked} times`);
  await node.pass(60_000);
  assert.is(node.containers('p').length + node.sandboxes('p').length, 0);
}));

test.run();
