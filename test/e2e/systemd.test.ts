import { stat } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, run, until } from './lab.ts';
import { agentProgram, execute, Loopback, startSystemd, statusOf, type Answer } from './operations-support.ts';

/** `wherry agent install` under a real systemd, in a container; its engine is this host's. The cases build on each other. */
const test = suite('systemd');
const node = 'systemd-node';
let lo: Loopback;
let host: Awaited<ReturnType<typeof startSystemd>>;

test.before(async () => {
  if (!await stat('/usr/lib/systemd/systemd').catch(() => undefined)) {
    await run('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', 'systemd'], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeoutMs: 300_000 });
  }
  await buildBusybox();
  lo = await Loopback.start('sysd', 27_042, '10.198.0.0/16');
  const programs = [process.cwd(), ...(process.execPath.startsWith('/usr/') ? [] : [process.execPath])].map((path) => `${path}:${path}:ro`);
  host = await startSystemd('ops', [...programs, `${lo.directory}:${lo.directory}`], lo.directory);
});
test.after(async () => {
  await host?.down();
  await lo?.down();
});

const agent = (...args: string[]): Promise<Answer> => host.exec(process.execPath, agentProgram, ...args);
const status = () => statusOf(process.execPath, agentProgram, 'status', '--data-dir', lo.dataDir);
const property = async (name: string): Promise<string> => (await host.exec('systemctl', 'show', '-p', name, '--value', 'wherry-agent')).out.trim();
const succeeded = ({ code, out, err }: Answer): string => { assert.is(code, 0, out + err); return out; };

test('no engine, no master: one line, and nothing is installed', async () => {
  const none = await agent('install', '--master', lo.master, '--token', await lo.token(), '--docker-host', '/run/nothing.sock');
  assert.is(none.code, 1);
  assert.match(none.err, /^wherry-agent: there is no Docker engine at \/run\/nothing\.sock: [^\n]*\n$/);
  assert.is((await host.exec('test', '-e', '/etc/wherry')).code, 1);
});

test('install: the service is enabled, runs, and is connected', async () => {
  const out = succeeded(await agent('install', '--master', lo.master, '--token', await lo.token(), '--node-name', node, '--node-ip', '127.0.0.1', '--data-dir', lo.dataDir, '--docker-host', '/hostrun/docker.sock'));
  assert.match(out, /\nNode systemd-node is connected to https:/);
  assert.equal(await Promise.all(['ActiveState', 'UnitFileState', 'NoNewPrivileges'].map(property)), ['active', 'enabled', 'yes']);
  succeeded(await host.exec('test', '!', '-e', `${lo.dataDir}/join-token`));
});

test('under all that the unit forbids: pods, the route and the ports of services', async () => {
  await lo.pod('web', node, {}, { app: 'web' });
  const made = await (await lo.api()).post('/api/v1/namespaces/default/services', { metadata: { name: 'web' }, spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } });
  const { clusterIP } = made['spec'] as { clusterIP: string };
  const now = await until('the pod runs and its service is served', 60_000, async () => {
    const seen = await status();
    return seen.pods[0]?.status === 'Running' && seen.listeners?.find(({ socket }) => socket === `TCP/${clusterIP}:80`)?.state === 'open' && seen;
  });
  assert.equal(now.serviceRange, { cidr: lo.range, local: true });
  assert.equal(now.listeners!.filter(({ state }) => state === 'failing'), []);
});

test('installing it again changes nothing; killed, it comes back; its pods do not notice', async () => {
  const [before, containers] = [await property('MainPID'), await lo.containers()];
  succeeded(await agent('install'));
  assert.is(await property('MainPID'), before);
  succeeded(await host.exec('kill', '-9', before));
  await until('systemd has started it again', 60_000, async () => { const pid = await property('MainPID'); return pid !== '0' && pid !== before; });
  await until('it is connected', 60_000, async () => (await status()).code === 0);
  assert.equal(await lo.containers(), containers);
});

test('a changed setting restarts it; with --sandbox it runs too, where that can be', async () => {
  const before = await property('MainPID');
  assert.match(succeeded(await agent('install', '--log-level', 'debug')), /write \/etc\/wherry\/agent\.json\nrun systemctl daemon-reload\nrun systemctl restart/);
  assert.is.not(await property('MainPID'), before);
  const hidden = await agent('install', '--sandbox');
  assert.is(hidden.code, 1);
  assert.match(hidden.err, /^wherry-agent: --sandbox: hides \/tmp[^\n]*\n$/);
});

test('uninstall: the service is gone, containers go on until they are purged', async () => {
  assert.match(succeeded(await agent('uninstall')), /Containers go on, and .* keeps identity and state/);
  assert.is(await property('LoadState'), 'not-found');
  for (const path of ['/etc/wherry', '/etc/systemd/system/wherry-agent.service', '/etc/systemd/system/multi-user.target.wants/wherry-agent.service']) assert.is((await host.exec('test', '-e', path)).code, 1, path);
  assert.is((await lo.containers()).size, 2);
  assert.match(succeeded(await agent('uninstall', '--purge', '--data-dir', lo.dataDir, '--docker-host', '/hostrun/docker.sock')), /removed 2 containers\nremoved the route of 10\.198\.0\.0\/16\n/);
  assert.is((await lo.containers()).size, 0);
  assert.not.match((await execute('ip', '-4', 'route', 'show', 'table', 'local')).out, /10\.198\.0\.0/);
});

test('with --sandbox and its data in /var/lib it runs as well', async () => {
  const installed = await agent('install', '--sandbox', '--master', lo.master, '--token', await lo.token(), '--node-name', 'sandboxed', '--node-ip', '127.0.0.1', '--docker-host', '/hostrun/docker.sock');
  // A checkout below one of these is hidden from a sandboxed agent, and said to be.
  if (/^\/(tmp|var\/tmp|home|root)\//.test(process.cwd())) return void assert.match(installed.err, /^wherry-agent: --sandbox: hides [^\n]+ keep the program elsewhere\n$/);
  const out = succeeded(installed);
  assert.match(out, /\nNode sandboxed is connected to https:/);
  assert.is(await property('ProtectSystem'), 'strict');
  succeeded(await agent('uninstall', '--purge'));
});

test.run();
