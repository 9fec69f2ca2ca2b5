import { createPrivateKey, X509Certificate } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Log } from '../../shared/log.ts';
import { silentLog } from '../../shared/log.ts';
import { kubeconfig, openPki, renewPki } from '../../master/pki.ts';
import { FakeClock } from '../fakes/clock.ts';

const test = suite('pki');
const day = 86_400_000;
const hosts = ['kubernetes.default.svc', '10.0.0.1'];
const directories: string[] = [];

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'pki-'));
  directories.push(path);
  return path;
}

const trusts = (ca: string, leaf: string): boolean => {
  const [authority, certificate] = [new X509Certificate(ca), new X509Certificate(leaf)];
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
};

test('key material is made once, private, and found again', async () => {
  const path = await directory();
  const first = await openPki(path, hosts);
  const second = await openPki(path, hosts);
  for (const name of ['authority', 'server', 'admin'] as const) assert.is(second[name].certificate.trim(), first[name].certificate.trim());
  for (const name of ['ca', 'server', 'admin']) assert.is((await stat(join(path, `${name}.key`))).mode & 0o777, 0o600);
  const other = await openPki(path, [...hosts, '10.0.0.2']);
  assert.is.not(other.server.certificate, second.server.certificate, 'another address needs another certificate');
  assert.is(other.admin.certificate, second.admin.certificate);
  assert.ok(new X509Certificate(other.server.certificate).checkIP('10.0.0.2'));
});

test('server and admin renew in the last third of their life, while the master runs', async () => {
  const clock = new CountingClock();
  const pki = await openPki(await directory(), hosts, clock);
  const [server, admin] = [pki.server, pki.admin];
  assert.equal(await pki.renew(), []);
  let renewals = 0;
  const abort = new AbortController();
  const running = renewPki({ pki, clock, log: silentLog, onRenewed: () => { renewals++; } }, abort.signal);
  const pass = async (days: number): Promise<void> => {
    for (let i = 0; i < days; i++) {
      const before = clock.timers;
      clock.advance(day);
      await until(() => clock.timers > before);
    }
  };
  await pass(240);
  assert.is(renewals, 0);
  assert.is(pki.server.certificate, server.certificate);
  await pass(10);
  assert.is(renewals, 1, 'both at once');
  assert.is.not(pki.server.certificate, server.certificate);
  assert.ok(trusts(pki.authority.certificate, pki.server.certificate));
  assert.ok(Date.parse(new X509Certificate(pki.server.certificate).validTo) > clock.now() + 350 * day);
  const text = kubeconfig(pki, 'https://10.0.0.1:6443');
  assert.ok(text.includes(Buffer.from(pki.admin.certificate).toString('base64')) && pki.admin.certificate !== admin.certificate);
  abort.abort();
  await running;
});

/** Counts timers, so that a test knows when a loop sleeps again. */
class CountingClock extends FakeClock {
  timers = 0;

  override after(ms: number, run: () => void): () => void {
    this.timers++;
    return super.after(ms, run);
  }
}

/** Lets files be written. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !holds(); i++) await new Promise((resolve) => { setTimeout(resolve, 2); });
  if (!holds()) throw new Error(`never: ${holds}`);
}

test('an authority in its last tenth is told of, and extended at start with the same key', async () => {
  const clock = new FakeClock();
  const path = await directory();
  const old = await openPki(path, hosts, clock);
  clock.advance(3300 * day);
  const told: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => { told.push(message); } };
  const abort = new AbortController();
  const running = renewPki({ pki: old, clock, log, onRenewed: () => {} }, abort.signal);
  clock.advance(day);
  await until(() => told.length > 0);
  abort.abort();
  await running;
  assert.match(told[0]!, /authority's certificate nears its end; restart/);
  const extended = await openPki(path, hosts, clock);
  assert.is.not(extended.authority.certificate, old.authority.certificate);
  assert.is(extended.authorityHash, old.authorityHash, 'join tokens and agents go on trusting it');
  assert.is(extended.authority.key.trim(), old.authority.key.trim());
  assert.is(new X509Certificate(extended.authority.certificate).subject, new X509Certificate(old.authority.certificate).subject);
  assert.ok(trusts(extended.authority.certificate, old.server.certificate), 'what it signed before stays good');
  assert.ok(trusts(old.authority.certificate, extended.server.certificate), 'also to those who know the old one only');
  assert.ok(Date.parse(new X509Certificate(extended.authority.certificate).validTo) > clock.now() + 3600 * day);
});

test('a key without its certificate, and a certificate of the future, are replaced', async () => {
  const clock = new FakeClock();
  const path = await directory();
  const first = await openPki(path, hosts, clock);
  // As a kill between the two files of a renewal leaves it.
  await copyFile(join(path, 'admin.key'), join(path, 'server.key'));
  const second = await openPki(path, hosts, clock);
  assert.is.not(second.server.certificate.trim(), first.server.certificate.trim());
  assert.ok(new X509Certificate(second.server.certificate).checkPrivateKey(createPrivateKey(await readFile(join(path, 'server.key')))));
  clock.advance(-20 * day);
  const third = await openPki(path, hosts, clock);
  assert.is.not(third.server.certificate.trim(), second.server.certificate.trim());
});

test('an authority whose key is another, or none, is refused in one line that names the file', async () => {
  const path = await directory();
  await openPki(path, hosts);
  for (const spoil of [() => writeFile(join(path, 'ca.key'), 'x\n'), () => copyFile(join(path, 'admin.key'), join(path, 'ca.key'))]) {
    await spoil();
    const said = await openPki(path, hosts).then(() => 'opened', (error: Error) => error.message);
    assert.is(said, `${join(path, 'ca.key')} is not the key of ca.crt; restore it from a backup`);
  }
});

test.after(async () => {
  for (const path of directories) await rm(path, { recursive: true, force: true });
});

test.run();
