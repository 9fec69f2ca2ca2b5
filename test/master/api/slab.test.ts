import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Slab } from '../../../master/api/slab.ts';

const test = suite('slab');
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

test('pieces come out joined, and as one chunk', () => {
  const slab = new Slab(4);
  for (const piece of ['', 'abc', 'defgh', 'i']) slab.push(Buffer.from(piece));
  assert.is(slab.size, 9);
  assert.is(text(slab.bytes), 'abcdefghi');
  assert.is(text(slab.chunk), '9\r\nabcdefghi\r\n');
});

test('takes more than it had room for, and is used again', () => {
  const slab = new Slab(4);
  const long = 'x'.repeat(100_000);
  slab.push(Buffer.from(long));
  slab.push(Buffer.from('y'));
  assert.is(text(slab.chunk), `${(100_001).toString(16)}\r\n${long}y\r\n`);
  slab.clear();
  slab.push(Buffer.from('z'));
  assert.is(text(slab.chunk), '1\r\nz\r\n');
});

test.run();
