import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clone } from '../../shared/clone.ts';

const test = suite('clone');

test('a copy is equal and shares nothing', () => {
  const object = { a: [1, 'x', null, { b: true }], c: { d: {} }, e: undefined };
  const copy = clone(object);
  assert.equal(copy, object);
  (copy.a[3] as { b: boolean }).b = false;
  (copy.c.d as Record<string, number>)['new'] = 1;
  assert.equal(object, { a: [1, 'x', null, { b: true }], c: { d: {} }, e: undefined });
});

test('a key called __proto__ stays a key', () => {
  const copy = clone(JSON.parse('{"__proto__":{"polluted":1}}') as object);
  assert.is(JSON.stringify(copy), '{"__proto__":{"polluted":1}}');
  assert.is(Object.getPrototypeOf(copy), Object.prototype);
});

test.run();
