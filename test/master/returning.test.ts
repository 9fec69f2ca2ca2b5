import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { agentProtocol } from '../../shared/enrolment.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { Doorway } from '../../master/api/doorway.ts';
import { nodeLifecycle } from '../../master/controllers/node-lifecycle.ts';
import { returnMs, silentSince } from '../../master/returning.ts';
import { toTime } from '../../shared/time.ts';
import { makePki, until } from '../fakes/tls-master.ts';
import { Cluster, ManualClock } from './controllers/cluster.ts';

const test = suite('returning nodes');

test('silence counts from the last word, else from the last crowd at the door, for ten minutes at most', () => {
  const at = (heard: number | undefined, crowdedMs: number): number => silentSince({ heardMs: () => heard, crowdedMs: () => crowdedMs, startedMs: 5000 }, 'a');
  assert.is(at(7000, 90_000), 7000);
  assert.is(at(undefined, 90_000), 90_000);
  assert.is(at(undefined, -Infinity), -Infinity);
  assert.is(at(undefined, 5000 + returnMs + 1), 5000 + returnMs);
});

test('nodes unheard are not declared lost while agents queue at the door, and are once the queue is gone', async () => {
  const clock = new ManualClock();
  const door = new Doorway({ clock, guests: { protocol: agentProtocol, welcome: () => false, max: 10 } });
  const pki = await makePki();
  const server = createServer({ key: pki.server.key, cert: pki.server.certificate });
  door.guard(server);
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const startedMs = clock.monotonic();
  const cluster = new Cluster({ clock, settings: { lastSeen: (node) => silentSince({ heardMs: () => undefined, crowdedMs: () => door.stats.crowdedMs, startedMs }, node) } });
  await cluster.start([nodeLifecycle()]);
  const time = toTime(clock.now());
  await cluster.create(nodes, '', { metadata: { name: 'a' } });
  await cluster.registry.modify(nodes, '', 'a', (node) => ({ ...node, status: { ...node.status, conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: time, lastTransitionTime: time }] } }), { subresource: 'status' });
  const ready = (): string | undefined => cluster.registry.get(nodes, '', 'a').object.status.conditions?.find(({ type }) => type === 'Ready')?.status;
  const pass = async (seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      clock.advance(1000);
      await cluster.settle(2);
    }
  };
  const agents: TLSSocket[] = [];
  const knock = async (): Promise<void> => {
    agents.push(connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: [agentProtocol] }).on('error', () => {}));
    await until('it waits', () => door.stats.waiting > 0 && door.stats.guests === Math.min(agents.length, 2));
  };
  try {
    // One comes before the other gives up, as in a crowd.
    await knock();
    for (const _ of [1, 2, 3]) {
      await pass(35);
      assert.is(ready(), 'True');
      await knock();
      agents.at(-2)!.destroy();
      await until('the first has gone', () => door.stats.guests === 1);
    }
    agents.at(-1)!.destroy();
    await until('nobody waits', () => door.stats.guests === 0);
    await pass(50);
    await cluster.until(() => ready() === 'Unknown', 'the node is declared lost', 20_000);
  } finally {
    for (const agent of agents) agent.destroy();
    await cluster.stop();
    await new Promise((resolve) => { server.close(resolve); });
  }
});

test.run();
