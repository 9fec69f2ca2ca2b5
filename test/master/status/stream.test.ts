import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { statusUpgrade } from '../../../master/status-routes.ts';
import { StatusStream } from '../../../master/status/stream.ts';
import { FleetReader, type FleetChange } from '../../../master/status/watch-client.ts';
import { Registry } from '../../../master/registry/registry.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import { systemClock } from '../../../shared/clock.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { silentLog } from '../../../shared/log.ts';
import { until } from '../../e2e/lab.ts';

const test = suite('status stream');

async function started(maxWatchers = 2) {
  const store = openMemoryStore();
  const registry = new Registry({ store, clock: systemClock, random: Math.random, kinds, allocators: [] });
  await registry.create(namespaces, '', { metadata: { name: 'default' } });
  await registry.create(nodes, '', { metadata: { name: 'a' } });
  let links = 0;
  const stream = new StatusStream({
    registry, clock: systemClock, log: silentLog, masterVersion: 'test', coalesceMs: 20, maxWatchers,
    link: () => { links++; return undefined; },
  });
  const abort = new AbortController();
  const running = stream.run(abort.signal);
  const upgrade = statusUpgrade(stream);
  const server = createServer();
  server.on('upgrade', (req, socket, head) => {
    try {
      upgrade.handle(req, socket, head, { name: 'admin', groups: ['system:masters'] });
    } catch (error) {
      socket.end(`HTTP/1.1 ${(error as { code: number }).code} x\r\nConnection: close\r\n\r\n`);
    }
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const connect = (path = '/wherry/v1/status?watch'): WebSocket => new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
  return {
    registry, stream, connect, upgrade, looked: () => links,
    stop: async () => { abort.abort(); await running; server.closeAllConnections(); await new Promise((resolve) => { server.close(resolve); }); },
  };
}

/** Follows a connection; `until` resolves when a change fits. */
function follow(socket: WebSocket): { changes: FleetChange[] } {
  const reader = new FleetReader();
  const changes: FleetChange[] = [];
  socket.on('message', (data) => { const change = reader.take(String(data)); if (change) changes.push(change); });
  return { changes };
}

test('the whole fleet once', async () => {
  const { stream, stop } = await started();
  const status = await stream.get();
  assert.equal([status.masterVersion, status.totals.nodes, status.nodes.map(({ name, state, connected }) => [name, state, connected])], ['test', 1, [['a', 'Unknown', false]]]);
  await stop();
  try {
    await stream.get();
    assert.unreachable();
  } catch (error) {
    assert.is((error as { code?: number }).code, 503);
  }
});

test('a snapshot, then deltas of what happens, to all who watch; without watchers nothing is followed', async () => {
  const { registry, stream, connect, looked, stop } = await started();
  const [first, second] = [connect(), connect()];
  const [one, two] = [follow(first), follow(second)];
  await until('both have the snapshot', 10_000, () => Promise.resolve(one.changes.length > 0 && two.changes.length > 0), 10);
  assert.equal([...one.changes[0]!.fleet.nodes.keys()], ['a']);
  await registry.create(nodes, '', { metadata: { name: 'b' } });
  await registry.delete(nodes, '', 'a');
  const isSo = ({ changes }: { changes: FleetChange[] }): boolean => JSON.stringify([...changes.at(-1)!.fleet.nodes.keys()]) === '["b"]' && changes.at(-1)!.fleet.totals.nodes === 1;
  await until('both know', 10_000, () => Promise.resolve(isSo(one) && isSo(two)), 10);
  const third = connect();
  third.on('error', () => undefined);
  const [, refused] = await once(third, 'unexpected-response') as [unknown, { statusCode: number }];
  assert.is(refused.statusCode, 503);
  first.terminate();
  second.terminate();
  await until('nobody watches', 10_000, () => Promise.resolve(stream.watchers === 0), 10);
  const before = looked();
  await new Promise((resolve) => { setTimeout(resolve, 100); });
  assert.is(looked(), before);
  // And it begins anew with whoever comes.
  const again = connect();
  const four = follow(again);
  await until('a snapshot again', 10_000, () => Promise.resolve(four.changes.length > 0), 10);
  assert.equal([...four.changes[0]!.fleet.nodes.keys()], ['b']);
  const closed = once(again, 'close');
  await stop();
  assert.is((await closed)[0], 1001);
});

test('administrators only, and only to watch', async () => {
  const { upgrade, connect, stop } = await started();
  assert.equal([['system:masters'], ['system:nodes'], ['system:authenticated'], []].map((groups) => upgrade.allows!({ name: 'x', groups })), [true, false, false, false]);
  const socket = connect('/wherry/v1/status');
  socket.on('error', () => undefined);
  const [, refused] = await once(socket, 'unexpected-response') as [unknown, { statusCode: number }];
  assert.is(refused.statusCode, 400);
  await stop();
});

test.run();
