import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { kinds } from '../../shared/kinds/index.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { silentLog } from '../../shared/log.ts';
import type { ClientCertificate } from '../../master/api/authenticate.ts';
import { createEnroller } from '../../master/enroller.ts';
import { issuedAnnotation, keyAnnotation, NodeCredentials } from '../../master/node-credentials.ts';
import type { Pki } from '../../master/pki.ts';
import { Registry } from '../../master/registry/registry.ts';
import { createJoinToken } from '../../master/registry/token.ts';
import { openMemoryStore } from '../../master/store/memory.ts';
import { FakeClock } from '../fakes/clock.ts';
import { makePki } from '../fakes/tls-master.ts';

interface Context { pki: Pki }
const test = suite<Context>('node credentials');
const day = 86_400_000;
const agentPath = '/agent/v1/session';

test.before(async (context) => { context.pki = await makePki(); });

const newKey = (): string => generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } }).publicKey;

/** As the TLS layer reads a certificate. */
function presented(pem: string): ClientCertificate {
  const certificate = new X509Certificate(pem);
  return {
    name: String(certificate.toLegacyObject().subject.CN), groups: ['system:nodes'], serial: certificate.serialNumber,
    publicKey: createHash('sha256').update(certificate.publicKey.export({ type: 'spki', format: 'der' })).digest('base64url'),
    fromMs: Date.parse(certificate.validFrom), toMs: Date.parse(certificate.validTo),
  };
}

async function cluster(pki: Pki, certificateMs = 100 * day) {
  const clock = new FakeClock();
  const registry = new Registry({ store: openMemoryStore(), clock, random: Math.random, kinds, allocators: [] });
  await registry.create(namespaces, '', { metadata: { name: 'kube-system' } });
  const credentials = new NodeCredentials({ registry, clock, log: silentLog, windowMs: 50 * day, agentPaths: [agentPath] });
  const enroller = createEnroller({ registry, pki, clock, certificateMs });
  const { id, secret } = await createJoinToken(registry, clock, { ttlMs: 0, description: '' });
  const enrol = async (publicKey = newKey()): Promise<ClientCertificate> => presented((await enroller.enrol({ token: `${id}.${secret}`, nodeName: 'n1', publicKey, proof: '' })).certificate);
  const renew = async (): Promise<ClientCertificate> => presented((await enroller.renew!('n1', newKey())).certificate);
  /** `ok`, or why not. */
  const admit = async (certificate: ClientCertificate, path = agentPath): Promise<string> => {
    try {
      await credentials.admit(certificate, path);
      return 'ok';
    } catch (error) {
      return (error as Error).message;
    }
  };
  return { clock, registry, credentials, enrol, renew, admit };
}

test('an enrolled key is good; the next one replaces it when it is used, not when it is made', async ({ pki }) => {
  const { registry, clock, enrol, renew, admit } = await cluster(pki);
  const first = await enrol();
  assert.is(registry.get(nodes, '', 'n1').object.metadata.annotations?.[keyAnnotation], first.publicKey);
  assert.is(registry.get(nodes, '', 'n1').object.metadata.annotations?.[issuedAnnotation], new Date(clock.now()).toISOString());
  // In the same millisecond, and with the clock going back: later is later.
  clock.advance(-5 * day);
  const second = await renew();
  assert.equal([await admit(first), await admit(second), await admit(first)], ['ok', 'ok', 'this certificate of node "n1" was replaced by a newer one']);
  const third = await renew();
  assert.equal([await admit(second, '/api/v1/pods'), await admit(third, '/api/v1/pods')], ['ok', 'ok']);
  assert.match(await admit(second), /replaced/);
});

test('two that are used at the same time end with one of them', async ({ pki }) => {
  const { enrol, renew, admit, registry, clock } = await cluster(pki);
  await enrol();
  clock.advance(1000);
  const [a, b] = [await renew(), (clock.advance(1000), await renew())];
  const verdicts = await Promise.all([admit(b), admit(a)]);
  assert.is(verdicts[0], 'ok');
  assert.is(registry.get(nodes, '', 'n1').object.metadata.annotations?.[keyAnnotation], b!.publicKey);
  assert.match(await admit(a!), /replaced/);
});

test('a lost answer to an enrolment can be had again, with the same key only', async ({ pki }) => {
  const { enrol, admit } = await cluster(pki);
  const key = newKey();
  const [first, second] = [await enrol(key), await enrol(key)];
  assert.equal([await admit(first), await admit(second), await admit(first)], ['ok', 'ok', 'ok']);
  const why = await enrol().then(() => '', (error: Error) => error.message);
  assert.match(why, /enrolled with another key.*kubectl delete node n1/);
});

test('no Node, or one that somebody made by hand, is no right to be here', async ({ pki }) => {
  const { registry, credentials, enrol, renew, admit } = await cluster(pki);
  const first = await enrol();
  const spare = await renew();
  assert.ok(credentials.knows('n1'));
  await registry.delete(nodes, '', 'n1');
  assert.not.ok(credentials.knows('n1'));
  for (const certificate of [first, spare]) assert.match(await admit(certificate), /node "n1" is not in this cluster \(any more\).*new token/);
  assert.match(await renew().then(() => '', (error: Error) => error.message), /"n1" not found/);
  await registry.create(nodes, '', { metadata: { name: 'n1', labels: { a: 'b' } } });
  assert.match(await admit(first), /is not in this cluster/);
  const second = await enrol();
  assert.is(registry.get(nodes, '', 'n1').object.metadata.labels?.['a'], 'b', 'what was made beforehand is kept');
  assert.is(await admit(second), 'ok');
  for (const certificate of [first, spare]) assert.match(await admit(certificate), /replaced/, 'nor is one of the Node before newer than this');
});

test('time counts for the API, and for an agent after the window only', async ({ pki }) => {
  const { clock, enrol, admit } = await cluster(pki);
  const first = await enrol();
  assert.equal([await admit(first), await admit(first, '/api/v1/nodes/n1')], ['ok', 'ok']);
  clock.advance(101 * day);
  assert.equal([await admit(first), await admit(first, '/api/v1/nodes/n1')], ['ok', 'Unauthorized']);
  clock.advance(48 * day);
  assert.is(await admit(first), 'ok');
  clock.advance(2 * day);
  assert.match(await admit(first), /longer ago than the offline window/);
  clock.advance(-300 * day);
  assert.equal([await admit(first), await admit(first, '/api/v1/nodes/n1')], ['ok', 'Unauthorized']);
});

test('a certificate with another serial number than ours is newer than nothing', async ({ pki }) => {
  const { clock, enrol, admit } = await cluster(pki);
  const first = await enrol();
  clock.advance(day);
  const strange = { ...first, publicKey: 'x'.repeat(43) };
  for (const serial of ['', 'FF', '57'.repeat(16), `57${'f'.repeat(30)}`, '0'.repeat(32)]) assert.match(await admit({ ...strange, serial }), /replaced/, serial);
  assert.match(await admit({ ...first, name: 'admin' }), /not in this cluster/);
});

test.run();
