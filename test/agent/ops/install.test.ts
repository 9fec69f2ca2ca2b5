import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { commandOf, planInstall, type InstallFacts } from '../../../agent/ops/install.ts';
import { applySteps, stepText, type Step } from '../../../agent/ops/steps.ts';
import { planUninstall } from '../../../agent/ops/uninstall.ts';

const test = suite('install');
const agent = fileURLToPath(new URL('../../../agent/main.js', import.meta.url));
const token = `wherry1.abcdef.0123456789abcdef.${'a'.repeat(43)}`;
let directory = '';
let root = '';

test.before.each(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wherry-install-'));
  root = join(directory, 'root');
});
test.after.each(async () => { await rm(directory, { recursive: true, force: true }); });

interface Answer { readonly code: number; readonly out: string; readonly err: string }
const run = (...args: string[]): Promise<Answer> => new Promise((resolve) => {
  execFile(process.execPath, [agent, ...args], { env: { PATH: process.env['PATH'] ?? '' } }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
});
const install = (...args: string[]): Promise<Answer> => run('install', '--root', root, ...args);
const filesIn = async (path: string): Promise<string[]> => (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(path.length)).sort();
const modeOf = async (path: string): Promise<string> => ((await stat(join(root, path))).mode & 0o777).toString(8);
const facts: InstallFacts = { root: '', program: { type: 'binary', path: '/home/me/wherry-agent' }, settings: { master: 'wss://m:6443' }, token, sandbox: false, systemd: true };

test('a binary is copied to its place, and the service started', () => {
  const steps = planInstall(facts);
  assert.equal(steps.map(stepText), [
    'copy /home/me/wherry-agent to /usr/local/bin/wherry-agent', 'write /etc/wherry/agent.json', 'make directory /var/lib/wherry/agent', 'write /var/lib/wherry/agent/join-token',
    'write /etc/systemd/system/wherry-agent.service', 'link /etc/systemd/system/multi-user.target.wants/wherry-agent.service to /etc/systemd/system/wherry-agent.service',
    'run systemctl daemon-reload', 'run systemctl restart wherry-agent.service',
  ]);
  assert.equal(commandOf(facts), ['/usr/local/bin/wherry-agent', '--config', '/etc/wherry/agent.json']);
  const script = planInstall({ ...facts, program: { type: 'script', command: ['/usr/bin/node', '/srv/agent/main.js'] }, systemd: false });
  assert.equal(script.filter(({ type }) => type === 'copy' || type === 'run'), []);
});

test('into another root: exactly these files, twice the same, and away again', async () => {
  const first = await install('--master', 'wss://m.example:6443', '--token', token, '--node-name', 'edge-7');
  assert.is(first.code, 0, first.err);
  assert.equal(await filesIn(root), [
    '/etc/systemd/system/multi-user.target.wants/wherry-agent.service', '/etc/systemd/system/wherry-agent.service', '/etc/wherry/agent.json', '/var/lib/wherry/agent/join-token',
  ]);
  assert.equal(JSON.parse(await readFile(join(root, 'etc/wherry/agent.json'), 'utf8')), { master: 'wss://m.example:6443', nodeName: 'edge-7' });
  assert.is(await readFile(join(root, 'var/lib/wherry/agent/join-token'), 'utf8'), `${token}\n`);
  assert.equal(await Promise.all(['etc/wherry/agent.json', 'var/lib/wherry/agent/join-token', 'var/lib/wherry/agent'].map(modeOf)), ['644', '600', '700']);
  assert.is(await readlink(join(root, 'etc/systemd/system/multi-user.target.wants/wherry-agent.service')), '/etc/systemd/system/wherry-agent.service');
  assert.not.match(first.out, /0123456789abcdef/);
  const again = await install();
  assert.match(again.out, /^Nothing to change/);
  const changed = await install('--log-level', 'debug', '--sandbox');
  assert.match(changed.out, /write .*agent\.json\nwrite .*wherry-agent\.service\n/);
  assert.equal(JSON.parse(await readFile(join(root, 'etc/wherry/agent.json'), 'utf8')), { master: 'wss://m.example:6443', nodeName: 'edge-7', logLevel: 'debug' });
  // What is not said stays as it was.
  assert.match((await install()).out, /^Nothing to change/);
  assert.match(await readFile(join(root, 'etc/systemd/system/wherry-agent.service'), 'utf8'), /^ProtectSystem=strict$/m);
  await writeFile(join(root, 'etc/systemd/system/other.service'), '');
  assert.is((await run('uninstall', '--root', root)).code, 0);
  assert.equal(await filesIn(root), ['/etc/systemd/system/other.service']);
  assert.is((await run('uninstall', '--root', root)).code, 0);
});

test('a new program takes the place of the old one, which may be running', async () => {
  const binary = join(directory, 'new');
  const program = { type: 'binary', path: binary } as const;
  const apply = async (steps: readonly Step[]): Promise<string[]> => {
    const done: string[] = [];
    await applySteps(steps, (step, outcome) => { if (outcome === 'done') done.push(step.type); });
    return done;
  };
  await writeFile(binary, 'one', { mode: 0o700 });
  assert.equal(await apply(planInstall({ ...facts, root, program, systemd: false })), ['copy', 'write', 'directory', 'write', 'write', 'link']);
  const before = await stat(join(root, 'usr/local/bin/wherry-agent'));
  assert.is(before.mode & 0o777, 0o755);
  await writeFile(binary, 'two');
  assert.equal(await apply(planInstall({ ...facts, root, program, systemd: false })), ['copy']);
  assert.is(await readFile(join(root, 'usr/local/bin/wherry-agent'), 'utf8'), 'two');
  assert.is.not((await stat(join(root, 'usr/local/bin/wherry-agent'))).ino, before.ino);
  assert.equal(await filesIn(join(root, 'usr')), ['/local/bin/wherry-agent']);
  await apply(planUninstall({ root, dataDir: '/var/lib/wherry/agent', dockerHost: undefined, binary: true, systemd: false, purge: false }));
  assert.equal(await filesIn(root), []);
});

test('commands of the service manager run when something changed, or it is not as it should be', async () => {
  const mark = join(directory, 'ran');
  const step = (unless: string): Step => ({ type: 'run', command: ['touch', mark], unless: [unless] });
  await applySteps([step('true')], () => undefined);
  assert.is(await stat(mark).catch(() => 'no'), 'no');
  await applySteps([step('false')], () => undefined);
  await rm(mark);
  await applySteps([{ type: 'directory', path: join(directory, 'made'), mode: 0o700 }, step('true')], () => undefined);
  await rm(mark);
});

test('a dry run shows all of it and writes nothing', async () => {
  const { code, out } = await install('--master', 'wss://m:6443', '--token', token, '--dry-run');
  assert.is(code, 0);
  assert.match(out, /write .*\/etc\/wherry\/agent\.json\n {4}\{/);
  assert.match(out, /Restart=always/);
  assert.not.match(out, /0123456789abcdef/);
  assert.is(await stat(root).catch(() => 'no'), 'no');
});

test('what cannot be is refused in one line, and nothing is written', async () => {
  const cases: readonly [readonly string[], RegExp][] = [
    [['--token', token], /--master is needed/],
    [['--master', 'wss://m:6443'], /--token is needed/],
    [['--master', 'wss://m:6443', '--token', 'x'], /--token: must be of the form/],
    [['--master', 'm', '--token', token], /--master: must be an address/],
    [['--master', 'wss://m:6443', '--token', token, '--sandbox', '--data-dir', '/home/me/agent'], /--sandbox: hides \/home\/me\/agent/],
    [['--frobnicate'], /^wherry-agent: unknown option `--frobnicate`; see wherry-agent install --help$/m],
    [['more'], /unexpected argument "more"/],
  ];
  for (const [args, expected] of cases) {
    const { code, err } = await install(...args);
    assert.is(code, 1);
    assert.match(err, expected);
    assert.match(err, /^wherry-agent: [^\n]*\n$/);
  }
  assert.is(await stat(root).catch(() => 'no'), 'no');
});

test('a unit of somebody else\'s is left alone', async () => {
  const path = join(root, 'etc/systemd/system/wherry-agent.service');
  await mkdir(join(root, 'etc/systemd/system'), { recursive: true });
  await writeFile(path, '[Service]\nExecStart=/bin/true\n');
  for (const args of [['install', '--master', 'wss://m:6443', '--token', token], ['uninstall']]) {
    const { code, err } = await run(...args, '--root', root);
    assert.is(code, 1);
    assert.match(err, /was not written by "wherry agent install"; move it away first\n$/);
  }
  assert.is(await readFile(path, 'utf8'), '[Service]\nExecStart=/bin/true\n');
});

test('a directory that cannot be written is one line', async () => {
  await mkdir(join(root, 'etc'), { recursive: true });
  await writeFile(join(root, 'etc/wherry'), 'a file');
  const { code, err } = await install('--master', 'wss://m:6443', '--token', token);
  assert.is(code, 1);
  assert.match(err, /^wherry-agent: cannot [^\n]*\n$/);
  await chmod(root, 0o700);
});

test.run();
