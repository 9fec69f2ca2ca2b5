import { Packr } from 'msgpackr';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Session } from '../../../agent/session.ts';
import { decodeMessage, encodeMessage, isControl, protocolVersion, type Item, type Message } from '../../../shared/protocol.ts';
import { silentLog } from '../../../shared/log.ts';
import { makeLink, SimulatedClock } from '../../fakes/link.ts';
import { MemoryState } from '../../fakes/memory-state.ts';
import { seeded } from '../../property/random.ts';

/** A master of a later version, which sends what this agent has never heard of. */
const test = suite('later master');
const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: 'number' });

/** A frame as a later version would encode it. */
const raw = (like: Buffer, payload: unknown, number = like[1]!): Buffer => Buffer.concat([Buffer.from([0, number]), packr.pack(payload) as Buffer]);

function start() {
  const clock = new SimulatedClock();
  const state = new MemoryState();
  const got: Message<'agent'>[] = [];
  const streams: Uint8Array[] = [];
  let connections = 0;
  const { ends } = makeLink({ clock });
  ends[1].listen({ frame: (bytes) => { if (isControl(bytes)) got.push(decodeMessage(bytes, 'agent')); else streams.push(bytes); }, end: () => {} });
  const session = new Session({
    node: 'n1', state, agentVersion: 'test', bootId: 'b', clock, random: Math.random, log: silentLog, onWelcome: () => {},
    connect: async () => { connections++; return ends[0]; }, openStream: () => { throw new Error('no streams'); },
  });
  const abort = new AbortController();
  const running = session.run(abort.signal);
  const stop = async (): Promise<void> => { abort.abort(); await clock.pass(1000); await running; };
  const welcome = encodeMessage('welcome', { protocol: protocolVersion, masterVersion: '9', epoch: 'e', nowMs: clock.now(), heartbeatMs: 24_000, leaseMs: 40_000, serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '' });
  return { clock, state, got, streams, master: ends[1], welcome, stop, connections: () => connections };
}

const configMap = (index: number): Item => ({ type: 'configMap', revision: 1, object: { metadata: { name: `c${index}`, namespace: 'default' }, data: {} } }) as unknown as Item;

test('messages and streams of a later version are passed over, and the session goes on', async () => {
  const { clock, got, streams, master, welcome, stop, connections } = start();
  await clock.pass(100);
  master.send(welcome);
  master.send(Buffer.from([0, 250, 0xc0]));
  const open = encodeMessage('open', { id: 2, request: { type: 'usage' } });
  master.send(raw(open, { id: 2, request: { type: 'teleport', to: 'n2' } }));
  master.send(encodeMessage('sync', { epoch: 'e', from: 0, revision: 5, items: [], removed: [], more: false }));
  await clock.pass(1000);
  assert.equal(got.map(({ name }) => name), ['hello', 'ack']);
  assert.is(streams.length, 1);
  assert.match(Buffer.from(streams[0]!).toString('latin1'), /the agent of node "n1" is too old for stream request "teleport"/);
  assert.is(connections(), 1);
  await stop();
});

test('what a known stream request lacks is still an error', async () => {
  const { clock, got, master, welcome, stop, connections } = start();
  await clock.pass(100);
  master.send(welcome);
  master.send(raw(encodeMessage('open', { id: 2, request: { type: 'usage' } }), { id: 2, request: { type: 'exec' } }));
  await clock.pass(40_000, () => connections() > 1);
  assert.ok(connections() > 1);
  assert.is(got.filter(({ name }) => name === 'ack').length, 0);
  await stop();
});

test('whatever items of a later version a sync has, the others are taken', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed);
    const { clock, state, got, master, welcome, stop } = start();
    await clock.pass(100);
    master.send(welcome);
    const like = encodeMessage('sync', { epoch: 'e', from: 0, revision: 9, items: [], removed: [], more: false });
    const items = Array.from({ length: random.below(12) }, (_, index) => (random.chance(0.5)
      ? configMap(index) : { type: `later${random.below(3)}`, revision: 1, ...(random.chance(0.5) ? { object: { metadata: { name: 'x' } } } : { anything: [index] }) }));
    master.send(raw(like, { epoch: 'e', from: 0, revision: 9, items, removed: ['later0/default/x'], more: false }));
    await clock.pass(1000);
    const known = items.filter(({ type }) => type === 'configMap') as Item[];
    assert.equal([...state.items.values()], known, `seed ${seed}`);
    assert.equal(got.filter(({ name }) => name === 'ack').map(({ payload }) => (payload as { items?: number }).items), [known.length], `seed ${seed}`);
    await stop();
  }
});

test.run();
