import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AccountTokens } from '../../../master/registry/account-tokens.ts';
import { isSigned, readClaims, tokenKey, type CheckKey } from '../../../master/registry/jwt.ts';
import { podToken } from '../../../master/registry/pod-token.ts';
import { requestToken } from '../../../master/registry/token-request.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { nodes } from '../../../shared/kinds/node.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { secrets } from '../../../shared/kinds/secret.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { StatusError } from '../../../shared/status.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { Cluster, podDocument } from '../controllers/cluster.ts';

const test = suite('service account tokens');
const issuer = 'https://kubernetes.default.svc.cluster.local';
const key = tokenKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);

const projected = (source: object = {}) => ({
  serviceAccountName: 'robot', nodeName: 'n1', containers: [{ name: 'c', image: 'i' }],
  volumes: [{ name: 't', projected: { sources: [{ serviceAccountToken: { path: 'token', expirationSeconds: 3607, ...source } }] } }],
});

async function world() {
  const cluster = new Cluster();
  await cluster.create(namespaces, '', { metadata: { name: 'default' } });
  await cluster.create(nodes, '', { metadata: { name: 'n1' } });
  const account = await cluster.create(serviceAccounts, 'default', { metadata: { name: 'robot' } });
  const pod = await cluster.create(pods, 'default', podDocument('p', projected()));
  const { registry } = cluster;
  const clock = new FakeClock(Date.now());
  const keys = { signing: key, good: [key] as readonly CheckKey[], accepted: () => keys.good };
  const tokens = new AccountTokens({ registry, clock, keys, issuer });
  const ask = async (document: object): Promise<{ spec: { audiences: string[] }; status: { token: string; expirationTimestamp: string } }> =>
    await requestToken({ registry, tokens, now: () => clock.now() }, 'default', 'robot', document) as never;
  const error = (token: string, ...audiences: string[]): string => {
    const verdict = tokens.review(token, audiences);
    return verdict && 'error' in verdict ? verdict.error : `no error but ${JSON.stringify(verdict)}`;
  };
  return { registry, clock, tokens, account, pod, ask, error, keys };
}

async function refusal(attempt: Promise<unknown>): Promise<[number, string]> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof StatusError) return [error.code, error.message];
    throw error;
  }
  throw new Error('was not refused');
}

test('a token says whom it is for, and stands for that user', async () => {
  const { ask, tokens, account, clock } = await world();
  const { spec, status } = await ask({});
  assert.equal(spec.audiences, [issuer]);
  assert.is(Date.parse(status.expirationTimestamp), Math.floor(clock.now() / 1000) * 1000 + 3600_000);
  const claims = readClaims(status.token)!;
  assert.equal([claims['iss'], claims['aud'], claims['sub']], [issuer, [issuer], 'system:serviceaccount:default:robot']);
  assert.is(claims['exp'], (claims['iat'] as number) + 3600);
  assert.equal(claims['kubernetes.io'], { namespace: 'default', serviceaccount: { name: 'robot', uid: account.metadata.uid } });
  assert.equal(tokens.authenticate(status.token), {
    name: 'system:serviceaccount:default:robot', uid: account.metadata.uid,
    groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
    extra: { 'authentication.kubernetes.io/credential-id': [`JTI=${String(claims['jti'])}`] },
  });
});

test('a token is good for its audiences and until its end', async () => {
  const { ask, tokens, clock, error } = await world();
  const vault = (await ask({ spec: { audiences: ['vault', 'other'], expirationSeconds: 600 } })).status.token;
  assert.is(tokens.authenticate(vault), undefined, 'not for the API');
  assert.is(error(vault), `token audiences ["vault" "other"] is invalid for the target audiences ["${issuer}"]`);
  const verdict = tokens.review(vault, ['vault', 'third']);
  assert.equal(verdict && 'audiences' in verdict && verdict.audiences, ['vault']);
  clock.advance(659_000);
  assert.ok('user' in tokens.review(vault, ['vault'])!, 'clocks may differ by a minute');
  clock.advance(2000);
  assert.is(error(vault, 'vault'), 'service account token has expired');
});

test('after a rotation the new key signs, and what the last one signed is good while that is', async () => {
  const { ask, tokens, keys, account, error } = await world();
  const before = (await ask({})).status.token;
  const legacy = await tokens.issueLegacy(account, 's');
  const next = tokenKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
  Object.assign(keys, { signing: next, good: [next, key] });
  const after = (await ask({})).status.token;
  assert.ok(isSigned(next, after));
  assert.ok(tokens.authenticate(before) && tokens.authenticate(after) && tokens.isLegacy(legacy, account, 's'));
  keys.good = [next];
  assert.is(error(before), 'failed to verify token signature', 'though it was found to be good before');
  assert.not.ok(tokens.isLegacy(legacy, account, 's'));
  assert.ok(tokens.authenticate(after));
});

test('what was not signed by this key, or not by its algorithm, is refused', async () => {
  const { ask, tokens } = await world();
  const { token } = (await ask({})).status;
  const [head = '', body = '', signature = ''] = token.split('.');
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const spki = key.publicKey.export({ type: 'spki', format: 'pem' });
  const hmac = `${part({ alg: 'HS256' })}.${body}`;
  const changed = part({ ...readClaims(token), sub: 'system:serviceaccount:kube-system:admin' });
  for (const [what, forged] of Object.entries({
    changed: `${head}.${changed}.${signature}`, unsigned: `${part({ alg: 'none' })}.${body}.`, hmac: `${hmac}.${createHmac('sha256', spki).update(hmac).digest('base64url')}`,
    other: `${head}.${body}.${sign('RSA-SHA256', Buffer.from(`${head}.${body}`), other).toString('base64url')}`, cut: `${head}.${body}.${signature.slice(0, -4)}`,
  })) {
    assert.not(isSigned(key, forged), what);
    assert.is(tokens.authenticate(forged), undefined, what);
  }
  for (const junk of ['', 'x', 'a.b.c', '...', `${head}.${part([1])}.${signature}`, `${head}.${part('x')}.`]) assert.is(tokens.review(junk, []), undefined, junk);
});

test('a pod\'s token ends with the pod, and with its account', async () => {
  const { registry, tokens, account, pod, error } = await world();
  const request = { namespace: 'default', pod: 'p', uid: pod.metadata.uid ?? '', audience: '', seconds: 3607 };
  const token = await podToken(registry, tokens, 'n1', request);
  const user = tokens.authenticate(token)!;
  assert.equal([user.extra?.['authentication.kubernetes.io/pod-name'], user.extra?.['authentication.kubernetes.io/node-name']], [['p'], ['n1']]);
  const { exp, iat, 'kubernetes.io': own } = readClaims(token) as { exp: number; iat: number; 'kubernetes.io': { warnafter: number } };
  assert.equal([exp - iat, own.warnafter - iat], [365 * 24 * 3600, 3607], 'who reads it once can work on for a year');
  await registry.delete(pods, 'default', 'p', { gracePeriodSeconds: 0 });
  assert.is(error(token), 'service account token has been invalidated');
  const again = await registry.create(pods, 'default', podDocument('p', projected()));
  assert.is(error(token), `pod UID (${again.object.metadata.uid}) does not match service account pod ref claim (${pod.metadata.uid})`);
  const next = await podToken(registry, tokens, 'n1', { ...request, uid: again.object.metadata.uid ?? '' });
  await registry.delete(serviceAccounts, 'default', 'robot');
  assert.is(error(next), 'service account token has been invalidated');
  await registry.create(serviceAccounts, 'default', { metadata: { name: 'robot' } });
  assert.match(error(next), new RegExp(`^service account UID \\(.*\\) does not match claim \\(${account.metadata.uid}\\)$`));
});

test('a node gets tokens for its own pods\' volumes only', async () => {
  const { registry, tokens, pod } = await world();
  const request = { namespace: 'default', pod: 'p', uid: pod.metadata.uid ?? '', audience: '', seconds: 3607 };
  for (const [node, change, message] of [
    ['n2', {}, 'pods "p" is forbidden: node "n2" is not allowed to request a token for a pod that is not bound to it'],
    ['n1', { uid: 'other' }, 'pods "p" is forbidden: node "n1" is not allowed to request a token for a pod that is not bound to it'],
    ['n1', { audience: 'vault' }, 'pods "p" is forbidden: node "n1" is not allowed to request a token that no volume of the pod names'],
    ['n1', { seconds: 99_999 }, 'pods "p" is forbidden: node "n1" is not allowed to request a token that no volume of the pod names'],
  ] as const) assert.equal(await refusal(podToken(registry, tokens, node, { ...request, ...change })), [403, message]);
  assert.equal(await refusal(podToken(registry, tokens, 'n1', { ...request, pod: 'q' })), [404, 'pods "q" not found']);
});

test('requests are checked as the apiserver checks them', async () => {
  const { ask, registry, tokens, error, clock } = await world();
  await registry.create(secrets, 'default', { metadata: { name: 's' } });
  await registry.create(serviceAccounts, 'default', { metadata: { name: 'other' } });
  await registry.create(pods, 'default', podDocument('q', { serviceAccountName: 'other' }));
  for (const [document, expected] of [
    [{ spec: { expirationSeconds: 599 } }, [422, 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes']],
    [{ spec: { expirationSeconds: 2 ** 32 + 1 } }, [422, 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds']],
    [{ spec: { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'none' } } }, [404, 'pods "none" not found']],
    [{ spec: { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'q' } } }, [400, 'cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.']],
    [{ spec: { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'p', uid: 'x' } } }, [409, 'Operation cannot be fulfilled on Pod "p": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated']],
    [{ spec: { boundObjectRef: { kind: 'ConfigMap', apiVersion: 'v1', name: 'p' } } }, [400, 'cannot bind token to object of type /v1, Kind=ConfigMap']],
  ] as const) assert.equal(await refusal(ask(document)), expected);
  assert.equal(await refusal(requestToken({ registry, tokens, now: () => clock.now() }, 'default', 'nobody', {})), [404, 'serviceaccounts "nobody" not found']);
  for (const [kind, name, remove] of [['Secret', 's', () => registry.delete(secrets, 'default', 's')], ['Node', 'n1', () => registry.delete(nodes, '', 'n1')]] as const) {
    const { token } = (await ask({ spec: { boundObjectRef: { kind, apiVersion: 'v1', name } } })).status;
    assert.ok(tokens.authenticate(token), kind);
    await remove();
    assert.is(error(token), 'service account token has been invalidated', kind);
  }
});

test.run();
