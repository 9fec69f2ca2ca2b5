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
