import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { candidatePath, download, DownloadError, removeCandidates, type DownloadOptions } from '../../../agent/upgrade/download.ts';
import type { Pki } from '../../../master/pki.ts';
import { makePki } from '../../fakes/tls-master.ts';

const test = suite('upgrade download');
const program = randomBytes(300_000);
const sha256 = createHash('sha256').update(program).digest('hex');
let pki: Pki;
let server: Server;
let directory = '';
/** What the server was asked for, and after how many bytes it cuts each connection. */
let ranges: (string | undefined)[] = [];
let cuts: (number | undefined)[] = [];
let served: Buffer = program;
let status = 206;

test.before(async () => {
  pki = await makePki();
  server = createServer({ key: pki.server.key, cert: pki.server.certificate }, (req, res) => {
    ranges.push(req.headers.range);
    if (status !== 206) return void res.writeHead(status).end('{"message":"not here"}');
    const from = Number(/\d+/.exec(req.headers.range ?? '')?.[0] ?? 0);
    const cut = cuts.shift();
    res.writeHead(206, { 'Content-Length': served.length - from });
    if (cut === undefined) return void res.end(served.subarray(from));
    res.write(served.subarray(from, from + cut), () => res.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
test.after(() => { server.close(); server.closeAllConnections(); });
test.before.each(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wherry-download-'));
  [ranges, cuts, served, status] = [[], [], program, 206];
});
test.after.each(() => rm(directory, { recursive: true, force: true }));

const path = (): string => candidatePath(join(directory, 'agent'), sha256);
const options = (change: Partial<DownloadOptions> = {}): DownloadOptions => ({
  sha256, bytes: program.length, path: path(), onProgress: () => {},
  reach: { server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, ca: pki.authority.certificate, identity: { key: pki.server.key, certificate: pki.server.certificate } },
  ...change,
});
const get = (change?: Partial<DownloadOptions>): Promise<void> => download(options(change), AbortSignal.timeout(20_000));
const failure = (change?: Partial<DownloadOptions>): Promise<Error> => get(change).then(() => assert.unreachable(), (error: Error) => error) as Promise<Error>;

test('a program comes whole, and can be run', async () => {
  await get();
  assert.equal(await readFile(path()), program);
  assert.is((await stat(path())).mode & 0o777, 0o755);
});

test('after a broken connection it goes on where it ended', async () => {
  cuts = [100_000];
  const error = await failure();
  assert.not.instance(error, DownloadError);
  const { size } = await stat(path());
  assert.ok(size > 0 && size < program.length, String(size));
  await get();
  assert.equal(ranges, ['bytes=0-', `bytes=${size}-`]);
  assert.equal(await readFile(path()), program);
});

test('what is there already is not fetched again', async () => {
  await writeFile(path(), program);
  await get();
  assert.equal(ranges, []);
});

test('other bytes than announced are thrown away', async () => {
  served = randomBytes(program.length);
  assert.match((await failure()).message, /^what came has SHA-256 /);
  served = Buffer.concat([program, Buffer.from('more')]);
  assert.match((await failure()).message, /^more than the announced 300000 bytes came$/);
  assert.instance(await failure(), DownloadError);
});

test('a program that no disk has room for is refused before a byte of it', async () => {
  const error = await failure({ bytes: 1e15 });
  assert.instance(error, DownloadError);
  assert.match(error.message, /MB free, and 1000000034 MB are needed$/);
  assert.equal(ranges, []);
});

test('a program that the master has not is not asked for twice, and a master in trouble is', async () => {
  status = 404;
  assert.instance(await failure(), DownloadError);
  status = 503;
  assert.not.instance(await failure(), DownloadError);
});

test('nothing is asked of a server that is not the master', async () => {
  const other = await makePki();
  assert.match((await failure({ reach: { ...options().reach, ca: other.authority.certificate } })).message, /not to be trusted/);
  assert.equal(ranges, []);
});

test('candidates of other upgrades are removed, and nothing else', async () => {
  for (const name of ['agent', 'agent.previous', 'agent.next-0123456789ab', 'agent.next-ba9876543210', 'agent2.next-0']) await writeFile(join(directory, name), '');
  await removeCandidates(join(directory, 'agent'), join(directory, 'agent.next-0123456789ab'));
  assert.equal((await readdir(directory)).sort(), ['agent', 'agent.next-0123456789ab', 'agent.previous', 'agent2.next-0']);
});

test.run();
