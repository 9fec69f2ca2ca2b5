import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { diffEndpoints, patchEndpoints } from '../../shared/endpoints-patch.ts';
import { encodeMessage, type EndpointsItem } from '../../shared/protocol.ts';
import { seeded, type Random } from '../property/random.ts';

const test = suite('endpoints patch');

const slice = (revision: number, endpoints: EndpointsItem['endpoints']): EndpointsItem => ({
  type: 'endpoints', revision, namespace: 'default', name: 'web-x1', service: 'web', ports: [{ name: 'http', protocol: 'TCP', port: 8080 }], endpoints,
});

const endpoint = (random: Random, i: number): EndpointsItem['endpoints'][number] => ({
  addresses: [`10.42.0.${i}`], ready: random.chance(0.5), serving: random.chance(0.5), terminating: random.chance(0.2),
  ...(random.chance(0.5) ? { nodeName: `n${i}` } : {}), ...(random.chance(0.3) ? { hostname: `h${i}` } : {}), ...(random.chance(0.5) ? { pod: `web-${i}` } : {}),
});

const sorted = (item: EndpointsItem): EndpointsItem => ({ ...item, endpoints: [...item.endpoints].sort((a, b) => (a.addresses[0]! < b.addresses[0]! ? -1 : 1)) });

test('applying the difference gives the later slice', () => {
  let patches = 0;
  for (let seed = 1; seed <= 500; seed++) {
    const random = seeded(seed);
    const all = Array.from({ length: 12 }, (_, i) => i).filter(() => random.chance(0.8));
    const before = slice(5, all.map((i) => endpoint(random, i)));
    const after = slice(9, before.endpoints.filter(() => random.chance(0.9)).map((e) => (random.chance(0.2) ? endpoint(random, Number(e.addresses[0]!.split('.')[3])) : e)));
    if (random.chance(0.3)) after.endpoints.push(endpoint(random, 50));
    const patch = diffEndpoints(before, after);
    if (!patch) continue;
    patches++;
    assert.equal(sorted(patchEndpoints(before, patch)), sorted(after));
  }
  assert.ok(patches > 200);
});

test('what a patch cannot say is sent whole', () => {
  const random = seeded(1);
  const one = slice(1, [endpoint(random, 1), endpoint(random, 2), endpoint(random, 3)]);
  assert.is(diffEndpoints(one, { ...one, ports: [] }), undefined);
  assert.is(diffEndpoints(one, { ...one, service: 'other' }), undefined);
  assert.is(diffEndpoints(one, slice(2, [one.endpoints[0]!, one.endpoints[0]!])), undefined);
});

test('one endpoint of ten that became ready takes less than 100 bytes', () => {
  const random = seeded(3);
  const before = slice(123_456, Array.from({ length: 10 }, (_, i) => ({ ...endpoint(random, i), nodeName: `node-${i}`, pod: `web-7c9f8d6b5-ab${i}cd`, ready: false })));
  const after = { ...before, revision: 123_499, endpoints: before.endpoints.map((e, i) => (i === 4 ? { ...e, ready: true } : e)) };
  const frame = encodeMessage('patch', [123_450, 123_499, [diffEndpoints(before, after)!]]);
  assert.ok(frame.length < 100, `${frame.length} bytes`);
});

test.run();
