import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RuntimeError } from '../../../agent/runtime/runtime.ts';
import { podOf } from '../../fakes/pod.ts';
import { FakeNode } from './fake-node.ts';

/** An agent whose state lost something: what runs is left alone until the master has spoken, and then taken over. */
const test = suite('adoption');
const pod = (name: string) => podOf(name, { containers: [{ name: 'a', image: 'a:1' }] });

test('containers of pods that a healed state does not know run on, and are adopted with their history', async () => {
  const node = new FakeNode();
  await node.start();
  await node.assign(pod('kept'), pod('lost'), pod('old'));
  await node.crash('lost');
  const before = ['kept', 'lost', 'old'].map((name) => node.running(name)[0]?.id);
  const lost = node.state.items.get('pod/default/lost')!;
  await node.stop();
  node.state.items.delete('pod/default/lost');
  node.state.items.delete('pod/default/old');
  node.state.notes.clear();
  let linked = false;
  await node.start({ mayRemove: () => linked });
  await node.pass(120_000);
  assert.equal(['kept', 'lost', 'old'].map((name) => node.running(name)[0]?.id), before, 'nothing is removed');
  await node.state.put({ ...lost, revision: 9 });
  linked = true;
  node.manager.linkChanged();
  await node.pass(1000);
  assert.is(node.running('lost')[0]?.id, before[1]);
  assert.is(node.running('lost').length, 1);
  assert.is(node.status('lost').containerStatuses?.[0]?.restartCount, 1);
  assert.is(node.containers('old').length, 0, 'what the master does not speak of goes');
  await node.cleanUp();
});

test('volumes of pods that are gone go when the master has spoken, though the agent started without it', async () => {
  const root = await mkdtemp(join(tmpdir(), 'adoption-'));
  const node = new FakeNode();
  const stored = { ...pod('kept'), spec: { ...pod('kept').spec, volumes: [{ name: 'v', emptyDir: {} }] } };
  await node.state.put({ type: 'pod', revision: 1, object: stored });
  await mkdir(join(root, 'pods', 'uid-lost', 'volumes', 'v'), { recursive: true });
  await node.state.note('pod-status/uid-lost', { phase: 'Running' });
  let linked = false;
  await node.start({ root, mayRemove: () => linked });
  await node.pass(120_000);
  assert.equal((await readdir(join(root, 'pods'))).sort(), ['uid-kept', 'uid-lost'], 'a state that lost something cannot tell');
  linked = true;
  node.manager.linkChanged();
  await node.pass(1000);
  assert.equal(await readdir(join(root, 'pods')), ['uid-kept']);
  assert.not.ok(node.state.notes.has('pod-status/uid-lost'));
  assert.is(node.running('kept').length, 1);
  await node.cleanUp();
  await rm(root, { recursive: true, force: true });
});

test('an agent that has not looked at its engine yet takes no volume away, whatever the link says', async () => {
  const root = await mkdtemp(join(tmpdir(), 'adoption-'));
  const node = new FakeNode();
  await node.state.put({ type: 'pod', revision: 1, object: pod('kept') });
  await mkdir(join(root, 'pods', 'uid-kept', 'volumes', 'v'), { recursive: true });
  const listing = node.runtime.containers.bind(node.runtime);
  node.runtime.containers = () => Promise.reject(new RuntimeError('unreachable', 'down'));
  await node.start({ root });
  node.manager.linkChanged();
  await node.pass(1000);
  assert.equal(await readdir(join(root, 'pods', 'uid-kept', 'volumes')), ['v']);
  node.runtime.containers = listing;
  await node.cleanUp();
  await rm(root, { recursive: true, force: true });
});

test('what the engine can never start, since it died while it did, is thrown away for another', async () => {
  for (const wrecked of ['POD', 'a']) {
    const node = new FakeNode();
    let wreck: string | undefined;
    const discarded: string[] = [];
    node.runtime.before = (call, id) => {
      const name = node.runtime.held.get(id)?.details.labels['io.kubernetes.container.name'];
      if (call === 'remove') discarded.push(id);
      if (call !== 'start' || name !== wrecked) return;
      wreck ??= id;
      if (wreck === id) throw new RuntimeError('failed', `task ${id}: already exists`);
    };
    await node.start();
    await node.assign(pod('p'));
    await node.pass(10_000);
    assert.is(node.running('p').length, 1, wrecked);
    assert.is(node.sandboxes('p').length, 1);
    assert.ok(wreck !== undefined && discarded.includes(wreck));
    assert.is(node.status('p').containerStatuses?.[0]?.restartCount, 0, 'that is no restart');
    await node.cleanUp();
  }
});

test.run();
