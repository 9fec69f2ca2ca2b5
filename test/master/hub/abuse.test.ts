import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { decodeMessage, encodeMessage } from '../../../shared/protocol.ts';
import type { FrameSocket, SocketListener } from '../../../shared/socket.ts';
import { connector } from '../../../agent/session/connect.ts';
import { BusyError } from '../../../agent/session/refused.ts';
import { LinkedCluster } from '../../fakes/cluster-link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';
import { enrolled, temporaryDirectories } from '../../fakes/tls-agent.ts';
import { startTlsMaster } from '../../fakes/tls-master.ts';

/** What an agent that means harm, or is broken, can take from others. */
const test = suite('abuse');
const { directory, cleanUp } = temporaryDirectories('abuse-');
test.after(cleanUp);

const webPod = (name: string, nodeName: string): object => ({ metadata: { name }, spec: { nodeName, containers: [{ name: 'web', image: 'nginx' }] } });
const hello = encodeMessage('hello', { protocol: 1, agentVersion: 'x', node: 'bad', bootId: '', epoch: '', revision: 0 });

/** The master's end of a connection whose other end sends all that it is given as fast as it is read. */
class Flood implements FrameSocket {
  readonly bufferedBytes = 0;
  /** Names of messages that came back, and `end`. */
  readonly answers: string[] = [];
  readonly #waiting: Uint8Array[] = [];
  #listener: SocketListener | undefined;
  #paused = false;

  flood(frame: Uint8Array, times = 1): void {
    for (let i = 0; i < times; i++) this.#waiting.push(frame);
    this.#deliver();
  }

  send(frame: Uint8Array, sent?: () => void): void {
    this.answers.push(decodeMessage(frame, 'master').name);
    sent?.();
  }

  listen(listener: SocketListener): void {
    this.#listener = listener;
    this.#deliver();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
  }

  close(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.answers.at(-1) !== 'end') this.answers.push('end');
    this.#listener?.end('over');
  }

  #deliver(): void {
    let next = 0;
    while (this.#listener && !this.#paused && next < this.#waiting.length) this.#listener.frame(this.#waiting[next++]!);
    this.#waiting.splice(0, next);
  }
}

interface Abuse { readonly cluster: LinkedCluster; readonly bad: Flood; readonly good: ReturnType<LinkedCluster['startAgent']>; readonly state: MemoryState; end(): Promise<void> }

/** A good agent, and the socket of a bad one that has said hello. */
async function abuse(): Promise<Abuse> {
  const cluster = new LinkedCluster();
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  for (const node of ['bad', 'good']) await cluster.registry.create(pods, 'default', webPod(node, node));
  await cluster.startMaster();
  const state = new MemoryState();
  const good = cluster.startAgent('good', state);
  const bad = new Flood();
  cluster.hub.accept('bad', bad);
  bad.flood(hello);
  assert.ok(await cluster.clock.pass(5000, () => state.items.size === 1 && bad.answers.includes('sync')));
  return { cluster, bad, good, state, end: async () => { bad.destroy(); await good.stop(); await cluster.stopMaster(); } };
}

const count = ({ answers }: Flood, name: string): number => answers.filter((each) => each === name).length;

test('endless small frames are read no faster than an honest agent could want, and others are served', async () => {
  const { cluster: { clock, registry }, bad, state, end } = await abuse();
  const beat = encodeMessage('heartbeat', {});
  bad.flood(beat, 60_000);
  await clock.pass(1000);
  const first = count(bad, 'heartbeatAck');
  assert.ok(first >= 20_000 && first < 27_000, String(first));
  await registry.create(pods, 'default', webPod('another', 'good'));
  assert.ok(await clock.pass(500, () => state.items.has('pod/default/another')));
  assert.ok(await clock.pass(20_000, () => count(bad, 'heartbeatAck') === 60_000), 'it is slowed down, not cut off');
  await end();
});

test('frames with much in them use the allowance up sooner', async () => {
  const { cluster: { clock }, bad, end } = await abuse();
  const large = encodeMessage('events', { seq: 1, events: Array.from({ length: 100 }, (_, i) => ({
    namespace: 'default', key: `k${i}`, involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'elsewhere', name: 'x' }, reason: 'r', message: 'm'.repeat(9000), type: 'Normal' as const, component: 'c', count: 1, firstMs: 0, lastMs: 0,
  })) });
  bad.flood(large, 40);
  await clock.pass(500);
  assert.ok(count(bad, 'eventsAck') <= 9, `${count(bad, 'eventsAck')} of 0.9 MB each`);
  await end();
});

test('statuses that change for ever are written at a bounded rate, and those of others in between', async () => {
  const { cluster: { clock, registry, hub }, bad, good, end } = await abuse();
  assert.ok(hub.isConnected('bad'));
  const uid = registry.find(pods, 'default', 'bad')!.metadata.uid!;
  const before = registry.store.revision;
  for (let seq = 1; seq <= 400; seq++) {
    bad.flood(encodeMessage('status', { seq, pods: Array.from({ length: 32 }, (_, i) => ({ namespace: 'default', name: 'bad', uid, gone: false, status: { phase: 'Running', message: `${seq} ${i}` } })) }));
  }
  await clock.pass(1000);
  good.session.report({ namespace: 'default', name: 'good', uid: registry.find(pods, 'default', 'good')!.metadata.uid!, gone: false, status: { phase: 'Running' } });
  assert.ok(await clock.pass(1000, () => registry.find(pods, 'default', 'good')?.status.phase === 'Running'));
  await clock.pass(8000);
  const written = registry.store.revision - before;
  assert.ok(written > 100 && written < 1000 + 50 * 10 + 100, String(written));
  await end();
});

test('who asks for snapshot after snapshot is cut off', async () => {
  const { cluster: { clock }, bad, end } = await abuse();
  bad.flood(encodeMessage('resync', { reason: 'why not' }), 2);
  assert.ok(await clock.pass(1000, () => bad.answers.includes('end')));
  assert.ok(bad.answers.includes('bye'));
  await end();
});

test('a node that connects again and again is told when to come back', async () => {
  const master = await startTlsMaster();
  const { identity } = await enrolled(directory, master);
  const connect = connector({ server: master.url, key: identity.key, certificate: identity.certificate, ca: identity.ca });
  const never = new AbortController().signal;
  let refused: unknown;
  for (let tries = 0; tries < 100 && !refused; tries++) await connect(never).then((socket) => socket.destroy(), (error: unknown) => { refused = error; });
  assert.instance(refused, BusyError);
  assert.match((refused as BusyError).message, /HTTP 429: node "n1" connects too often/);
  assert.is((refused as BusyError).afterMs, 10_000);
  await master.stop();
});

test('an agent that is told when to come back does not come before', async () => {
  const cluster = new LinkedCluster();
  const tries: number[] = [];
  const agent = cluster.startAgent('n1', new MemoryState(), {
    random: () => 0.5, connect: async () => { tries.push(cluster.clock.monotonic()); throw new BusyError('busy', 30_000); },
  });
  await cluster.clock.pass(100_000);
  assert.equal(tries.slice(1).map((ms, i) => ms - tries[i]!), [45_000, 45_000]);
  await agent.stop();
});

test.run();
