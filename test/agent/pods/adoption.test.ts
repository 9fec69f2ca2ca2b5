import { suite } from 'uvu';
import * as assert from 'uvu/assert';
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

test.run();
