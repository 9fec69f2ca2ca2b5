import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeMessage, deflateFrame, encodeMessage, encodeSync, itemKey, packItem, ProtocolError, type Item } from '../../shared/protocol.ts';
import { randomJson, seeded } from '../property/random.ts';

const test = suite('protocol');

const service = (name: string): Item => ({
  type: 'service', revision: 7, namespace: 'default', name, serviceType: 'ClusterIP', clusterIPs: ['10.96.0.1'], ports: [{ name: '', protocol: 'TCP', port: 80 }],
  affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false,
});

test('a sync of items packed before is a sync', () => {
  for (const count of [0, 1, 15, 16, 100]) {
    const items = Array.from({ length: count }, (_, i) => service(`web-${i}`));
    const head = { epoch: 'e', from: 3, revision: 70_000, removed: ['pod/default/x'], more: true };
    const frame = encodeSync(head, items.map(packItem));
    assert.equal(decodeMessage(frame, 'master'), { name: 'sync', payload: { ...head, items } });
    const deflated = deflateFrame(frame);
    assert.equal(decodeMessage(deflated, 'master'), decodeMessage(frame, 'master'));
    if (count === 100) assert.ok(deflated.length * 8 < frame.length, `${deflated.length} of ${frame.length} bytes`);
  }
  assert.is(itemKey(service('web')), 'service/default/web');
});

test('only the master compresses, and not without bound', () => {
  const refused = (frame: Uint8Array, from: 'agent' | 'master'): void => assert.throws(() => decodeMessage(frame, from), (error: unknown) => error instanceof ProtocolError);
  refused(deflateFrame(encodeMessage('resync', { reason: 'x'.repeat(4000) })), 'agent');
  refused(deflateFrame(Buffer.alloc(64 * 1024 * 1024)), 'master');
  refused(deflateFrame(Buffer.concat([Buffer.from([255]), Buffer.alloc(5000)])), 'master');
  refused(Buffer.from([255, 1, 2, 3]), 'master');
});

test('no bytes crash the decoder', () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const random = seeded(seed);
    const body = random.chance(0.5) ? Buffer.from(random.many(60, () => random.below(256)))
      : encodeMessage('resync', randomJson(random) as { reason: string }).subarray(2);
    const frame = Buffer.concat([Buffer.from([random.chance(0.9) ? 0 : random.below(256), random.below(24)]), body]);
    for (const from of ['agent', 'master'] as const) {
      try {
        decodeMessage(frame, from);
      } catch (error) {
        assert.instance(error, ProtocolError);
      }
    }
  }
});

test.run();
