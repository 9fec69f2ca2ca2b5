import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silenceMs } from '../../master/upgrade-plan.ts';
import { Upgrades, type Agents, type RollLine } from '../../master/upgrade-roll.ts';
import { systemClock, type Clock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';

const test = suite('upgrade roll-out');
type Phase = 'fetching' | 'trying' | 'done' | 'failed';
const binary = { sha256: 'abc', bytes: 100, arch: 'amd64' };

/** Agents that go through some phases when they are asked; `undefined` ones stay silent. */
function makeAgents(script: Readonly<Record<string, readonly Phase[] | undefined>>, clock: Clock = systemClock): { upgrades: Upgrades; asked: string[]; seen: string[]; roll: (batch: number, signal?: AbortSignal) => Promise<string[]> } {
  const [asked, seen]: [string[], string[]] = [[], []];
  const agents: Agents = {
    agentOf: (node) => (node in script ? { version: '1', upgrades: 'amd64' } : undefined),
    askUpgrade: (node, { sha256 }) => {
      asked.push(node);
      for (const phase of script[node] ?? []) queueMicrotask(() => upgrades.heard(node, { sha256, phase, version: '2', detail: '', bytes: 100 }));
    },
    upgradeSeen: (node) => { seen.push(node); },
  };
  const upgrades = new Upgrades({ agents, clock, log: silentLog });
  const roll = async (batch: number, signal = new AbortController().signal): Promise<string[]> => {
    const lines: string[] = [];
    const tell = (line: RollLine): void => { lines.push(line.type === 'summary' ? `summary ${line.ok}` : `${line.node} ${line.phase}`); };
    await upgrades.roll({ binary, nodes: [...Object.keys(script)], batch, limitMs: 1000 }, tell, signal);
    return lines;
  };
  return { upgrades, asked, seen, roll };
}

test('node after node, each when the one before is done', async () => {
  const { roll, asked, seen } = makeAgents({ a: ['fetching', 'trying', 'done'], b: ['done'] });
  const lines = await roll(1);
  assert.equal(lines.filter((line) => !/fetching|trying/.test(line)), ['a asked', 'a done', 'b asked', 'b done', 'summary true']);
  assert.equal(asked, ['a', 'b']);
  assert.equal(seen, ['a', 'b']);
});

test('one failure ends it after its batch', async () => {
  const { roll, asked } = makeAgents({ a: ['failed'], b: ['done'], c: ['done'], d: ['done'] });
  const lines = await roll(2);
  assert.equal([...lines].sort(), ['a asked', 'a failed', 'b asked', 'b done', 'c skipped', 'd skipped', 'summary false']);
  assert.equal(asked, ['a', 'b']);
});

test('a node that says nothing is asked again and given up', async () => {
  let nowMs = 0;
  // Each look a second later, at once.
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs, after: (ms, done) => { const timer = setImmediate(() => { nowMs += ms; done(); }); return () => clearImmediate(timer); } };
  const { roll, asked } = makeAgents({ a: undefined, b: ['done'] }, clock);
  assert.equal(await roll(1), ['a asked', 'a failed', 'b skipped', 'summary false']);
  assert.ok(nowMs >= silenceMs && nowMs < silenceMs + 5000, String(nowMs));
  assert.ok(asked.length > 5, String(asked.length));
});

test('nobody waiting, an end is still acknowledged', () => {
  const { upgrades, seen } = makeAgents({ a: [] });
  upgrades.heard('a', { sha256: 'x', phase: 'failed', version: '2', detail: 'later', bytes: 0 });
  assert.equal(seen, ['a']);
});

test('whoever asked goes away: no further node is begun', async () => {
  const gone = new AbortController();
  const { roll, asked } = makeAgents({ a: undefined, b: ['done'] });
  const rolling = roll(1, gone.signal);
  gone.abort();
  assert.equal(await rolling, ['a asked', 'b skipped', 'summary false']);
  assert.equal(asked, ['a']);
});

test('two roll-outs of one program do not touch the same node', async () => {
  const gone = new AbortController();
  const { roll } = makeAgents({ a: undefined });
  const first = roll(1, gone.signal);
  assert.equal(await roll(1), ['a failed', 'summary false']);
  gone.abort();
  await first;
});

test.run();
