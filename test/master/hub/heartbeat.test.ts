import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep } from '../../../shared/clock.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { decodeMessage } from '../../../shared/protocol.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';

const test = suite('heartbeat');

const never = { baseMs: 1e9, maxMs: 1e9, healthyMs: 0 };

async function clusterWith(graceMs: number): Promise<LinkedCluster> {
  const cluster = new LinkedCluster();
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster({ graceMs });
  return cluster;
}

for (const graceMs of [4_000, 40_000, 300_000]) {
  test(`silence is cheap, and a death is noticed within a grace of ${graceMs / 1000} s and one second`, async () => {
    const cluster = await clusterWith(graceMs);
    const { clock, hub, frames } = cluster;
    const agent = cluster.startAgent('n1', new MemoryState(), { random: () => 0.999, backoff: never });
    agent.session.setNode(nodeOf('n1'));
    assert.ok(await clock.pass(5000, () => hub.isConnected('n1')));
    await clock.pass(graceMs);

    frames.splice(0);
    const graces = 30;
    await clock.pass(graces * graceMs);
    const sent = frames.filter(({ from }) => from === 0).map(({ frame }) => decodeMessage(frame, 'agent').name);
    assert.equal([...new Set(sent)], ['heartbeat']);
    assert.ok(sent.length <= Math.ceil(graces / (3 / 8)), `${sent.length} heartbeats in ${graces} times the grace`);
    assert.ok(hub.isConnected('n1'), 'and it is alive all the while');

    // Just after a sign of life, when it takes longest, and long after one.
    cluster.links.get('n1')!.cut();
    const heardMs = hub.lastSeen('n1')!;
    assert.ok(await clock.pass(2 * graceMs, () => !hub.isConnected('n1')));
    const noticedMs = clock.monotonic() - heardMs;
    assert.ok(noticedMs >= graceMs && noticedMs <= graceMs + 1000, `noticed ${noticedMs} ms after the last sign of life`);
    await agent.stop();
    await cluster.stopMaster();
  });
}

test('one heartbeat that is lost does not cost an agent its session, nor one that is late', async () => {
  const cluster = await clusterWith(40_000);
  const { clock, hub } = cluster;
  const agent = cluster.startAgent('n1', new MemoryState());
  assert.ok(await clock.pass(5000, () => hub.isConnected('n1')));
  await clock.pass(60_000);
  // The way breaks without a word, between two heartbeats; the agent finds out by the answer that is missing.
  cluster.links.get('n1')!.cut();
  const cutMs = clock.monotonic();
  const lost: number[] = [];
  await clock.pass(120_000, () => {
    if (clock.monotonic() - hub.lastSeen('n1')! > 40_000) lost.push(clock.monotonic());
    return clock.monotonic() - cutMs > 60_000;
  });
  assert.equal(lost, [], 'the node is heard of again before its grace is over');
  await agent.stop();
  await cluster.stopMaster();
});

test('a stream that trickles, and to which the master has nothing to say, does not cost the session', async () => {
  const cluster = await clusterWith(40_000);
  const { clock, hub } = cluster;
  const agent = cluster.startAgent('n1', new MemoryState(), {
    async *openStream(_, signal) {
      while (!signal.aborted) {
        yield Buffer.from('tick\n');
        await sleep(clock, 1000, signal);
      }
    },
  });
  assert.ok(await clock.pass(5000, () => hub.isConnected('n1')));
  const stream = hub.openStream('n1', { type: 'logs', namespace: 'default', pod: 'p', uid: 'u', container: 'c', follow: true, previous: false, timestamps: false });
  let ticks = 0;
  let ended = '';
  void (async () => { for await (const bytes of stream) ticks += bytes.length / 5; })().catch((error: Error) => { ended = error.message; });
  await clock.pass(300_000);
  assert.is(ended, '');
  assert.ok(ticks >= 299, `${ticks} ticks in 300 s`);
  await agent.stop();
  await cluster.stopMaster();
});

test.run();
