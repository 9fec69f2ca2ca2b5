import { isDeepStrictEqual } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decode } from '../../shared/decode.ts';
import { kinds } from '../../shared/kinds/index.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { StatusError } from '../../shared/status.ts';
import { randomDocument, randomJson, seeded, type Random } from './random.ts';

const test = suite('kinds, properties');
const rounds = 400;

/** What `make` returns, or undefined if it threw a 400; anything else that it throws is passed on with the seed. */
function orBadRequest<T>(seed: number, make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof StatusError && error.code === 400) return undefined;
    throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
  }
}

const document = (random: Random, schema: Parameters<typeof randomDocument>[1]): unknown => {
  if (random.chance(0.1)) return randomJson(random, 4);
  return randomDocument(random, schema, { fill: random.one([0.1, 0.4, 0.8]), noise: random.one([0, 0, 0.02]) });
};

for (const kind of kinds) {
  const name = `${kind.apiVersion} ${kind.kind}`;

  test(`${name}: no document makes decoding, defaults, rules or columns throw anything but a 400`, () => {
    let survived = 0;
    for (let seed = 0; seed < rounds; seed++) {
      const random = seeded(seed);
      const input = document(random, kind.schema);
      const decoded = orBadRequest(seed, () => decode<KubeObject>(kind.schema, input, { complete: true }));
      if (!decoded) continue;
      survived++;
      const object = decoded.value;
      object.metadata ??= {};
      orBadRequest(seed, () => {
        kind.prepareCreate?.(object);
        kind.normalize?.(object);
        kind.validate?.(object);
        kind.validateUpdate?.(object, structuredClone(object));
        if (decoded.errors.length === 0) for (const column of kind.columns) column.cell(object, Date.now());
        for (const field of Object.values(kind.selectableFields ?? {})) assert.type(field(object), 'string');
        kind.scale?.selector(object);
      });
    }
    assert.ok(survived > rounds / 10, `${survived} documents were decoded`);
  });

  test(`${name}: an unchanged object breaks no rule about change, and defaults are stable`, () => {
    for (let seed = 0; seed < rounds; seed++) {
      const random = seeded(seed);
      const input = randomDocument(random, kind.schema, { fill: 0.4, noise: 0, complete: true });
      const decoded = orBadRequest(seed, () => decode<KubeObject>(kind.schema, input, { complete: true }));
      if (!decoded) continue;
      const object = decoded.value;
      object.metadata ??= {};
      kind.prepareCreate?.(object);
      kind.normalize?.(object);
      const again = decode<KubeObject>(kind.schema, structuredClone(object), { complete: true }).value;
      kind.prepareUpdate?.(again, object);
      kind.normalize?.(again);
      assert.ok(isDeepStrictEqual(again, object), `seed ${seed}: ${JSON.stringify(again)} is not ${JSON.stringify(object)}`);
      assert.equal(kind.validateUpdate?.(again, object) ?? [], [], `seed ${seed}`);
    }
  });

  test(`${name}: a partial document stays partial`, () => {
    for (let seed = 0; seed < rounds; seed++) {
      const random = seeded(seed);
      const input = randomDocument(random, kind.schema, { fill: 0.3, noise: 0 });
      const decoded = orBadRequest(seed, () => decode(kind.schema, input, { complete: false }));
      if (decoded) assert.equal(decoded.errors, []);
    }
  });
}

test.run();
