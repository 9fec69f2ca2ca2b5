import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

/** The program itself, given what cannot be: one line that says what to do, and exit status 1. */
const test = suite('wherry, mistaken');
const program = fileURLToPath(new URL('../../master/main.js', import.meta.url));
let base = '';
test.before(async () => { base = await mkdtemp(join(tmpdir(), 'wherry-cli-')); });
test.after(() => rm(base, { recursive: true }));

interface Answer { readonly code: number | string | null | undefined; readonly out: string; readonly err: string }

const wherry = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Answer> => new Promise((resolve) => {
  execFile(process.execPath, [program, ...args], { timeout: 60_000, env: { ...process.env, KUBECONFIG: '', ...env } }, (error, out, err) => resolve({ code: error ? error.code : 0, out, err }));
});

async function refused(args: readonly string[], expected: RegExp | string): Promise<void> {
  const { code, out, err } = await wherry(args);
  const what = args.join(' ');
  assert.is(code, 1, `${what}: ${err}`);
  assert.is(out, '', what);
  assert.match(err, /^wherry: [^\n]+\n$/, what);
  const said = err.slice('wherry: '.length).trimEnd();
  if (typeof expected === 'string') assert.is(said, expected);
  else assert.match(said, expected);
}

const allRefused = async (cases: readonly (readonly [readonly string[], RegExp | string])[]): Promise<void> => { await Promise.all(cases.map(([args, expected]) => refused(args, expected))); };

test('a port that is taken, and an address of another host', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((listening) => { other.once('listening', listening); });
  const port = String((other.address() as AddressInfo).port);
  const flags = ['master', '--data-dir', join(base, 'master'), '--log-level', 'error'];
  await refused([...flags, '--bind-address', '127.0.0.1', '--port', port], `port ${port} of 127.0.0.1 is taken by another program: end that, or choose another port with --port`);
  other.close();
  await refused([...flags, '--bind-address', '192.0.2.200', '--port', port], '192.0.2.200 is no address of this host: name one that is with --bind-address, or 0.0.0.0 for all');
});

test('a data directory that cannot be', async () => {
  await writeFile(join(base, 'file'), '');
  await mkdir(join(base, 'foreign/store'), { recursive: true });
  await writeFile(join(base, 'foreign/store/data.mdb'), 'x'.repeat(9000));
  await allRefused([
    [['master', '--data-dir', '/proc/x'], 'cannot use the data directory /proc/x: /proc takes no directories (--data-dir names another)'],
    [['master', '--data-dir', join(base, 'file')], `cannot use the data directory ${join(base, 'file')}: it is a file, not a directory (--data-dir names another)`],
    [['up', '--data-dir', join(base, 'file')], /a part of its path is a file, not a directory/],
    [['master', '--data-dir', join(base, 'foreign')], `cannot open the store ${join(base, 'foreign/store/data.mdb')}: it is not an LMDB data file. Put a backup in its place, or move it away to start empty`],
  ]);
});

test('commands, flags and values that there are none of', async () => {
  await allRefused([
    [['frobnicate'], 'unknown command "frobnicate"; see wherry --help'],
    [['--frobnicate'], 'unknown option --frobnicate; see wherry --help'],
    [['master', '--frobnicate'], 'unknown option `--frobnicate`; see wherry master --help'],
    [['status', 'more'], /^unused args: `more`; see wherry status --help$/],
    [['master', '--port'], /^option `--port <port>` value is missing; see wherry master --help$/],
    [['master', '--port', 'abc'], '--port: must be a port number, not "abc"'],
    [['master', '--cluster-domain', ''], '--cluster-domain: needs a value'],
    [['token', 'frobnicate'], 'unknown action "frobnicate": create, list or delete'],
    [['backup'], /^missing required args for command `backup <directory>`; see wherry backup --help$/],
  ]);
});

test('backups and credentials that are not there', async () => {
  const nowhere = join(base, 'nowhere');
  await writeFile(join(base, 'half'), 'server: ftp:x\n');
  await allRefused([
    [['restore', nowhere, '--data-dir', join(base, 'new')], `${nowhere} is no backup of a master: there is no ${nowhere}/backup.json`],
    [['restore', join(base, 'file'), '--data-dir', join(base, 'new')], `${join(base, 'file')} is no backup of a master: it is a file, not a directory`],
    [['kubeconfig', '--data-dir', nowhere], `no kubeconfig at ${nowhere}/admin.kubeconfig: it does not exist; a master writes it to its data directory (--data-dir)`],
    [['status', '--kubeconfig', nowhere], /^no kubeconfig at [^ ]*nowhere: /],
    [['status', '--kubeconfig', join(base, 'half')], /half is no kubeconfig of "wherry kubeconfig": its server "ftp:x" is no https address$/],
    [['upgrade', '--all', '--binary', nowhere], `--binary: there is no file ${nowhere}`],
  ]);
  assert.is(await stat(join(base, 'new')).catch(() => 'none'), 'none');
});

test('a data directory that is asked for comes before $KUBECONFIG', async () => {
  await mkdir(join(base, 'asked'), { recursive: true });
  const { err } = await wherry(['status', '--data-dir', join(base, 'asked')], { KUBECONFIG: join(base, 'half') });
  assert.match(err, /^wherry: no kubeconfig at [^ ]*asked\/admin\.kubeconfig: /);
});

test('help of every command, and the version', async () => {
  await Promise.all(['master', 'up', 'token', 'status', 'upgrade', 'kubeconfig', 'backup', 'restore', 'agent'].map(async (command) => {
    const { code, out, err } = await wherry([command, '--help']);
    assert.equal([code, err], [0, ''], command);
    assert.match(out, new RegExp(`\\$ wherry[- ]${command}`), command);
  }));
  assert.match((await wherry(['--version'])).out, /^wherry\/\d+\.\d+\.\d+ /);
});

test.run();
