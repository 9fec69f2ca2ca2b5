import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addQuantity, canonicalQuantity, compareQuantity, milliValue, parseQuantity, subtractQuantity, value } from '../../shared/quantity.ts';
import { StatusError } from '../../shared/status.ts';
import { seeded, type Random } from './random.ts';

const test = suite('quantity, properties');
const rounds = 20_000;
const suffixes = ['', '', 'n', 'u', 'm', 'k', 'M', 'G', 'T', 'P', 'E', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'e3', 'E-2', 'e+6'];

function randomQuantity(random: Random): string {
  const digits = (max: number): string => Array.from({ length: random.below(max + 1) }, () => random.below(10)).join('');
  const number = random.chance(0.3) ? `${digits(4)}.${digits(4)}` : `${random.below(10)}${digits(5)}`;
  return random.one(['', '', '', '-', '+']) + number + random.one(suffixes);
}

test('canonical form is stable and keeps the value', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const text = randomQuantity(seeded(seed));
    const canonical = canonicalQuantity(text);
    assert.is(canonicalQuantity(canonical), canonical, text);
    // Amounts below a billionth round, and exactness ends at 2^63 - 1 for powers of two.
    if (Math.abs(parseQuantity(text)) < 9e18) assert.is(compareQuantity(text, canonical), 0, `${text} became ${canonical}`);
    assert.is(parseQuantity(canonical), parseQuantity(text), text);
  }
});

test('adding and subtracting are inverse', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const a = canonicalQuantity(`${random.below(100_000)}${random.one(['', 'm', 'k', 'Ki', 'Mi'])}`);
    const b = canonicalQuantity(`${random.below(100_000)}${random.one(['', 'm', 'k', 'Ki', 'Mi'])}`);
    assert.is(compareQuantity(subtractQuantity(addQuantity(a, b), b), a), 0, `${a} + ${b}`);
  }
});

test('whole units are never less than the quantity', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const text = `${random.below(1_000_000)}${random.one(['', 'n', 'u', 'm', 'k', 'Ki'])}`;
    assert.ok(value(text) >= parseQuantity(text) && value(text) < parseQuantity(text) + 1, text);
    assert.ok(milliValue(text) >= Math.floor(parseQuantity(text) * 1000), text);
  }
});

test('no text makes it throw anything but a 400', () => {
  const characters = [...'0123456789.+-eEinumkKMGTP xé'];
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const text = random.many(8, () => random.one(characters)).join('');
    try {
      canonicalQuantity(text);
    } catch (error) {
      assert.ok(error instanceof StatusError && error.code === 400, `${text}: ${String(error)}`);
    }
  }
});

test.run();
