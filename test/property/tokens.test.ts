import { generateKeyPairSync } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tokenTimes } from '../../agent/volumes/token-file.ts';
import { AccountTokens } from '../../master/registry/account-tokens.ts';
import { tokenKey } from '../../master/registry/jwt.ts';
import { requestToken } from '../../master/registry/token-request.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { serviceAccounts } from '../../shared/kinds/serviceaccount.ts';
import { StatusError } from '../../shared/status.ts';
import { oneKey } from '../fakes/token-keys.ts';
import { Cluster, realClock } from '../master/controllers/cluster.ts';
import { seeded } from './random.ts';

const test = suite('any token');
const key = tokenKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
const rounds = 3000;

async function world() {
  const { registry } = new Cluster();
  await registry.create(namespaces, '', { metadata: { name: 'default' } });
  await registry.create(serviceAccounts, 'default', { metadata: { name: 'a' } });
  return { registry, tokens: new AccountTokens({ registry, clock: realClock, keys: oneKey(key), issuer: 'https://i' }) };
}

test('one that was changed anywhere is good for nothing, and harms nobody', async () => {
  const { registry, tokens } = await world();
  const token = await tokens.issue({ account: registry.get(serviceAccounts, 'default', 'a').object, audiences: [], seconds: 3600, bound: {} });
  assert.ok(tokens.authenticate(token));
  const random = seeded(7).next;
  const characters = 'ABCabc012-_.=! \u0000💥';
  for (let round = 0; round < rounds; round++) {
    const at = Math.floor(random() * token.length);
    const put = [...characters][Math.floor(random() * [...characters].length)]!;
    const removed = Math.floor(random() * 3);
    const changed = token.slice(0, at) + put + token.slice(at + removed);
    // The last character of a signature says two bits only: others may say the same.
    if (Buffer.from(changed.split('.')[2] ?? '', 'base64url').equals(Buffer.from(token.split('.')[2]!, 'base64url')) && changed.startsWith(token.slice(0, token.lastIndexOf('.')))) continue;
    assert.is(tokens.authenticate(changed), undefined, changed);
    tokenTimes(changed);
  }
});

test('any TokenRequest is answered, or refused with a Status', async () => {
  const { registry, tokens } = await world();
  const random = seeded(11).next;
  const values = [null, 0, -1, 599, 600, 1e300, 2 ** 33, 1.5, '', 'x', '3600', true, [], {}, [null], ['a', 1], { a: 1 }];
  const value = (): unknown => values[Math.floor(random() * values.length)];
  for (let round = 0; round < rounds; round++) {
    const reference = random() < 0.3 ? value() : { kind: ['Pod', 'Secret', 'Node', 'X', 3][Math.floor(random() * 5)], apiVersion: random() < 0.7 ? 'v1' : value(), name: value(), uid: value() };
    const spec = random() < 0.1 ? value() : { expirationSeconds: value(), audiences: value(), ...(random() < 0.5 ? { boundObjectRef: reference } : {}) };
    const document = random() < 0.05 ? value() : { spec, metadata: random() < 0.5 ? {} : value() };
    try {
      const answer = await requestToken({ registry, tokens, now: () => realClock.now(), dryRun: true }, 'default', 'a', document) as { status: { expirationTimestamp: string } };
      assert.ok(Date.parse(answer.status.expirationTimestamp) > 0, JSON.stringify(document));
    } catch (error) {
      if (!(error instanceof StatusError)) throw new Error(JSON.stringify(document), { cause: error });
    }
  }
});

test.run();
