import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, run, until, type Lab } from './lab.ts';

/**
 * Agents are upgraded from the master, with two real binaries and with broken ones. Host 1 has a supervisor that starts
 * its agent whenever it exits, as systemd does; on host 2 nobody would.
 */
const test = suite('upgrade');
const build = fileURLToPath(new URL('../..', import.meta.url));
const newVersion = '0.2.0-test';
let lab: Lab;
let directory = '';
let newBinary = '';
let before = '';

const supervisor = `
case "$*" in *"--node-name node1 "*) ;; *) exec "$DIR/agent2" "$@" ;; esac
trap 'stopped=1; kill "$child"' TERM
while [ -z "$stopped" ]; do
  WHERRY_SUPERVISED=1 "$DIR/agent1" "$@" &
  child=$!
  wait "$child"; wait "$child"
  sleep 0.2
done
`;

async function makePackage(version?: string): Promise<string> {
  await run('npm', ['run', '-s', 'package', '--', 'own'], { env: { ...process.env, ...(version ? { WHERRY_VERSION: version } : {}) }, timeoutMs: 10 * 60_000 });
  const arch = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
  return resolve('dist/package', version ?? '', `wherry-agent-linux-${arch}`);
}

async function script(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
  return path;
}

/** What `wherry upgrade` prints, and whether it says that all is well. */
async function upgrade(...flags: string[]): Promise<{ readonly ok: boolean; readonly printed: string }> {
  try {
    return { ok: true, printed: await lab.on(0, process.execPath, join(build, 'master/main.js'), 'upgrade', '--data-dir', join(lab.directory, 'master'), ...flags) };
  } catch (error) {
    return { ok: false, printed: (error as { stdout?: string }).stdout ?? '' };
  }
}

const containers = async (): Promise<string> =>
  (await Promise.all([1, 2].map((host) => lab.docker(host, 'ps', '--no-trunc', '--format', '{{.Names}} {{.ID}}')))).join('').split('\n').sort().join('\n').trim();
const restarts = (): Promise<string> => lab.kubectl('get', 'pods', '-o', 'jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.status.containerStatuses[0].restartCount}{"\\n"}{end}');

async function assertUntouched(): Promise<void> {
  assert.is(await containers(), before);
  assert.is(await restarts(), 'web-1 Running 0\nweb-2 Running 0\n');
}

async function nodesReady(): Promise<void> {
  await until('both nodes are Ready', 60_000, async () =>
    (await lab.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}')) === 'True True');
}

test.before(async () => {
  await buildBusybox();
  directory = await mkdtemp(join(tmpdir(), 'wherry-upgrade-'));
  const oldBinary = await makePackage();
  newBinary = await makePackage(newVersion);
  for (const host of [1, 2]) await copyFile(oldBinary, join(directory, `agent${host}`));
  await writeFile(join(directory, 'supervise.sh'), supervisor.replaceAll('$DIR', directory));
  lab = await createLab({ hosts: 2, name: 'upgr', images: ['wherry-test/busybox'], agentCommand: ['sh', join(directory, 'supervise.sh')] });
  for (const host of [1, 2]) {
    await lab.kubectlWith(JSON.stringify({
      apiVersion: 'v1', kind: 'Pod', metadata: { name: `web-${host}` },
      spec: { nodeName: `node${host}`, containers: [{ name: 'web', image: 'wherry-test/busybox', imagePullPolicy: 'Never', command: ['sleep', '100000'] }] },
    }), 'create', '-f', '-');
  }
  await until('both pods run', 60_000, async () => (await restarts()) === 'web-1 Running 0\nweb-2 Running 0\n');
  before = await containers();
});
test.after(async () => {
  await lab?.down();
  if (directory) await rm(directory, { recursive: true, force: true });
});

test('a program that does not run is refused before anything is touched, and the roll-out stops there', async () => {
  const { ok, printed } = await upgrade('--binary', await script('exits', 'exit 1'), '--all');
  assert.is(ok, false);
  assert.match(printed, /^node1: FAILED: the program does not say its version: exit status 1$/m);
  assert.match(printed, /^node2: not begun$/m);
  assert.match(printed, /^node1 +0\.1\.0$/m);
  await assertUntouched();
});

test('one that ends on its trial is rolled back', async () => {
  for (const node of ['node1', 'node2']) {
    const { ok, printed } = await upgrade('--binary', await script('crashes', '[ "$1" != --version ] || exec echo wherry-agent/0.9.0-crash; kill -SEGV $$'), '--nodes', node);
    assert.is(ok, false);
    assert.match(printed, new RegExp(`^${node}: trying 0\\.9\\.0-crash$`, 'm'));
    assert.match(printed, new RegExp(`^${node}: FAILED, 0\\.9\\.0-crash was rolled back: it ended after .* s: SIGSEGV$`, 'm'));
    assert.match(printed, new RegExp(`^${node} +0\\.1\\.0$`, 'm'));
  }
  await nodesReady();
  await assertUntouched();
});

test('one that starts and never gets healthy is rolled back', async () => {
  const { ok, printed } = await upgrade('--binary', await script('hangs', '[ "$1" != --version ] || exec echo wherry-agent/0.9.1-hang; exec sleep 1000'), '--all', '--batch', '2', '--timeout', '5s');
  assert.is(ok, false);
  for (const node of ['node1', 'node2']) assert.match(printed, new RegExp(`^${node}: FAILED, 0\\.9\\.1-hang was rolled back: not healthy within 5 s: it said nothing$`, 'm'));
  await nodesReady();
  await assertUntouched();
});

test('an agent that is killed during a trial comes back as what it was, and the new one leaves', async () => {
  const asked = upgrade('--binary', await script('slow', `[ "$1" != --version ] || exec echo wherry-agent/0.9.2-slow; echo $PPID > ${directory}/parent.new; mv ${directory}/parent.new ${directory}/parent; exec ${newBinary} "$@"`), '--nodes', 'node1');
  const parent = await until('the trial has begun', 60_000, () => readFile(join(directory, 'parent'), 'utf8'));
  process.kill(Number(parent), 'SIGKILL');
  const { ok, printed } = await asked;
  assert.is(ok, false);
  assert.match(printed, /^node1: FAILED, 0\.9\.2-slow was rolled back: the node or its agent went down during the trial$/m);
  await nodesReady();
  await assertUntouched();
});

test('a good program is taken by all, with the same containers', async () => {
  const { ok, printed } = await upgrade('--binary', newBinary, '--selector', 'kubernetes.io/os=linux');
  assert.is(ok, true, printed);
  for (const node of ['node1', 'node2']) {
    assert.match(printed, new RegExp(`^${node}: trying ${newVersion}$`, 'm'));
    assert.match(printed, new RegExp(`^${node}: runs ${newVersion}$`, 'm'));
    assert.match(printed, new RegExp(`^${node} +${newVersion}$`, 'm'));
  }
  assert.match(printed, /^all nodes upgraded$/m);
  await nodesReady();
  await assertUntouched();
  for (const host of [1, 2]) {
    assert.match(await run(join(directory, `agent${host}`), ['--version']), new RegExp(`^wherry-agent/${newVersion} `));
    assert.match(await run(join(directory, `agent${host}.previous`), ['--version']), /^wherry-agent\/0\.1\.0 /);
  }
});

test('once more changes nothing, and the way back is an upgrade like any other', async () => {
  const again = await upgrade('--binary', newBinary, '--all', '--batch', '2');
  assert.is(again.ok, true, again.printed);
  assert.match(again.printed, /^node2: runs 0\.2\.0-test \(it runs already\)$/m);
  const back = await upgrade('--binary', join(directory, 'agent1.previous'), '--all', '--batch', '2');
  assert.is(back.ok, true, back.printed);
  for (const node of ['node1', 'node2']) assert.match(back.printed, new RegExp(`^${node} +0\\.1\\.0$`, 'm'));
  await nodesReady();
  await assertUntouched();
});

test('wrong flags are one line', async () => {
  const fails = (...flags: string[]): Promise<string> => lab.on(0, process.execPath, join(build, 'master/main.js'), 'upgrade', '--data-dir', join(lab.directory, 'master'), ...flags).then(() => '', (error: Error) => error.message);
  assert.match(await fails('--all'), /wherry: --binary is needed[^\n]*$/);
  assert.match(await fails('--binary', newBinary), /wherry: say which nodes[^\n]*$/);
  assert.match(await fails('--binary', newBinary, '--nodes', 'node9'), /wherry: nodes "node9" not found$/);
  assert.match(await fails('--binary', newBinary, '--selector', 'a=('), /wherry: [^\n]*$/);
  assert.match(await fails('--binary', '/nowhere', '--all'), /wherry: --binary: there is no file \/nowhere$/);
});

test.run();
