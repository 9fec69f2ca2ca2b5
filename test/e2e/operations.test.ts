import { cp, mkdir, readFile, stat } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { purge } from '../../agent/ops/purge.ts';
import { StepError } from '../../agent/ops/steps.ts';
import { masterName } from '../../agent/session/connect.ts';
import type { FleetStatus } from '../../master/status/stream.ts';
import { buildBusybox, until } from './lab.ts';
import { agentProgram, execute, Loopback, statusOf, type Answer } from './operations-support.ts';

/** An agent from `install --root` to `uninstall --purge`, with a real master and Docker. The cases build on each other. */
const test = suite('operations');
const node = 'ops-node';
let lo: Loopback;
let root = '';
let command: string[] = [];
/** What the two watches printed. */
const text = { lines: '', json: '' };

test.before(async () => {
  await buildBusybox();
  lo = await Loopback.start('ops', 27_041, '10.197.0.0/16');
  root = join(lo.directory, 'root');
});
test.after(async () => { await lo?.down(); });

const status = () => statusOf(process.execPath, agentProgram, 'status', '--data-dir', lo.dataDir);
const screen = (): Promise<Answer> => execute(process.execPath, agentProgram, 'status', '--data-dir', lo.dataDir);
const fleet = async (): Promise<FleetStatus> => JSON.parse((await lo.wherry('status', '--json')).out) as FleetStatus;
/** Runs the unit's command on a host whose /etc is this one's under that of the root: what an image made so would be. */
const startAgent = (): void => { lo.spawn('agent', ['unshare', '--mount', 'sh', '-c', 'mount -t overlay overlay -o "lowerdir=$0/etc:/etc" /etc && exec "$@"', root, ...command]); };

test('before anything is installed there is no agent', async () => {
  const { code, out } = await screen();
  assert.is(code, 2);
  assert.match(out, /^No agent runs in /);
});

test('the command of the unit that install wrote brings a node up, once without a token', async () => {
  const { code, err } = await execute(process.execPath, agentProgram, 'install', '--root', root, '--master', lo.master, '--token', await lo.token(), '--node-name', node, '--node-ip', '127.0.0.1', '--data-dir', lo.dataDir);
  assert.is(code, 0, err);
  const unit = await readFile(join(root, 'etc/systemd/system/wherry-agent.service'), 'utf8');
  command = /^ExecStart=(.*)$/m.exec(unit)![1]!.split(' ');
  assert.equal(command, [process.execPath, agentProgram, '--config', '/etc/wherry/agent.json']);
  await cp(join(root, lo.dataDir), lo.dataDir, { recursive: true });
  startAgent();
  const up = await until('the agent is connected', 60_000, async () => { const now = await status(); return now.code === 0 && now; });
  assert.equal([up.state, up.node, up.master, up.link?.phase, up.link?.sessions], ['connected', node, lo.master.replace('wss:', 'https:'), 'connected', 1]);
  assert.ok(up.link!.bytesSent > 100 && up.link!.bytesReceived > 100 && up.flash!.journalBytes > 0 && up.memory!.residentBytes > 10e6);
  assert.ok(Date.parse(up.certificate!.notAfter) > Date.now() + 86_400_000);
  assert.is(await stat(join(lo.dataDir, 'join-token')).catch(() => 'gone'), 'gone');
  assert.is((await stat(join(lo.dataDir, 'agent.sock'))).mode & 0o777, 0o600);
  await lo.kill('agent', 'SIGTERM');
  assert.is((await status()).code, 2);
  startAgent();
  await until('it is connected without its token', 60_000, async () => (await status()).code === 0);
});

test('pods: what they do, and what keeps one from running', async () => {
  await lo.pod('good', node);
  await lo.pod('bad', node, { command: ['sh', '-c', 'exit 3'] });
  const now = await until('both are known', 60_000, async () => {
    const seen = await status();
    const [bad, good] = seen.pods;
    return good?.status === 'Running' && (bad?.restarts ?? 0) > 0 && seen.unsent?.pods === 0 && seen;
  });
  const [bad, good] = now.pods;
  assert.equal([good!.name, good!.ready, good!.lastError], ['good', '1/1', undefined]);
  assert.match(bad!.lastError!, /^main: .*exit code 3/);
  const { code, out } = await screen();
  assert.is(code, 0);
  assert.match(out, /^Node ops-node is connected to https:/);
  assert.match(out, /^default +bad +0\/1 .*exit code 3/m);
  assert.ok(out.split('\n').length < 25);
});

test('the fleet, once and as it changes', async () => {
  const { nodes, totals } = await fleet();
  assert.equal(nodes.map(({ name, state, connected, version, lag, pods }) => [name, state, connected, version, lag, pods.total]), [[node, 'Ready', true, '0.1.0', 0, 2]]);
  assert.equal([totals.nodes, totals.ready, totals.connected], [1, 1, 1]);
  assert.match((await lo.wherry('status')).out, /\nops-node +Ready +\d+\S* +now +0 +0\.1\.0 +[12]\/2\n/);
  const lines = lo.spawn('lines', [process.execPath, join(agentProgram, '../../master/main.js'), 'status', '--watch', '--data-dir', join(lo.directory, 'master')]);
  const json = lo.spawn('json', [process.execPath, join(agentProgram, '../../master/main.js'), 'status', '--watch', '--json', '--data-dir', join(lo.directory, 'master')]);
  lines.stdout!.on('data', (chunk: Buffer) => { text.lines += chunk.toString(); });
  json.stdout!.on('data', (chunk: Buffer) => { text.json += chunk.toString(); });
  await until('the snapshot is shown', 30_000, () => Promise.resolve(text.lines.includes('ops-node: Ready, connected') && text.json.includes('"snapshot"')));
  await (await lo.api()).delete('/api/v1/namespaces/default/pods/bad');
  await until('the pod is gone from it', 60_000, () => Promise.resolve(/ops-node: Ready, connected, 1\/1 pods, agent 0\.1\.0 \(was /.test(text.lines)));
  await until('as JSON too', 30_000, () => Promise.resolve(text.json.trim().split('\n').map((line) => JSON.parse(line) as { nodes: { pods: { total: number } }[] }).some((one) => one.nodes[0]?.pods.total === 1)));
});

test('only administrators see the fleet', async () => {
  const identity = JSON.parse(await readFile(join(lo.dataDir, 'identity/identity.json'), 'utf8')) as { key: string; certificate: string; ca: string };
  const tls = { ca: identity.ca, servername: masterName };
  for (const who of [{ ...tls, key: identity.key, cert: identity.certificate }, tls]) {
    const code = await new Promise((resolve, reject) => { request(`https://127.0.0.1:${lo.port}/wherry/v1/status`, who, (answer) => { answer.resume(); resolve(answer.statusCode); }).on('error', reject).end(); });
    assert.ok(code === 403 || code === 401, String(code));
    const socket = new WebSocket(`wss://127.0.0.1:${lo.port}/wherry/v1/status?watch`, who);
    const refused = await new Promise<number | undefined>((resolve, reject) => { socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode)); socket.on('open', () => reject(new Error('let in'))); socket.on('error', () => undefined); });
    assert.ok(refused === 403 || refused === 401, String(refused));
    socket.terminate();
  }
});

test('the master is away: the agent says so, and what it tries; the watch says so too', async () => {
  await lo.kill('master');
  const away = await until('it is noticed', 60_000, async () => { const now = await status(); return now.code === 1 && now.link?.nextTry !== undefined && now; });
  assert.equal([away.state, away.pods.map(({ name, status: text }) => [name, text])], ['not connected', [['good', 'Running']]]);
  assert.match(away.link!.lastError!.message, /ECONNREFUSED|closed|1006/);
  const { code, out } = await screen();
  assert.is(code, 1);
  assert.match(out, /^Node ops-node is not connected to .*; its pods go on\n/);
  assert.match((await lo.wherry('status')).err, /^wherry: cannot reach the master at https:[^\n]*\n$/);
  await lo.startMaster();
  await until('it is back', 60_000, async () => (await status()).code === 0);
  await until('the watch has come back by itself', 60_000, () => Promise.resolve(/the master does not answer[^]*ops-node: Ready, connected/.test(text.lines)));
  await lo.kill('agent');
  await until('the master sees that it is gone', 60_000, async () => (await fleet()).nodes[0]?.connected === false);
  await until('so does the watch', 60_000, () => Promise.resolve(/the master does not answer[^]*ops-node: \w+, not connected/.test(text.lines)));
  await lo.kill('lines');
  await lo.kill('json');
});

test('a killed agent: its files tell, its containers go on', async () => {
  const stopped = await status();
  assert.equal([stopped.code, stopped.state, stopped.node, stopped.pods.map(({ name, phase }) => [name, phase])], [2, 'not running', node, [['good', 'Running']]]);
  assert.ok(stopped.held.revision > 0);
  const states = (await lo.runtime.containers('io.wherry.owner', lo.dataDir)).map(({ state }) => state);
  assert.equal(states, ['running', 'running']);
});

test('an emptyDir in memory that the engine would not see is refused', async () => {
  const host = join(agentProgram, '../volumes/host.js');
  const script = `import(${JSON.stringify(host)}).then(({ prepareEmptyDir }) => prepareEmptyDir(${JSON.stringify(join(lo.directory, 'memory'))}, { medium: 'Memory' }, undefined)).then(() => console.log('made'), (error) => console.log(error.message))`;
  assert.match((await execute('unshare', '--mount', process.execPath, '-e', script)).out, /^medium Memory cannot be served: what this agent mounts is not seen by the engine/);
  assert.is((await execute(process.execPath, '-e', script)).out, 'made\n');
  assert.is((await execute('umount', join(lo.directory, 'memory'))).code, 0);
});

test('uninstall takes away what install made; purge the rest, when no agent runs', async () => {
  startAgent();
  await until('it is connected', 60_000, async () => (await status()).code === 0);
  const report: string[] = [];
  const options = { dataDir: lo.dataDir, runtime: lo.runtime, report: (line: string) => { report.push(line); } };
  try {
    await purge(options);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, StepError);
    assert.match((error as Error).message, /still runs the agent/);
  }
  await lo.kill('agent', 'SIGTERM');
  assert.is((await execute(process.execPath, agentProgram, 'uninstall', '--root', root)).code, 0);
  assert.is(await stat(join(root, 'etc/wherry')).catch(() => 'gone'), 'gone');
  assert.is((await lo.containers()).size, 2);
  // What an emptyDir in memory leaves mounted.
  await mkdir(join(lo.dataDir, 'pods/x'), { recursive: true });
  assert.is((await execute('mount', '-t', 'tmpfs', 'tmpfs', join(lo.dataDir, 'pods/x'))).code, 0);
  await purge(options);
  assert.equal(report, ['removed 2 containers', 'removed the route of 10.197.0.0/16', `removed ${lo.dataDir}`]);
  assert.is((await lo.containers()).size, 0);
  assert.is(await stat(lo.dataDir).catch(() => 'gone'), 'gone');
  assert.not.match((await execute('ip', '-4', 'route', 'show', 'table', 'local')).out, /10\.197\.0\.0/);
});

test.run();
