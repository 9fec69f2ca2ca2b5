import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decode } from '../../shared/decode.ts';
import { bool, bytes, checked, dflt, int32, int64, intOrString, list, map, obj, oneOf, opt, quantity, req, str, time } from '../../shared/schema.ts';

const test = suite('decode');

const Inner = obj('test.v1.Inner', { size: dflt(quantity(), '1Gi'), mode: dflt(oneOf('A', 'B'), 'A'), need: req(str(), 'Needed.') });
const Outer = obj('test.v1.Outer', {
  text: opt(str()), flag: opt(bool()), small: opt(checked(int32(), (n) => n >= 0, 'must be greater than or equal to 0')), large: opt(int64()),
  when: opt(time()), data: opt(bytes()), port: opt(intOrString()), inner: opt(Inner), inners: opt(list(Inner)), labels: opt(map(str())),
  filled: dflt(obj('test.v1.Filled', { depth: dflt(int32(), 3) }), {}),
});
const read = (input: unknown, complete = true) => decode<Record<string, unknown>>(Outer, input, { complete });

test('defaults, also those within defaults', () => {
  assert.equal(read({}).value, { filled: { depth: 3 } });
  assert.equal(read({ inner: { need: 'x' } }).value['inner'], { size: '1Gi', mode: 'A', need: 'x' });
  assert.equal(read({ filled: null }).value['filled'], { depth: 3 });
  assert.equal(read({}, false).value, {});
});

test('values are made canonical', () => {
  assert.equal(read({ inner: { need: 'x', size: 1024, mode: '' } }).value['inner'], { size: '1024', mode: 'A', need: 'x' });
  assert.equal(read({ labels: { a: null } }).value['labels'], { a: '' });
});

test('fields that the schema does not name are pruned and named', () => {
  const decoded = read({ foo: 1, inner: { need: 'x', bar: 2 }, inners: [{ need: 'x', baz: 3 }] });
  assert.equal(decoded.unknown, ['inner.bar', 'inners[0].baz', 'foo']);
  assert.not('foo' in decoded.value);
});

test('what is missing or unsupported is reported with its path', () => {
  const decoded = read({ inners: [{ mode: 'C' }], small: -1 });
  assert.equal(decoded.errors.map((e) => `${e.field}: ${e.message}`), [
    'small: Invalid value: -1: must be greater than or equal to 0',
    'inners[0].mode: Unsupported value: "C": supported values: "A", "B"',
    'inners[0].need: Required value',
  ]);
  assert.equal(read({ inners: [{}] }, false).errors, []);
});

const wrong: readonly [input: unknown, message: string][] = [
  [[], 'json: cannot unmarshal array into Go struct field .'],
  [{ text: 5 }, 'json: cannot unmarshal number into Go struct field Outer.text of type string'],
  [{ flag: 'yes' }, 'json: cannot unmarshal string into Go struct field Outer.flag of type bool'],
  [{ small: 2 ** 31 }, 'json: cannot unmarshal number 2147483648 into Go struct field Outer.small of type int32'],
  [{ inner: [] }, 'json: cannot unmarshal array into Go struct field Outer.inner of type v1.Inner'],
  [{ inners: [{ need: true }] }, 'json: cannot unmarshal bool into Go struct field Inner.inners.need of type string'],
  [{ port: 1.5 }, 'json: cannot unmarshal number'],
  [{ when: 'today' }, 'parsing time'],
  [{ data: '!' }, 'illegal base64 data at input byte 0'],
  [{ inner: { size: 'x' } }, 'quantities must match'],
];
for (const [input, message] of wrong) {
  test(`${JSON.stringify(input)} is refused`, () => assert.throws(() => read(input), (error: Error & { code: number }) => error.code === 400 && error.message.startsWith(message)));
}

test('input is not changed and not shared', () => {
  const input = { inner: { need: 'x' }, labels: { a: 'b' } };
  const decoded = read(input);
  (decoded.value['labels'] as Record<string, string>)['a'] = 'c';
  assert.equal(input, { inner: { need: 'x' }, labels: { a: 'b' } });
});

test.run();
