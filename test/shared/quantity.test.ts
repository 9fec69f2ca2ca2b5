import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addQuantity, canonicalQuantity, compareQuantity, formatBytes, fromMilli, milliValue, parseQuantity, roundUpToMilli, subtractQuantity, value } from '../../shared/quantity.ts';
import { StatusError } from '../../shared/status.ts';

const test = suite('quantity');

const canonical: readonly [text: string, canonical: string, number: number][] = [
  ['0', '0', 0], ['0Ki', '0', 0], ['1000m', '1', 1], ['0.5', '500m', 0.5], ['.5', '500m', 0.5], ['5.', '5', 5], ['+3', '3', 3],
  ['1024Mi', '1Gi', 2 ** 30], ['1.5Gi', '1536Mi', 1.5 * 2 ** 30], ['0.5Ki', '512', 512], ['100Ki', '100Ki', 102_400],
  ['1000', '1k', 1000], ['1500', '1500', 1500], ['1024', '1024', 1024], ['2000k', '2M', 2e6],
  ['1e3', '1e3', 1000], ['1e4', '10e3', 10_000], ['1e2', '100', 100], ['12E6', '12e6', 12e6], ['1E', '1E', 1e18],
  ['0.1n', '1n', 1e-9], ['-1500m', '-1500m', -1.5], ['100Ei', '9223372036854775807', 2 ** 63],
];
for (const [text, expected, number] of canonical) {
  test(`${text} is ${expected}`, () => {
    assert.is(canonicalQuantity(text), expected);
    assert.is(parseQuantity(text), number);
  });
}

const wrong: readonly [text: string, message: RegExp][] = [
  ['', /^quantities must match the regular expression '\^\(\[\+-\]\?\[0-9\.\]\+\)\(\[eEinumkKMGTP\]\*\[-\+\]\?\[0-9\]\*\)\$'$/],
  ['abc', /^quantities must match/], ['1.2.3', /^quantities must match/], ['1 Gi', /^quantities must match/],
  ['1e', /^unable to parse quantity's suffix$/], ['1KiK', /^unable to parse quantity's suffix$/], ['1K', /^unable to parse quantity's suffix$/],
];
for (const [text, message] of wrong) {
  test(`${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => canonicalQuantity(text), (error: unknown) => error instanceof StatusError && error.code === 400 && message.test(error.message));
  });
}

test('whole units round up', () => {
  assert.is(value('1500m'), 2);
  assert.is(value('-1500m'), -2);
  assert.is(value('1Ki'), 1024);
  assert.is(milliValue('0.5'), 500);
  assert.is(milliValue('2'), 2000);
  assert.is(milliValue('100n'), 1);
  assert.is(roundUpToMilli('100n'), '1m');
});

test('numbers become quantities', () => {
  assert.is(formatBytes(2 ** 30), '1Gi');
  assert.is(formatBytes(1000), '1k');
  assert.is(formatBytes(0), '0');
  assert.is(fromMilli(1500), '1500m');
  assert.is(fromMilli(2000), '2');
});

test('arithmetic keeps the format of the first operand', () => {
  assert.is(addQuantity('1Gi', '1G'), '2073741824');
  assert.is(addQuantity('1Gi', '1024Mi'), '2Gi');
  assert.is(addQuantity('0', '1Gi'), '1Gi');
  assert.is(subtractQuantity('1', '250m'), '750m');
  assert.ok(compareQuantity('1Gi', '1G') > 0);
  assert.is(compareQuantity('1000m', '1'), 0);
  assert.is(compareQuantity('1024Ki', '1Mi'), 0);
  assert.ok(compareQuantity('100m', '0.2') < 0);
  assert.ok(compareQuantity('999m', '1') < 0);
  assert.ok(compareQuantity('64Mi', '64M') > 0);
  // What is beyond the largest number in powers of two is as large as it.
  assert.is(compareQuantity('99999999Ti', '999999999Ti'), 0);
});

test.run();
