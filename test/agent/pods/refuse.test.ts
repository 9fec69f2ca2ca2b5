import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podOf } from '../../fakes/pod.ts';
import { FakeNode } from './fake-node.ts';

const test = suite('refuse');
const refused = podOf('odd', { hostUsers: false, containers: [{ name: 'a', image: 'a:1' }] });
const message = 'spec.hostUsers false: user namespaces per pod are not served';

test('a pod with a field that is not served fails like one that the node rejected, across agents', async () => {
  const node = new FakeNode();
  await node.start();
  await node.assign(refused);
  const { startTime, ...status } = node.status('odd');
  assert.equal(status, { phase: 'Failed', reason: 'UnsupportedField', message, qosClass: 'BestEffort' }, 'no container that is ContainerCreating for ever');
  await node.stop();
  await node.start();
  await node.pass(1000);
  assert.equal(node.status('odd'), { startTime, ...status });
  assert.is(node.containers('odd').length, 0);
  await node.cleanUp();
});

test.run();
