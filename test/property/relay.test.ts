import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Session } from '../../agent/session.ts';
import type { ByteStream, StreamReset } from '../../shared/byte-stream.ts';
import { relayWindow } from '../../shared/channel.ts';
import { endpointSlices } from '../../shared/kinds/endpointslice.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { LinkedCluster, nodeOf } from '../fakes/cluster-link.ts';
import { MemoryState } from '../fakes/memory-state.ts';
import { seeded, type Random } from './random.ts';

const test = suite('relay property');
const wish = { namespace: 'default', slice: 'web-1', address: '10.244.1.7', port: 8080 };

/** What one end of a connection does: sends `out` in pieces, waits now and then, may end its direction before or after the other's. */
class End {
  readonly out: Buffer;
  got = Buffer.alloc(0);
  failure: StreamReset | undefined;
  readonly #random: Random;
  readonly #cluster: LinkedCluster;
  readonly #waits: boolean;

  /** `waits`: it may send only once the other has ended; not for both. */
  constructor(random: Random, cluster: LinkedCluster, waits: boolean) {
    this.#waits = waits;
    this.#random = random;
    this.#cluster = cluster;
    this.out = Buffer.alloc(random.below(random.chance(0.3) ? 1_500_000 : 30_000), String(random.next()));
  }

  async play(stream: ByteStream): Promise<void> {
    const repliesLast = this.#waits && this.#random.chance(0.4);
    const reading = this.#read(stream);
    try {
      if (repliesLast) await reading;
      for (let at = 0; at < this.out.length;) {
        const size = 1 + this.#random.below(60_000);
        await stream.write(this.out.subarray(at, at + size));
        at += size;
        await this.#dawdle();
      }
      stream.end();
      await reading;
    } catch (error) {
      this.failure = error as StreamReset;
    }
  }

  async #read(stream: ByteStream): Promise<void> {
    const parts: Uint8Array[] = [];
    for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
      parts.push(Uint8Array.from(bytes));
      await this.#dawdle();
    }
    this.got = Buffer.concat(parts);
  }

  async #dawdle(): Promise<void> {
    if (this.#random.chance(0.1)) await new Promise<void>((resolve) => { this.#cluster.clock.after(this.#random.below(200), resolve); });
  }
}

interface Far { readonly end: End; readonly played: Promise<void>; readonly request: StreamRequest }

/** Two nodes, one of which has the pod behind the only endpoint. `serve` is that pod. */
async function twoNodes(random: Random, serve: (request: StreamRequest, stream: ByteStream, cluster: LinkedCluster) => AsyncIterable<Uint8Array>) {
  const cluster = new LinkedCluster({ random: () => random.next(), delayMs: () => random.below(30) });
  for (const name of ['default', 'kube-node-lease']) await cluster.registry.create(namespaces, '', { metadata: { name } });
  await cluster.registry.create(endpointSlices, 'default', {
    metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } }, addressType: 'IPv4', ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: [
      { addresses: ['10.244.1.7'], conditions: { ready: true }, nodeName: 'n2', targetRef: { kind: 'Pod', namespace: 'default', name: 'web', uid: 'u1' } },
      { addresses: ['10.244.1.8'], conditions: { ready: false, serving: false }, nodeName: 'n2', targetRef: { kind: 'Pod', namespace: 'default', name: 'ill', uid: 'u2' } },
      { addresses: ['192.0.2.9'], conditions: { ready: true } },
    ],
  });
  await cluster.startMaster({ settings: () => ({ serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '', clusterCIDR: '10.244.0.0/16' }) });
  const n1 = cluster.startAgent('n1', new MemoryState());
  const n2 = cluster.startAgent('n2', new MemoryState(), { openStream: (request, _signal, stream) => serve(request, stream, cluster) });
  for (const [name, { session }] of [['n1', n1], ['n2', n2]] as const) session.setNode(nodeOf(name));
  await cluster.clock.pass(5_000, () => n1.session.relays && cluster.hub.isConnected('n2'));
  return { cluster, session: n1.session, stop: async () => { await n1.stop(); await n2.stop(); await cluster.stopMaster(); } };
}

/** Bytes of streams that came to the master from one node and were not sent on to the other yet, at the worst moment. */
function worstHeld(cluster: LinkedCluster): number {
  let held = 0;
  let worst = 0;
  for (const { node, from, frame } of cluster.frames) {
    if (frame[0] !== 1) continue;
    if (node === 'n1') held += from === 0 ? frame.length - 5 : 0;
    else held -= from === 1 ? frame.length - 5 : 0;
    worst = Math.max(worst, held);
  }
  return worst;
}

async function relayed(session: Session, what = wish): Promise<ByteStream> {
  const stream = session.relay(what)!;
  assert.equal([...await stream.read() ?? []], [0]);
  return stream;
}

test('connections relayed at random are byte-exact both ways, whichever side ends first, and hold a window at most', async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = seeded(seed);
    const fars: Far[] = [];
    const { cluster, session, stop } = await twoNodes(random, async function* (request, stream, world) {
      const end = new End(random, world, seed % 2 === 0);
      yield Uint8Array.of(0);
      const played = end.play(stream);
      fars.push({ end, request, played });
      await played;
    });
    const nears = Array.from({ length: 1 + random.below(5) }, () => new End(random, cluster, seed % 2 === 1));
    let over = false;
    // One after the other is connected, so that the far ends are in the same order.
    const all = (async () => {
      const playing: Promise<void>[] = [];
      for (const end of nears) playing.push(end.play(await relayed(session)));
      await Promise.all(playing);
      await Promise.all(fars.map(({ played }) => played));
    })().finally(() => { over = true; });
    assert.ok(await cluster.clock.pass(3_600_000, () => over), `seed ${seed}: not over after an hour`);
    await all;
    nears.forEach((near, index) => {
      const { end: far, request } = fars[index]!;
      assert.is(near.failure ?? far.failure, undefined);
      assert.ok(far.got.equals(near.out) && near.got.equals(far.out), `seed ${seed}: other bytes`);
      assert.equal(request, { type: 'relay', namespace: 'default', pod: 'web', uid: 'u1', port: 8080 });
    });
    const limit = nears.length * relayWindow.most;
    assert.ok(worstHeld(cluster) <= limit, `seed ${seed}: ${worstHeld(cluster)} bytes held in the master, more than ${limit}`);
    await stop();
  }
});

test('a pod that reads nothing stops its client after three windows, and nobody else', async () => {
  const random = seeded(7);
  const { cluster, session, stop } = await twoNodes(random, async function* (_request, stream) {
    yield Uint8Array.of(0);
    await new Promise<void>((resolve) => stream.onReset(() => resolve()));
  });
  const opening = relayed(session);
  await cluster.clock.pass(1_000);
  const stuck = await opening;
  let written = 0;
  const writing = (async () => { for (;;) { await stuck.write(Buffer.alloc(10_000)); written += 10_000; } })().catch((error: StreamReset) => error);
  await cluster.clock.pass(20_000);
  // Nothing was read at the far end, so its window has not grown; the master's has.
  assert.ok(written >= relayWindow.initial && written <= 2 * relayWindow.most, `${written} bytes taken`);
  stuck.reset(499, 'enough');
  assert.match((await writing as StreamReset).message, 'enough');
  await stop();
});

test('only what a service leads to is relayed, and a reset says why not', async () => {
  const { cluster, session, stop } = await twoNodes(seeded(3), async function* () {
    yield Uint8Array.of(0);
    throw Object.assign(new Error('dial tcp4 10.244.1.7:8080: connect: connection refused'), { code: 502 });
  });
  const outcome = async (what: Partial<typeof wish>): Promise<string> => {
    const stream = session.relay({ ...wish, ...what })!;
    let told = '';
    const reading = (async () => { while (await stream.read()); })().catch((error: StreamReset) => { told = `${error.code} ${error.message}`; });
    await cluster.clock.pass(2_000, () => told !== '');
    await Promise.race([reading, Promise.resolve()]);
    return told;
  };
  const refused = (where: string): string => `403 ${where} is no endpoint of default/web-1 that can be relayed to`;
  assert.is(await outcome({ address: '10.244.1.9' }), refused('10.244.1.9:8080'), 'an address that is no endpoint');
  assert.is(await outcome({ port: 22 }), refused('10.244.1.7:22'), 'a port that is not the service\'s');
  assert.is(await outcome({ address: '10.244.1.8' }), refused('10.244.1.8:8080'), 'an endpoint that is not ready');
  assert.is(await outcome({ address: '192.0.2.9' }), refused('192.0.2.9:8080'), 'an endpoint that is no pod');
  assert.match(await outcome({ slice: 'other' }), /^403 /);
  assert.is(await outcome({}), '502 dial tcp4 10.244.1.7:8080: connect: connection refused');
  await stop();
});

test('when either node is lost, the other end is reset', async () => {
  const far: ByteStream[] = [];
  const { cluster, session, stop } = await twoNodes(seeded(5), async function* (_request, stream) {
    far.push(stream);
    yield Uint8Array.of(0);
    await new Promise<void>((resolve) => stream.onReset(() => resolve()));
  });
  const opening = relayed(session);
  await cluster.clock.pass(1_000);
  const near = await opening;
  cluster.links.get('n2')!.ends[1].destroy();
  assert.ok(await cluster.clock.pass(60_000, () => near.failure !== undefined), 'the near end hears of it');
  assert.is(near.failure!.message, 'node "n2" is not connected any more');
  await cluster.clock.pass(60_000, () => cluster.hub.isConnected('n2'));
  const again = relayed(session);
  await cluster.clock.pass(2_000);
  await again;
  cluster.links.get('n1')!.ends[1].destroy();
  assert.ok(await cluster.clock.pass(60_000, () => far[1]?.failure !== undefined), 'the far end hears of it');
  await stop();
});

test.run();
