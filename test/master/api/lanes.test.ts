import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { entering, type Turn } from '../../../master/api/lanes.ts';
import { seeded } from '../../property/random.ts';

const test = suite('lanes');
const start: Turn = { guests: 0, others: 0, owed: 0, held: 0 };
const perTurn = 8;

/** Goes through so many turns; `arrive` says who comes in each. */
function turns(count: number, arrive: (turn: number) => { guests: number; others: number }, waiting = { guests: 0, others: 0 }) {
  let before = start;
  const entered = { guests: 0, others: 0, longestHeld: 0 };
  for (let turn = 0; turn < count; turn++) {
    const come = arrive(turn);
    waiting.guests += come.guests;
    waiting.others += come.others;
    const { guests, others } = waiting;
    before = entering({ guests, others, arriving: come.guests + come.others > 0, perTurn, before });
    assert.ok(before.guests >= 0 && before.others >= 0 && before.guests <= guests && before.others <= others);
    assert.ok(before.guests + before.others <= perTurn, 'a turn stays short');
    waiting.guests -= before.guests;
    waiting.others -= before.others;
    entered.guests += before.guests;
    entered.others += before.others;
    entered.longestHeld = Math.max(entered.longestHeld, before.held);
  }
  return { ...entered, waiting };
}

test('an administrator goes before all agents that wait', () => {
  const { others, guests } = entering({ guests: 5000, others: 1, arriving: false, perTurn, before: start });
  assert.equal([others, guests], [1, 7]);
});

test('while connections come, agents wait, but not for ever', () => {
  const { guests, waiting, longestHeld } = turns(1700, () => ({ guests: 1, others: 0 }));
  assert.is(guests, 100);
  assert.is(longestHeld, 16);
  const after = turns(200, () => ({ guests: 0, others: 0 }), waiting);
  assert.is(after.waiting.guests, 0);
  assert.is(after.guests, 1600);
});

test('a flood of other clients gets no more handshakes than the agents that wait, but for a few', () => {
  for (const each of [1, 3, 20]) {
    const { guests, others } = turns(2000, () => ({ guests: 0, others: each }), { guests: 100_000, others: 0 });
    assert.ok(guests > 900, `${guests} agents while ${each} others came per turn`);
    assert.ok(others > 900 && others <= guests + 32, `${others} others, ${guests} agents`);
  }
});

test('without agents, others enter as fast as turns allow', () => {
  const { others } = turns(100, () => ({ guests: 0, others: 8 }));
  assert.is(others, 800);
});

test('whoever comes in whatever order enters in the end, and nobody is far behind', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = seeded(seed);
    const share = random.next();
    const came = turns(200, () => ({ guests: random.chance(share) ? random.below(4) : 0, others: random.chance(0.3) ? random.below(3) : 0 }));
    const { waiting } = turns(400, () => ({ guests: 0, others: 0 }), came.waiting);
    assert.equal(waiting, { guests: 0, others: 0 });
  }
});

test.run();
