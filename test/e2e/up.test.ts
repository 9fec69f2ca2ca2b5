import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, until } from './lab.ts';

/** `wherry up` where nothing was before. */
const test = suite('up');
const program = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const serviceRange = '10.124.0.0/24';
let directory = '';
let up: ChildProcess;

test.before(async () => {
  await run('bash', ['manifests/demo/docker.sh', 'ensure'], { timeoutMs: 10 * 60_000 });
  directory = await mkdtemp(join(tmpdir(), 'wherry-up-'));
  up = spawn(process.execPath, [program('master/main.js'), 'up', '--data-dir', directory, '--bind-address', '127.0.0.1', '--port', '16495', '--service-cidr', serviceRange, '--node-name', 'up', '--node-ip', '127.0.0.1', '--log-level', 'warn'], { stdio: 'inherit' });
});

test.after(async () => {
  if (up.exitCode === null && up.signalCode === null) {
    up.kill('SIGTERM');
    await once(up, 'exit');
  }
  await run('ip', ['route', 'del', 'local', serviceRange, 'dev', 'lo']).catch(() => {});
  await rm(directory, { recursive: true, force: true });
});

/** Command lines of this test's agent, as everybody on the host sees them. */
async function commandLines(): Promise<string[]> {
  const all = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return all.filter((line) => line.includes(join(directory, 'agent')) && line.includes('--master'));
}

test('master and agent find each other at their first start, and no list of processes shows the token', async () => {
  await until('the agent is connected', 120_000, async () => {
    const status = await run(process.execPath, [program('agent/main.js'), 'status', '--json', '--data-dir', join(directory, 'agent')]).catch(() => '{}');
    return (JSON.parse(status) as { state?: string }).state === 'connected';
  });
  const lines = await commandLines();
  assert.is(lines.length, 1);
  assert.not.match(lines[0]!, /wherry1\.|token/);
});

test('both end in order', async () => {
  up.kill('SIGTERM');
  assert.equal(await once(up, 'exit'), [0, null]);
  assert.equal(await commandLines(), []);
});

test.run();
