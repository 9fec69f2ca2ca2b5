import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { enrol } from '../../agent/enrol.ts';
import { readIdentity, writeIdentity, type Identity } from '../../agent/identity.ts';
import { connector, masterName } from '../../agent/session/connect.ts';
import { fetchFrom } from '../../agent/session/fetch.ts';
import { connectSecurely } from '../../agent/session/secure.ts';
import { systemClock } from '../../shared/clock.ts';
import { identityPath } from '../../shared/enrolment.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { encodeMessage, protocolVersion } from '../../shared/protocol.ts';
import { silentLog } from '../../shared/log.ts';
import { createAuthority, issue, type KeyPair } from '../../master/certificates.ts';
import { createEnroller } from '../../master/enroller.ts';
import { keyAnnotation } from '../../master/node-credentials.ts';
import { openMemoryStore } from '../../master/store/memory.ts';
import { MemoryState } from '../fakes/memory-state.ts';
import { enrolled, startAgent, temporaryDirectories, tryOut } from '../fakes/tls-agent.ts';
import { startTlsMaster, until, type TlsMaster } from '../fakes/tls-master.ts';

const test = suite('credentials over TLS');
const day = 86_400_000;
const never = new AbortController().signal;
const { directory, cleanUp } = temporaryDirectories('agent-');

const apiCode = async (master: TlsMaster, identity: { key: string; certificate: string }): Promise<number> =>
  (await fetchFrom({ url: new URL('/api/v1/nodes/n1', master.url), trust: { ca: master.pki.authority.certificate, name: masterName }, identity, signal: never })).code;

const keyOf = (master: TlsMaster, node = 'n1'): string | undefined => master.registry.find(nodes, '', node)?.metadata.annotations?.[keyAnnotation];

test('a certificate renews over its session; then the older one is void, and the session has not noticed', async () => {
  const master = await startTlsMaster({ certificateMs: 10_000 });
  const { path, identity } = await enrolled(directory, master);
  const began = performance.now();
  const agent = await startAgent(path, master.url, { random: () => 0 });
  await until('there is a session', () => master.hub.isConnected('n1'));
  const first = keyOf(master);
  await until('it was renewed', () => agent.lines.some(({ message }) => message === 'certificate renewed'));
  const took = performance.now() - began;
  assert.ok(took > 3000, `at about half of 10 s, not after ${took} ms`);
  assert.not.equal(agent.credentials.certificate, identity.certificate);
  assert.is.not(keyOf(master), first);
  assert.equal(agent.lines.filter(({ level }) => level === 'warn'), [], 'the session went on');
  assert.match(await tryOut(master, identity), /HTTP 401: this certificate of node "n1" was replaced by a newer one/);
  assert.is(await apiCode(master, identity), 401);
  const kept = (await readIdentity(path))!;
  assert.is(kept.previous, undefined);
  assert.is(await apiCode(master, kept), 200);
  assert.is((await stat(join(path, 'identity.json'))).mode & 0o777, 0o600);
  assert.not.equal(kept.key, identity.key);
  await agent.stop();
  await master.stop();
});

test('until the new pair was used, both are good; whichever file survives, the node gets in', async () => {
  const master = await startTlsMaster();
  const { path, identity } = await enrolled(directory, master);
  const enroller = createEnroller({ registry: master.registry, pki: master.pki, clock: systemClock, certificateMs: day });
  const renewed = async (): Promise<{ key: string; certificate: string }> => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
    return { key: privateKey, certificate: (await enroller.renew!('n1', publicKey)).certificate };
  };
  await renewed();
  const [second, third] = [await renewed(), await renewed()];
  assert.is(await tryOut(master, identity), 'ok', 'answers that got lost change nothing');
  await writeIdentity(path, { ...identity, ...second, previous: { key: identity.key, certificate: identity.certificate } });
  const agent = await startAgent(path, master.url);
  await until('it is in with the new pair', () => master.hub.isConnected('n1'));
  assert.is((await readIdentity(path))!.previous, undefined);
  assert.match(await tryOut(master, identity), /replaced by a newer one/);
  assert.is(await tryOut(master, third), 'ok', 'a later one is newer still');
  assert.match(await tryOut(master, second), /replaced by a newer one/);
  await agent.stop();
  await master.stop();
});

test('a new pair that the master does not take gives way to the one before', async () => {
  const master = await startTlsMaster();
  const { path, identity } = await enrolled(directory, master);
  const stranger = await issue(await createAuthority('wherry-ca', 1), { subject: { name: 'system:node:n1', groups: ['system:nodes'] }, use: 'client', days: 1 });
  await writeIdentity(path, { ...identity, ...stranger, previous: { key: identity.key, certificate: identity.certificate } });
  const agent = await startAgent(path, master.url);
  await until('it is in', () => master.hub.isConnected('n1'));
  await until('it is as before', () => agent.credentials.certificate === identity.certificate);
  assert.ok(agent.lines.some(({ message }) => /does not take the new certificate/.test(message)));
  await agent.stop();
  await master.stop();
});

test('a renewal that fails is tried again and costs nothing but log lines', async () => {
  let calls = 0;
  const master = await startTlsMaster({
    certificateMs: 6000,
    enroller: (real) => ({
      ca: real.ca, enrol: (request) => real.enrol(request),
      renew: async (node, key) => {
        calls++;
        if (calls === 1) throw new Error('the disk is full');
        // The second answer is for somebody else's key.
        return real.renew!(node, calls === 2 ? 'nonsense' : key);
      },
    }),
  });
  const { path, identity } = await enrolled(directory, master);
  const agent = await startAgent(path, master.url, { random: () => 0 });
  await until('the third is taken', () => agent.lines.some(({ message }) => message === 'certificate renewed'));
  const failures = agent.lines.filter(({ message }) => /could not be renewed/.test(message));
  assert.ok(failures.length >= 2 && /the disk is full/.test(failures[0]!.why), JSON.stringify(failures));
  assert.ok(master.hub.isConnected('n1'));
  assert.not.equal(agent.credentials.certificate, identity.certificate);
  await agent.stop();
  await master.stop();
});

test('a deleted node is out at once, keeps its pods, says so once, and comes back with a new token only', async () => {
  const master = await startTlsMaster();
  const { path, identity } = await enrolled(directory, master);
  await master.registry.create(pods, 'default', { metadata: { name: 'web' }, spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] } });
  const usedToken = await master.joinToken();
  const agent = await startAgent(path, master.url, { token: usedToken });
  await until('it has its pod', () => agent.state.items.has('pod/default/web'));
  await master.registry.delete(nodes, '', 'n1');
  await until('it is out', () => master.hub.stats().sessions === 0);
  assert.match(await tryOut(master, identity), /HTTP 401: node "n1" is not in this cluster \(any more\)/);
  assert.is(await apiCode(master, identity), 401);
  await until('it has tried three times', () => agent.lines.filter(({ message }) => /does not take this node/.test(message)).length >= 3);
  const told = agent.lines.filter(({ message, level }) => level === 'warn' && /does not take this node; its pods go on/.test(message));
  assert.is(told.length, 1, 'one line, although it was started with a token that it never used: that is for a start');
  assert.match(told[0]!.why, /node "n1" was deleted from the cluster/);
  assert.is(master.registry.find(nodes, '', 'n1'), undefined, 'nothing made the Node again');
  assert.ok(agent.state.items.has('pod/default/web'));
  await agent.stop();

  const again = await startAgent(path, master.url, { token: usedToken, state: agent.state });
  await until('a start with a token lets it in again', () => master.hub.isConnected('n1'));
  const fresh = (await readIdentity(path))!;
  assert.not.equal(fresh.key, identity.key);
  assert.match(await tryOut(master, identity), /replaced by a newer one/);
  await again.stop();

  await master.registry.delete(nodes, '', 'n1');
  const barred = await startAgent(path, master.url, { token: usedToken });
  await until('the same token does not let it in twice', () => barred.lines.filter(({ message }) => /does not take this node/.test(message)).length >= 2);
  assert.not.ok(master.hub.isConnected('n1'));
  await barred.stop();
  const wrong = await startAgent(path, master.url, { token: `wherry1.aaaaaa.bbbbbbbbbbbbbbbb.${master.pki.authorityHash}` });
  await until('a bad token is named', () => wrong.lines.some(({ why }) => /enrolling again failed: the master does not take the join token/.test(why)));
  await wrong.stop();
  await master.stop();
});

test('a name that another machine enrolled meanwhile does not go back to the first', async () => {
  // The clock was ahead when the first one enrolled: what was issued then is not newer for that.
  const ahead = await startTlsMaster({ skewMs: 10 * day });
  const first = await enrolled(directory, ahead);
  await ahead.stop();
  const master = await startTlsMaster({ store: ahead.registry.store, pki: ahead.pki });
  assert.is(await tryOut(master, first.identity), 'ok');
  await master.registry.delete(nodes, '', 'n1');
  const second = await enrolled(directory, master);
  assert.match(await tryOut(master, first.identity), /replaced by a newer one/);
  assert.is(await tryOut(master, second.identity), 'ok');
  await master.stop();
});

test('a year offline: the expired certificate gets its node in, to be renewed at once, and nothing else', async () => {
  const past = await startTlsMaster({ skewMs: -400 * day, certificateMs: 365 * day });
  const { path, identity } = await enrolled(directory, past);
  const { store } = past.registry;
  await past.stop();
  assert.ok(Date.parse(new X509Certificate(identity.certificate).validTo) < Date.now() - 30 * day);
  const { key, certificate: cert } = await issue(past.pki.authority, { subject: { name: 'wherry-master' }, use: 'server', hosts, days: 2 });
  const master = await startTlsMaster({ store, pki: past.pki, tls: { key, cert } });
  assert.is(await apiCode(master, identity), 401, 'the API is closed to it');
  const reused: boolean[] = [];
  const connect = connector({ ...identity, server: master.url, onSecured: ({ socket }) => { reused.push(socket.isSessionReused()); } });
  for (let time = 0; time < 3; time++) {
    const socket = await connect(never);
    const welcomed = new Promise<void>((resolve) => { socket.listen({ frame: () => resolve(), end: () => resolve() }); });
    socket.send(encodeMessage('hello', { protocol: protocolVersion, agentVersion: 't', node: 'n1', bootId: 'b', epoch: '', revision: 0 }));
    await welcomed;
    socket.destroy();
  }
  assert.equal(reused, [false, true, true], 'also with a TLS session of before');
  const agent = await startAgent(path, master.url, { random: () => 0 });
  await until('it is in, and renewed', () => agent.lines.some(({ message }) => message === 'certificate renewed'));
  assert.is(await apiCode(master, (await readIdentity(path))!), 200);
  assert.match(await tryOut(master, identity), /replaced by a newer one/);
  await agent.stop();
  await master.stop();
});

test('after the offline window only a token helps', async () => {
  const past = await startTlsMaster({ skewMs: -400 * day, certificateMs: 365 * day });
  const { identity } = await enrolled(directory, past);
  await past.stop();
  const master = await startTlsMaster({ store: past.registry.store, pki: past.pki, windowMs: 30 * day });
  assert.match(await tryOut(master, identity), /HTTP 401: the certificate of system:node:n1 ended at .*, longer ago than the offline window/);
  await master.stop();
  const future = await startTlsMaster({ skewMs: -600 * day, store: past.registry.store, pki: past.pki, windowMs: 0 });
  assert.is(await tryOut(future, identity), 'ok', 'a master whose clock went back takes what is not valid yet');
  await future.stop();
});

test('an expired certificate that somebody else signed is nothing, whatever OpenSSL names as the problem', async () => {
  const master = await startTlsMaster();
  const { identity } = await enrolled(directory, master);
  const subject = { name: 'system:node:n1', groups: ['system:nodes'] };
  const old = { use: 'client', days: 1, nowMs: Date.now() - 10 * day } as const;
  // Same name of the authority, another key: to OpenSSL its last problem is the date.
  const stranger = await createAuthority('wherry-ca', 365, Date.now() - 20 * day);
  const { serialNumber } = new X509Certificate(identity.certificate);
  const forged = await issue(stranger, { subject, ...old, serial: serialNumber });
  const server = await issue(master.pki.authority, { subject, ...old, use: 'server', hosts: ['n1'] });
  const genuine = await issue(master.pki.authority, { subject, ...old });
  for (const pair of [forged, server]) assert.match(await tryOut(master, pair), /HTTP 40[13]/);
  assert.match(await tryOut(master, forged), /HTTP 403/, 'not even known as a node');
  assert.match(await tryOut(master, genuine), /replaced by a newer one/, 'and ours with another key is not the recorded one');
  await master.stop();
});

async function masterWith(change: (authority: KeyPair) => Promise<KeyPair>): Promise<{ master: TlsMaster; identity: Identity; path: string }> {
  const past = await startTlsMaster();
  const { identity, path } = await enrolled(directory, past);
  await past.stop();
  const pair = await change(past.pki.authority);
  return { master: await startTlsMaster({ store: past.registry.store, pki: past.pki, tls: { key: pair.key, cert: pair.certificate } }), identity, path };
}

const hosts = ['127.0.0.1', masterName];

test('a master\'s certificate that is out of time is still the master\'s; any other fault counts', async () => {
  const subject = { name: 'wherry-master' };
  const expired = { subject, use: 'server', hosts, days: 1, nowMs: Date.now() - 10 * day } as const;
  const { master, path } = await masterWith((authority) => issue(authority, expired));
  const agent = await startAgent(path, master.url);
  await until('it is in', () => master.hub.isConnected('n1'));
  // Once more, with the TLS session of the first time.
  master.hub.accept('n1', { bufferedBytes: 0, send: () => {}, listen: () => {}, pause: () => {}, resume: () => {}, close: () => {}, destroy: () => {} });
  await until('it was replaced, and is in again', () => agent.lines.some(({ why }) => /replaced by a newer session/.test(why)) && master.hub.isConnected('n1'));
  assert.is(agent.lines.filter(({ message }) => /master's certificate is not valid at this host's time/.test(message)).length, 1);
  await agent.stop();
  await master.stop();
  // An agent whose clock says 1970 sees one of the future.
  const early = await masterWith((authority) => issue(authority, { ...expired, nowMs: Date.now() + 10 * day }));
  assert.is(await tryOut(early.master, early.identity), 'ok');
  await early.master.stop();
  const faults: readonly [RegExp, (authority: KeyPair) => Promise<KeyPair>][] = [
    [/of another authority/, async () => issue(await createAuthority('wherry-ca', 365), expired)],
    [/not for kubernetes.default.svc/, (authority) => issue(authority, { ...expired, hosts: ['127.0.0.1'] })],
    [/no server's/, (authority) => issue(authority, { ...expired, use: 'client' })],
    [/not to be trusted/, async () => issue(await createAuthority('wherry-ca', 365), { ...expired, nowMs: Date.now() })],
    [/not to be trusted/, (authority) => issue(authority, { ...expired, nowMs: Date.now(), hosts: ['127.0.0.1'] })],
  ];
  for (const [why, change] of faults) {
    const { master: wrong, identity } = await masterWith(change);
    assert.match(await tryOut(wrong, identity), why);
    await wrong.stop();
  }
});

test('an agent whose clock says 1970 says how wrong it is, and renews by the master\'s', async () => {
  const master = await startTlsMaster({ certificateMs: 6000 });
  const { path } = await enrolled(directory, master);
  const agent = await startAgent(path, master.url, { skewMs: -Date.now(), random: () => 0 });
  await until('it was renewed', () => agent.lines.some(({ message }) => message === 'certificate renewed'));
  assert.is(agent.lines.filter(({ message }) => /clock and the master's differ/.test(message)).length, 1);
  await agent.stop();
  await master.stop();
});

test('several masters are tried in turn, whatever their addresses', async () => {
  const master = await startTlsMaster();
  const { path } = await enrolled(directory, master);
  const agent = await startAgent(path, '', { servers: ['https://127.0.0.1:1', `https://localhost:${master.port}`] });
  await until('it is in', () => master.hub.isConnected('n1'));
  await agent.stop();
  const nowhere = await startAgent(path, '', { servers: ['https://127.0.0.1:1', 'https://127.0.0.1:2'] });
  await until('both are named', () => nowhere.lines.some(({ why }) => /127.0.0.1:1.*; .*127.0.0.1:2/.test(why)));
  await nowhere.stop();
  const fresh = await directory();
  assert.ok(await enrol({ directory: fresh, server: `https://127.0.0.1:1,${master.url}`, token: await master.joinToken(), nodeName: 'n2', clock: systemClock, random: () => 0.01, log: silentLog }, never));
  await master.stop();
});

test('the master has moved: an agent that is told where to goes on as the node that it is, without a token', async () => {
  const store = openMemoryStore();
  const old = await startTlsMaster({ store });
  const { path } = await enrolled(directory, old);
  const state = new MemoryState();
  const before = await startAgent(path, old.url, { state });
  await until('it is in', () => old.hub.isConnected('n1'));
  const { pki } = old;
  await old.stop();
  const moved = await startTlsMaster({ store, pki });
  await until('it says where it looks', () => before.lines.some(({ why }) => why.includes(`:${old.port}`)));
  assert.not(moved.hub.isConnected('n1'));
  await before.stop();
  const after = await startAgent(path, moved.url, { state });
  await until('it is in again', () => moved.hub.isConnected('n1'));
  await after.stop();
  await moved.stop();
});

test('a server certificate that is renewed meets new connections, and the old ones stay', async () => {
  const master = await startTlsMaster();
  const { identity } = await enrolled(directory, master);
  const session = await connector({ ...identity, server: master.url })(never);
  let over = false;
  session.listen({ frame: () => {}, end: () => { over = true; } });
  const fresh = await issue(master.pki.authority, { subject: { name: 'wherry-master' }, use: 'server', hosts, days: 2 });
  master.server.useTls({ key: fresh.key, cert: fresh.certificate, ca: master.pki.authority.certificate });
  const { socket } = await connectSecurely({ url: new URL(master.url), ca: identity.ca, name: masterName, identity, timeoutMs: 5000, signal: never });
  const seen = socket.getPeerX509Certificate()!.fingerprint256;
  socket.destroy();
  assert.is(seen, new X509Certificate(fresh.certificate).fingerprint256);
  assert.is((await fetchFrom({ url: new URL(identityPath, master.url), trust: { ca: identity.ca, name: masterName }, identity, signal: never })).body, '{"user":"system:node:n1"}');
  assert.not.ok(over);
  session.destroy();
  await master.stop();
});

test('a damaged identity file is read from its copy; both damaged is one clear line', async () => {
  const master = await startTlsMaster();
  const { path, identity } = await enrolled(directory, master);
  assert.equal((await readdir(path)).sort(), ['identity.backup.json', 'identity.json']);
  await truncate(join(path, 'identity.json'), 100);
  assert.equal(await readIdentity(path), identity);
  await truncate(join(path, 'identity.backup.json'), 0);
  const why = await readIdentity(path).then(() => '', (error: Error) => error.message);
  assert.match(why, /identity.json is unreadable .*identity.backup.json is unreadable .*enrol again/);
  assert.is((await readFile(join(path, 'identity.json'), 'utf8')).length, 100);
  await master.stop();
});

test.after(cleanUp);

test.run();
