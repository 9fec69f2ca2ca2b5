import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { enrol, type EnrolOptions } from '../../../agent/enrol.ts';
import { connector } from '../../../agent/session/connect.ts';
import { Session } from '../../../agent/session.ts';
import { Journal } from '../../../agent/state/journal.ts';
import { systemClock } from '../../../shared/clock.ts';
import { kinds } from '../../../shared/kinds/index.ts';
import { configMaps } from '../../../shared/kinds/configmap.ts';
import { namespaces } from '../../../shared/kinds/namespace.ts';
import { pods } from '../../../shared/kinds/pod.ts';
import { services } from '../../../shared/kinds/service.ts';
import { silentLog } from '../../../shared/log.ts';
import { StatusError, unauthorized } from '../../../shared/status.ts';
import { certify, createAuthority, issue, type KeyPair } from '../../../master/certificates.ts';
import { Hub } from '../../../master/hub/hub.ts';
import { Registry } from '../../../master/registry/registry.ts';
import { openMemoryStore } from '../../../master/store/memory.ts';
import { nodeOf } from '../../fakes/cluster-link.ts';

const test = suite('link over TLS');
const token = 'abcdef.0123456789abcdef';

interface Master { readonly hub: Hub; readonly registry: Registry; readonly server: Server; readonly url: string; readonly authority: KeyPair; readonly joinToken: string; stop(): Promise<void> }

const hashOf = (certificate: string): string =>
  createHash('sha256').update(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })).digest('base64url');

async function startMaster(): Promise<Master> {
  const authority = await createAuthority('ca', 10);
  const pair = await issue(authority, { subject: { name: 'wherry-master' }, use: 'server', hosts: ['kubernetes.default.svc'], days: 10 });
  const registry = new Registry({ store: openMemoryStore(), clock: systemClock, random: Math.random, kinds, allocators: [] });
  for (const name of ['default', 'kube-node-lease']) await registry.create(namespaces, '', { metadata: { name } });
  const taken = new Map<string, string>();
  const hub = new Hub({
    registry, clock: systemClock, log: silentLog, masterVersion: 'test',
    settings: () => ({ serviceCIDR: '', clusterDomain: '', clusterDNS: '', podCIDR: '' }),
    enroller: {
      ca: authority.certificate,
      async enrol(request) {
        if (request.token !== token) throw unauthorized('no token has the id "zzzzzz"');
        const owner = taken.get(request.nodeName);
        if (owner !== undefined && owner !== request.publicKey) throw new StatusError(409, 'Conflict', `node "${request.nodeName}" is already enrolled with another key`);
        taken.set(request.nodeName, request.publicKey);
        return { certificate: await certify(authority, { subject: { name: `system:node:${request.nodeName}`, groups: ['system:nodes'] }, use: 'client', days: 10 }, request.publicKey), ca: authority.certificate };
      },
    },
  });
  const server = createServer({ key: pair.key, cert: pair.certificate, ca: authority.certificate, requestCert: true, rejectUnauthorized: false }, (req, res) => { void hub.answer(req, res); });
  server.on('upgrade', (req, socket, head) => {
    const { subject } = (req.socket as TLSSocket).getPeerCertificate();
    const known = (req.socket as TLSSocket).authorized;
    hub.upgrade(req, socket, head, known ? { name: String(subject.CN), groups: [String(subject.O)] } : { name: 'system:anonymous', groups: [] });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const abort = new AbortController();
  const running = hub.run(abort.signal);
  while (hub.stats().revision === 0) await new Promise((resolve) => { setTimeout(resolve, 5); });
  return {
    hub, registry, server, authority, url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    joinToken: `wherry1.${token}.${hashOf(authority.certificate)}`,
    stop: async () => { abort.abort(); await running; server.closeAllConnections(); server.close(); },
  };
}

const directories: string[] = [];
async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'agent-'));
  directories.push(path);
  return path;
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (holds()) return;
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
  throw new Error(`never: ${holds}`);
}

const optionsFor = (path: string, server: string | undefined, joinToken: string | undefined, nodeName = 'n1'): EnrolOptions =>
  ({ directory: path, server, token: joinToken, nodeName, clock: systemClock, random: Math.random, log: silentLog });

async function failure(options: EnrolOptions): Promise<string> {
  try {
    await enrol(options, new AbortController().signal);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

test('an agent enrols, and its session brings assignments to disk and reports to the store', async () => {
  const master = await startMaster();
  const path = await directory();
  const identity = (await enrol(optionsFor(path, master.url, master.joinToken), new AbortController().signal))!;
  assert.is((await stat(join(path, 'identity.json'))).mode & 0o777, 0o600);
  assert.ok(!(await readdir(path)).some((name) => name.endsWith('.new')));
  assert.equal(await enrol(optionsFor(path, undefined, undefined), new AbortController().signal), identity, 'a later start needs neither master nor token');
  assert.match(await failure(optionsFor(path, undefined, undefined, 'n2')), /enrolled as node "n1"/);

  const { registry } = master;
  await registry.create(configMaps, 'default', { metadata: { name: 'settings' }, data: { a: 'x'.repeat(200_000) } });
  for (let i = 0; i < 500; i++) await registry.create(services, 'default', { metadata: { name: `web-${i}` }, spec: { clusterIP: `10.96.${i >> 8}.${i & 255}`, ports: [{ port: 80 }] } });
  const { object: pod } = await registry.create(pods, 'default', { metadata: { name: 'web' }, spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i', envFrom: [{ configMapRef: { name: 'settings' } }] }] } });
  const state = await Journal.open({ directory: join(path, 'state'), log: silentLog });
  const abort = new AbortController();
  const session = new Session({
    node: 'n1', agentVersion: 't', bootId: 'b', state, clock: systemClock, random: Math.random, log: silentLog, onWelcome: () => {},
    connect: connector({ server: identity.server, key: identity.key, certificate: identity.certificate, ca: identity.ca }),
    async *openStream() { for (let i = 0; i < 50; i++) yield Buffer.alloc(50_000, i); },
  });
  const running = session.run(abort.signal);
  await until(() => state.items.size === 502);
  session.setNode(nodeOf('n1'));
  session.report({ namespace: 'default', name: 'web', uid: pod.metadata.uid!, gone: false, status: { phase: 'Running' } });
  await until(() => registry.find(pods, 'default', 'web')?.status.phase === 'Running');
  let size = 0;
  const stream = master.hub.openStream('n1', { type: 'logs', namespace: 'default', pod: 'web', uid: '', container: 'c', follow: false, previous: false, timestamps: false });
  stream.end();
  for await (const bytes of stream) size += bytes.length;
  assert.is(size, 2_500_000);
  abort.abort();
  await running;
  await state.close();
  await until(() => !master.hub.isConnected('n1'));
  await master.stop();
});

test('a frame that is too long ends the session that sent it', async () => {
  const master = await startMaster();
  const identity = (await enrol(optionsFor(await directory(), master.url, master.joinToken), new AbortController().signal))!;
  const connect = connector({ server: master.url, key: identity.key, certificate: identity.certificate, ca: identity.ca });
  const socket = await connect(new AbortController().signal);
  const ended = new Promise<string>((resolve) => { socket.listen({ frame: () => {}, end: resolve }); });
  socket.send(new Uint8Array(2 * 1024 * 1024));
  await ended;
  await until(() => master.hub.stats().sessions === 0);
  await master.stop();
});

test('without a certificate of the cluster there is no session', async () => {
  const master = await startMaster();
  const stranger = await createAuthority('other', 10);
  const pair = await issue(stranger, { subject: { name: 'system:node:n1', groups: ['system:nodes'] }, use: 'client', days: 10 });
  const user = await issue(master.authority, { subject: { name: 'somebody', groups: ['people'] }, use: 'client', days: 10 });
  for (const { key, certificate } of [pair, user]) {
    let why = '';
    await connector({ server: master.url, key, certificate, ca: master.authority.certificate })(new AbortController().signal).catch((error: Error) => { why = error.message; });
    assert.match(why, /403/);
  }
  let why = '';
  await connector({ server: master.url, ...{ key: pair.key, certificate: pair.certificate }, ca: stranger.certificate })(new AbortController().signal).catch((error: Error) => { why = error.message; });
  assert.match(why, /certificate/, 'and no master but the right one is trusted');
  await master.stop();
});

test('what prevents enrolment is said in one line', async () => {
  const master = await startMaster();
  const other = await createAuthority('other', 10);
  const hash = hashOf(master.authority.certificate);
  assert.match(await failure(optionsFor(await directory(), master.url, 'nonsense')), /not of the form wherry1/);
  assert.match(await failure(optionsFor(await directory(), master.url, undefined)), /a join token is needed/);
  assert.match(await failure(optionsFor(await directory(), master.url, `wherry1.${token}.${hashOf(other.certificate)}`)), /another authority than the join token names/);
  assert.match(await failure(optionsFor(await directory(), master.url, `wherry1.zzzzzz.0123456789abcdef.${hash}`)), /does not take the join token: no token has the id/);
  await enrol(optionsFor(await directory(), master.url, master.joinToken), new AbortController().signal);
  assert.is(await failure(optionsFor(await directory(), master.url, master.joinToken)), 'node "n1" is already enrolled with another key');
  const abort = new AbortController();
  const told: string[] = [];
  const trying = enrol({ ...optionsFor(await directory(), 'https://127.0.0.1:1', master.joinToken), log: { ...silentLog, warn: (_, fields) => { told.push(String(fields?.['why'])); abort.abort(); } } }, abort.signal);
  assert.is(await trying, undefined);
  assert.match(told[0] ?? '', /cannot reach the master at https:\/\/127.0.0.1:1: .*ECONNREFUSED/);
  await master.stop();
});

test.after(async () => {
  for (const path of directories) await rm(path, { recursive: true, force: true });
});

test.run();
