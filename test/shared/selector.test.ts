import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseFieldSelector, parseSelector, selectorOf } from '../../shared/selector.ts';

const test = suite('selector');

const matching: readonly [selector: string, labels: Record<string, string>, matches: boolean][] = [
  ['', {}, true], ['a=b', { a: 'b' }, true], ['a==b', { a: 'c' }, false], ['a=', { a: '' }, true],
  ['a!=b', {}, true], ['a!=b', { a: 'b' }, false], ['a', { a: '' }, true], ['!a', { a: '' }, false],
  ['a in (b, c)', { a: 'c' }, true], ['a notin (b,c)', { a: 'c' }, false], ['a notin (b,c)', {}, true],
  ['a>4', { a: '5' }, true], ['a<5', { a: '5' }, false], ['a>4', { a: 'x' }, false], ['a>4', {}, false],
  ['a=b,c', { a: 'b' }, false], ['a in (,)', { a: '' }, true], ['in=notin', { in: 'notin' }, true], ['toString', {}, false],
];
for (const [selector, labels, matches] of matching) {
  test(`${selector} ${matches ? 'selects' : 'skips'} ${JSON.stringify(labels)}`, () => assert.is(parseSelector(selector).matches(labels), matches));
}

const wrong: readonly [selector: string, message: string][] = [
  ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
  ['a=b,', "found '', expected: identifier after ','"],
  ['=', "found '=', expected: !, identifier, or 'end of string'"],
  ['a=b c', "found 'c', expected: ',' or 'end of string'"],
  ['a in b', "unable to parse requirement: found 'b' expected: '('"],
  ['a in (b c)', "unable to parse requirement: found 'c', expected: ',' or ')'"],
  ['!', "unable to parse requirement: found '', expected: identifier"],
  ['a>x', `unable to parse requirement: values[0]: Invalid value: "x": for 'Gt', 'Lt' operators, the value must be an integer`],
];
for (const [selector, message] of wrong) {
  test(`${selector} is refused`, () => assert.throws(() => parseSelector(selector), (error: Error) => error.message === message));
}

test('label selectors', () => {
  const selector = selectorOf({ matchLabels: { b: '1' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['y', 'x'] }, { key: 'c', operator: 'DoesNotExist' }] });
  assert.is(selector.toString(), 'a in (x,y),b=1,!c');
  assert.ok(selector.matches({ a: 'x', b: '1' }));
  assert.not(selector.matches({ a: 'x', b: '1', c: '' }));
  assert.ok(selectorOf({}).matches({ any: 'thing' }));
  assert.ok(selectorOf({}).empty);
  assert.not(selectorOf(undefined).matches({}));
  assert.is(selectorOf({ b: '2', a: '1' }).toString(), 'a=1,b=2');
  assert.ok(selectorOf({ matchLabels: 'a label may be called so' }).matches({ matchLabels: 'a label may be called so' }));
});

test('field selectors', () => {
  const selector = parseFieldSelector('spec.nodeName=a,status.phase!=Running');
  const pod = (node: string, phase: string) => (field: string): string => (field === 'spec.nodeName' ? node : phase);
  assert.ok(selector.matches(pod('a', 'Pending')));
  assert.not(selector.matches(pod('a', 'Running')));
  assert.equal(parseFieldSelector('a=x\\,y\\=z\\\\').requirements, [{ field: 'a', operator: '=', value: 'x,y=z\\' }]);
  assert.ok(parseFieldSelector('').empty);
  assert.throws(() => parseFieldSelector('a'), "invalid selector: 'a'; can't understand 'a'");
  assert.throws(() => parseFieldSelector('a=b=c'), 'invalid field selector: unescaped character in value: 61');
  assert.throws(() => parseFieldSelector('a=\\x'), 'invalid field selector: invalid escape sequence: \\x');
});

test.run();
