import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseFieldSelector, parseSelector, selectorOf, type Labels } from '../../shared/selector.ts';
import { StatusError } from '../../shared/status.ts';
import { seeded, type Random } from './random.ts';

const test = suite('selector, properties');
const rounds = 10_000;
const keys = ['a', 'app', 'example.com/tier', 'in', 'notin'];
const values = ['', 'x', 'web-1', 'in', '5', '-7'];

function randomRequirement(random: Random): string {
  const key = random.one(keys);
  const list = (): string => `(${Array.from({ length: 1 + random.below(3) }, () => random.one(values.slice(0, 5))).join(random.one([',', ', ']))})`;
  const plain = (): string => random.one(values.slice(0, 5));
  return random.one([
    () => key, () => `!${key}`, () => `${key}=${plain()}`, () => `${key}==${plain()}`, () => `${key} != ${plain()}`,
    () => `${key} in ${list()}`, () => `${key} notin ${list()}`, () => `${key}>${random.below(9)}`, () => `${key} < ${random.below(9)}`,
  ])();
}

const randomLabels = (random: Random): Labels => Object.fromEntries(random.many(3, () => [random.one(keys), random.one(values)]));

test('printing and parsing are inverse', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const text = random.many(3, () => randomRequirement(random)).join(',');
    const selector = parseSelector(text);
    const again = parseSelector(selector.toString());
    assert.is(again.toString(), selector.toString(), text);
    assert.equal(again.requirements, selector.requirements, text);
    const labels = randomLabels(random);
    assert.is(again.matches(labels), selector.matches(labels), text);
  }
});

test('a requirement and its opposite never agree', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const labels = randomLabels(random);
    const key = random.one(keys);
    const value = random.one(values.slice(0, 5));
    for (const [one, other] of [[`${key}=${value}`, `${key}!=${value}`], [`${key} in (${value},x)`, `${key} notin (${value},x)`], [key, `!${key}`]] as const) {
      assert.is.not(parseSelector(one).matches(labels), parseSelector(other).matches(labels), one);
    }
  }
});

test('a map selects what has all of its labels', () => {
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const wanted = randomLabels(random);
    const labels = { ...randomLabels(random), ...wanted };
    assert.ok(selectorOf(wanted).matches(labels));
    assert.ok(selectorOf({ matchLabels: wanted }).matches(labels));
  }
});

test('field selectors: printing and parsing are inverse', () => {
  const escape = (text: string): string => text.replace(/[\\,=]/g, (found) => `\\${found}`);
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const text = random.many(3, () => `${random.one(['spec.nodeName', 'metadata.name'])}${random.one(['=', '==', '!='])}${escape(random.one(['', 'a', 'a,b', 'x=y', '\\', 'a\\,b=']))}`).join(',');
    const selector = parseFieldSelector(text);
    assert.equal(parseFieldSelector(selector.toString()).requirements, selector.requirements, text);
  }
});

test('no text makes a parser throw anything but a 400', () => {
  const pieces = ['a', 'in', 'notin', '(', ')', ',', '=', '==', '!', '!=', '>', '<', ' ', '5', '\\', 'é', '\u0000'];
  for (let seed = 0; seed < rounds; seed++) {
    const random = seeded(seed);
    const text = random.many(8, () => random.one(pieces)).join('');
    for (const parse of [parseSelector, parseFieldSelector]) {
      try {
        parse(text);
      } catch (error) {
        assert.ok(error instanceof StatusError && error.code === 400, `${JSON.stringify(text)}: ${String(error)}`);
      }
    }
  }
});

test.run();
