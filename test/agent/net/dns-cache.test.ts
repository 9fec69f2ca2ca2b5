import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cacheDefaults, DnsCache, type Reply } from '../../../agent/net/dns-cache.ts';
import { nameWire } from '../../../agent/net/dns-name.ts';

const test = suite('dns-cache');
const empty: Reply = { rcode: 0, answers: [], authorities: [], additionals: [], authenticData: false };
const a = (ttl: number) => ({ name: 'x', type: 1, class: 1, ttl, data: Buffer.alloc(4) });
const alias = { name: 'x', type: 5, class: 1, ttl: 100, data: nameWire('y') };
const soa = (ttl: number, minimum: number) => {
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32BE(minimum, 16);
  return { name: '', type: 6, class: 1, ttl, data: Buffer.concat([Buffer.alloc(2), numbers]) };
};

/** For how many seconds a reply is fresh, looked for up to two hours. */
function seconds(reply: Reply): number {
  const cache = new DnsCache();
  cache.put('k', reply, 0);
  let count = 0;
  while (count < 7200 && cache.fresh('k', count * 1000)) count++;
  return count;
}

test('how long what counts', () => {
  assert.is(seconds({ ...empty, answers: [a(90), a(20)] }), 20);
  assert.is(seconds({ ...empty, answers: [a(0)] }), 0);
  assert.is(seconds({ ...empty, answers: [a(1_000_000)] }), 3600);
  assert.is(seconds({ ...empty, rcode: 3, authorities: [soa(60, 10)] }), 10);
  assert.is(seconds({ ...empty, rcode: 3, authorities: [soa(900, 900)] }), 30);
  assert.is(seconds({ ...empty, authorities: [soa(7, 900)] }), 7);
  assert.is(seconds({ ...empty, rcode: 3 }), 5);
  assert.is(seconds({ ...empty, answers: [alias], authorities: [soa(60, 10)] }), 10);
  assert.is(seconds({ ...empty, rcode: 2 }), 0);
});

test('times count down, and one that is over is kept a while longer', () => {
  const cache = new DnsCache();
  cache.put('k', { ...empty, answers: [a(20), a(90)] }, 0);
  assert.equal(cache.fresh('k', 5_999)?.answers.map(({ ttl }) => ttl), [15, 85]);
  assert.is(cache.fresh('k', 20_000), undefined);
  assert.equal(cache.stale('k', 20_000)?.answers.map(({ ttl }) => ttl), [5, 5]);
  assert.ok(cache.stale('k', 3_600_000));
  assert.is(cache.stale('k', 3_621_000), undefined);
});

test('what was used longest ago makes room', () => {
  const cache = new DnsCache({ ...cacheDefaults, maxEntries: 2 });
  cache.put('a', { ...empty, answers: [a(60)] }, 0);
  cache.put('b', { ...empty, answers: [a(60)] }, 0);
  cache.fresh('a', 1);
  cache.put('c', { ...empty, answers: [a(60)] }, 1);
  assert.equal(['a', 'b', 'c'].map((key) => cache.fresh(key, 2) !== undefined), [true, false, true]);
});

test('never more bytes than allowed', () => {
  const cache = new DnsCache({ ...cacheDefaults, maxBytes: 10_000 });
  for (let i = 0; i < 500; i++) cache.put(`key-${i % 300}`, { ...empty, answers: Array.from({ length: i % 40 }, () => a(60)) }, 0);
  assert.ok(cache.bytes <= 10_000 && cache.bytes > 0, String(cache.bytes));
  for (let i = 0; i < 300; i++) cache.put(`key-${i}`, empty, 0);
  assert.ok(cache.size > 10);
});

test.run();
