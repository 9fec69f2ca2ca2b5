import { EventEmitter } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WebSocket } from 'ws';
import { Fleet, type NodeLink } from '../../../master/status/fleet.ts';
import { fromTuple, type FleetNode, type NodeTuple, type Totals } from '../../../master/status/fleet-messages.ts';
import { changeLines, fleetLines } from '../../../master/status/fleet-text.ts';
import { FleetReader } from '../../../master/status/watch-client.ts';
import { Watcher } from '../../../master/status/watcher.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { LinkedCluster, nodeOf } from '../../fakes/cluster-link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';

const test = suite('fleet');
const noPods = { Running: 0, Pending: 0, Succeeded: 0, Failed: 0, Unknown: 0, Unscheduled: 0 };

const podOn = (name: string, nodeName?: string): object => ({ metadata: { name }, spec: { ...(nodeName ? { nodeName } : {}), containers: [{ name: 'a', image: 'a:1' }] } });

test('nodes, their links and their pods, and only what changed', async () => {
  const cluster = new LinkedCluster();
  const { registry, clock } = cluster;
  for (const name of ['default', 'kube-node-lease']) await registry.create(namespaces, '', { metadata: { name } });
  await cluster.startMaster({ graceMs: 40_000 });
  const links = new Map<string, NodeLink>();
  const fleet = new Fleet({ registry, clock, link: (node) => links.get(node) ?? cluster.hub.link(node) });
  const abort = new AbortController();
  await registry.create(nodes, '', { metadata: { name: 'b' } });
  await registry.create(pods, 'default', podOn('p1', 'b'));
  await fleet.load(abort.signal);
  assert.equal(await fleet.take(), { changed: ['b'], removed: [] });
  assert.equal(fleet.rows.get('b'), ['b', 'Unknown', 0, 0, 0, 0, '', 0, 1]);
  assert.equal(fleet.totals(), { nodes: 1, ready: 0, connected: 0, pods: { ...noPods, Pending: 1 } });
  assert.equal(await fleet.take(), { changed: [], removed: [] });

  const agent = cluster.startAgent('a', new MemoryState());
  agent.session.setNode(nodeOf('a', { status: { nodeInfo: { kubeletVersion: 'v1.32.4+wherry.9.9.9' } } }));
  await clock.pass(5000, () => registry.find(nodes, '', 'a')?.status.conditions !== undefined);
  await clock.pass(1000);
  assert.equal(await fleet.take(), { changed: ['a'], removed: [] });
  const row = fleet.rows.get('a')!;
  assert.equal([row[1], row[2], row[5], row[6]], ['Ready', 1, 0, 'test']);
  assert.ok(row[3] > 0 && row[3] <= clock.now() && row[4] >= row[3]);
  // Heartbeats of a connected node are no news.
  await clock.pass(120_000);
  assert.equal((await fleet.take()).changed, []);

  await registry.create(pods, 'default', podOn('p2'));
  await registry.modify(pods, 'default', 'p1', (pod) => Object.assign(pod, { status: { ...pod.status, phase: 'Running' } }), { subresource: 'status' });
  assert.equal((await fleet.take()).changed, ['b']);
  assert.equal([fleet.rows.get('b')![7], fleet.rows.get('b')![8]], [1, 1]);
  assert.equal(fleet.totals(), { nodes: 2, ready: 1, connected: 1, pods: { ...noPods, Running: 1, Pending: 1, Unscheduled: 1 } });

  await agent.stop();
  await clock.pass(3000);
  assert.equal((await fleet.take()).changed, ['a']);
  // What it said of itself last.
  assert.equal([fleet.rows.get('a')![2], fleet.rows.get('a')![6]], [0, '9.9.9']);
  links.set('a', { connected: true, sinceMs: 0, seenMs: 0, lag: 12, version: '2' });
  await fleet.take();
  assert.equal([fleet.rows.get('a')![5], fleet.rows.get('a')![6]], [12, '2']);
  links.delete('a');

  await registry.delete(pods, 'default', 'p1', { gracePeriodSeconds: 0 });
  await registry.delete(nodes, '', 'b');
  assert.equal(await fleet.take().then(({ removed }) => removed), ['b']);
  assert.equal(fleet.totals().pods, { ...noPods, Pending: 1, Unscheduled: 1 });
  abort.abort();
  await cluster.stopMaster();
});

/** What a watcher uses of a WebSocket; the network takes frames when told to. */
class SlowSocket extends EventEmitter {
  bufferedAmount = 0;
  readonly sent: string[] = [];
  readonly #waiting: (() => void)[] = [];
  terminated = false;

  send(text: string, done: () => void): void {
    this.sent.push(text);
    this.bufferedAmount += text.length;
    this.#waiting.push(done);
  }

  drain(): void {
    this.bufferedAmount = 0;
    for (const done of this.#waiting.splice(0)) done();
  }

  terminate(): void {
    this.terminated = true;
    this.emit('close');
  }

  close(): void {}
}

const rowOf = (name: string, running = 0): NodeTuple => [name, 'Ready', 1, 1000, 1000, 0, '1', running, 10];
const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

function watched(count: number): { rows: Map<string, NodeTuple>; socket: SlowSocket; watcher: Watcher; clock: FakeClock; totals: Totals; read: () => FleetReader; begun: Promise<void> } {
  const rows = new Map(Array.from({ length: count }, (_, index) => [`n${index}`, rowOf(`n${index}`)]));
  const socket = new SlowSocket();
  const clock = new FakeClock();
  const totals: Totals = { nodes: count, ready: count, connected: count, pods: noPods };
  const watcher = new Watcher({ socket: socket as unknown as WebSocket, clock, onClose: () => undefined });
  const begun = watcher.begin((name) => rows.get(name), [...rows.keys()], () => ({ masterVersion: '1', time: clock.now(), totals }));
  const read = (): FleetReader => {
    const reader = new FleetReader();
    for (const text of socket.sent) reader.take(text);
    return reader;
  };
  return { rows, socket, watcher, clock, totals, read, begun };
}

test('a large fleet comes in parts, no faster than the client takes them', async () => {
  const { socket, begun } = watched(1200);
  await turn();
  assert.is(socket.sent.length, 1);
  for (let part = 0; part < 3; part++) { socket.drain(); await turn(); }
  await begun;
  assert.is(socket.sent.length, 3);
  const reader = new FleetReader();
  assert.equal(socket.sent.map((text) => reader.take(text)?.fleet.nodes.size), [undefined, undefined, 1200]);
});

test('a client that takes nothing costs a set of names, catches up with what is so by then, and is dropped in the end', async () => {
  const { rows, socket, watcher, clock, begun } = watched(3);
  socket.drain();
  await begun;
  const delta = (name: string): void => watcher.push(JSON.stringify({ type: 'delta', time: 1, nodes: [rows.get(name)!], removed: [] }), [name]);
  delta('n0');
  assert.is(socket.sent.length, 2);
  socket.bufferedAmount = 1e6;
  for (let step = 1; step <= 50; step++) {
    rows.set('n1', rowOf('n1', step));
    delta('n1');
    rows.delete('n2');
    watcher.push('{}', ['n2']);
  }
  assert.is(socket.sent.length, 2);
  socket.bufferedAmount = 0;
  watcher.idle();
  assert.is(socket.sent.length, 3);
  const reader = new FleetReader();
  const last = socket.sent.map((text) => reader.take(text)).at(-1)!;
  assert.equal([...last.fleet.nodes.values()].map(({ name, pods: { running } }) => [name, running]), [['n0', 0], ['n1', 50]]);
  assert.equal(last.removed.map(({ name }) => name), ['n2']);
  socket.bufferedAmount = 1e6;
  clock.advance(59_000);
  watcher.idle();
  assert.not(socket.terminated);
  clock.advance(2000);
  watcher.idle();
  assert.ok(socket.terminated);
});

test('what changed while the snapshot was on its way comes after it', async () => {
  const { rows, socket, watcher, begun, read } = watched(600);
  await turn();
  rows.set('n0', rowOf('n0', 7));
  watcher.push('{"type":"delta"}', ['n0']);
  assert.is(socket.sent.length, 1);
  for (let part = 0; part < 2; part++) { socket.drain(); await turn(); }
  await begun;
  watcher.idle();
  assert.is(socket.sent.length, 3);
  read();
  const reader = new FleetReader();
  assert.is(socket.sent.map((text) => reader.take(text)).at(-1)!.fleet.nodes.get('n0')!.pods.running, 7);
});

test('silence is broken now and then, so that both ends know', async () => {
  const { socket, watcher, clock, begun } = watched(1);
  socket.drain();
  await begun;
  watcher.idle();
  assert.is(socket.sent.length, 1);
  clock.advance(31_000);
  watcher.idle();
  const reader = new FleetReader();
  assert.equal(socket.sent.map((text) => reader.take(text)?.changed.length), [1, 0]);
});

test('what is no message is refused', () => {
  for (const text of ['', '{}', '{"type":"delta","time":1,"nodes":[["a"]],"removed":[]}']) assert.throws(() => new FleetReader().take(text));
});

const nowMs = Date.parse('2026-01-02T12:00:00Z');
const node = (name: string, more: Partial<FleetNode> = {}): FleetNode => ({ ...fromTuple([name, 'Ready', 1, nowMs - 720_000, nowMs - 4000, 0, '0.1.0', 10, 10]), ...more });
const screen = (list: readonly FleetNode[], more: object = {}) => ({ masterVersion: '0.1.0', totals: { nodes: list.length, ready: 1, connected: 1, pods: { ...noPods, Running: 25, Pending: 5, Unscheduled: 2 } }, nodes: list, nowMs, ...more });

test('the fleet as text: what is wrong comes first', () => {
  const lost = node('edge-3', { state: 'Unknown', connected: false, lastSeen: new Date(nowMs - 300_000).toISOString() });
  assert.is(fleetLines(screen([node('edge-1'), node('edge-2', { lag: 41, cordoned: true }), lost])).join('\n'), `Master 0.1.0: 3 nodes, 1 ready, 2 not, 1 connected
Pods: 25 Running, 5 Pending (2 without a node)

NODE     STATUS                     CONNECTED   LAST SEEN   LAG   AGENT   PODS
edge-3   Unknown                    no          5m ago      -     0.1.0   10/10
edge-2   Ready,SchedulingDisabled   12m         now         41    0.1.0   10/10
edge-1   Ready                      12m         now         0     0.1.0   10/10`);
});

test('it fits the terminal', () => {
  const many = Array.from({ length: 100 }, (_, index) => node(`edge-${index}`, index === 77 ? { state: 'NotReady' } : {}));
  for (const [rows, columns] of [[24, 80], [10, 30], [5, 20], [2, 5]] as const) {
    const lines = fleetLines(screen(many, { rows, columns }));
    assert.ok(lines.length <= rows, `${rows} rows`);
    assert.ok(lines.every((line) => line.length <= columns), `${columns} columns`);
  }
  const lines = fleetLines(screen(many, { rows: 24, columns: 80, stale: 'NOT LIVE' }));
  assert.match(lines[5]!, /^edge-77 /);
  assert.is(lines[2], 'NOT LIVE');
  assert.is(lines.at(-1), '… and 82 more');
});

test('changes as lines: only those that say something', () => {
  const fleet = { masterVersion: '1', totals: screen([]).totals, nodes: new Map([['a', node('a')]]) };
  const before = node('a', { pods: { running: 9, total: 10 } });
  assert.equal(changeLines({ fleet, snapshot: false, changed: [{ node: node('a'), before }, { node: node('a'), before: node('a', { lastSeen: 'x' }) }], removed: [node('b')] }, nowMs), [
    '2026-01-02T12:00:00Z a: Ready, connected, 10/10 pods, agent 0.1.0 (was Ready, connected, 9/10 pods, agent 0.1.0)', '2026-01-02T12:00:00Z b: removed',
  ]);
  assert.match(changeLines({ fleet, snapshot: true, changed: [], removed: [] }, nowMs).join('\n'), /^2026-01-02T12:00:00Z Master 1: 0 nodes.*\n2026-01-02T12:00:00Z a: Ready/);
});

test.run();
