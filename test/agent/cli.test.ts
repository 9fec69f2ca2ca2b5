import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

/** The program itself, given what cannot be: one line that says what to do, and an exit status that is not 0. */
const test = suite('wherry-agent, mistaken');
const program = fileURLToPath(new URL('../../agent/main.js', import.meta.url));
const token = 'wherry1.abcdef.0123456789abcdef.JJm6tKdOEMXfWDRBAvZGq44puYHF8CwEvVOX-mcDROY';
let base = '';
test.before(async () => { base = await mkdtemp(join(tmpdir(), 'wherry-agent-cli-')); });
test.after(() => rm(base, { recursive: true }));

const agent = (args: readonly string[]): Promise<{ code: unknown; out: string; err: string }> => new Promise((resolve) => {
  execFile(process.execPath, [program, ...args], { timeout: 60_000 }, (error, out, err) => resolve({ code: error ? error.code : 0, out, err }));
});

async function refused(code: number, args: readonly string[], expected: RegExp | string): Promise<void> {
  const answer = await agent(args);
  assert.equal([answer.code, answer.out], [code, ''], `${args.join(' ')}: ${answer.err}`);
  assert.match(answer.err, /^wherry-agent: [^\n]+\n$/);
  const said = answer.err.slice('wherry-agent: '.length).trimEnd();
  if (typeof expected === 'string') assert.is(said, expected);
  else assert.match(said, expected);
}

const joining = (dataDir: string): string[] => ['--config', 'none', '--node-name', 'a', '--node-ip', '127.0.0.1', '--master', 'wss://127.0.0.1:1', '--token', token, '--data-dir', dataDir];

test('flags, arguments and values', async () => {
  const dataDir = join(base, 'unused');
  await Promise.all([
    refused(1, ['--frobnicate'], 'unknown option `--frobnicate`; see wherry-agent --help'),
    refused(1, ['frobnicate'], 'unexpected argument "frobnicate"; see wherry-agent --help'),
    refused(3, ['status', '--frobnicate'], 'unknown option `--frobnicate`; see wherry-agent status --help'),
    refused(1, ['--node-name', '', '--data-dir', dataDir], '--node-name: needs a value'),
    refused(1, ['--node-ip', '7', '--data-dir', dataDir], '--node-ip: must be an IPv4 address, not "7"'),
    refused(1, ['--node-labels', 'a=b c', '--data-dir', dataDir], /^--node-labels: "a=b c": a valid label must/),
    refused(1, ['--token-file', join(base, 'none'), '--data-dir', dataDir], `--token-file: cannot read ${join(base, 'none')}: it does not exist`),
    refused(1, ['--token-file', base, '--data-dir', dataDir], `--token-file: cannot read ${base}: it is a directory, not a file`),
  ]);
});

test('a data directory that cannot be, or is another agent\'s', async () => {
  await Promise.all([mkdir(join(base, 'stateless')), mkdir(join(base, 'identity/identity'), { recursive: true }), writeFile(join(base, 'file'), '')]);
  await Promise.all([writeFile(join(base, 'stateless/state'), ''), writeFile(join(base, 'identity/identity/identity.json'), 'x\n')]);
  await Promise.all([
    refused(1, joining('/proc/x'), 'cannot use the data directory /proc/x: /proc takes no directories (--data-dir names another)'),
    refused(1, joining(join(base, 'file')), /it is a file, not a directory \(--data-dir names another\)$/),
    refused(1, joining(join(base, 'stateless')), `cannot use ${join(base, 'stateless/state')}: it is a file, not a directory`),
    refused(1, joining(join(base, 'identity')), /identity\.json is unreadable /),
    refused(3, ['status', '--data-dir', join(base, 'file')], `${join(base, 'file')} is no agent's data directory: it is a file`),
  ]);
  const dataDir = join(base, 'taken');
  const first = spawn(process.execPath, [program, ...joining(dataDir)], { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    await new Promise((tries) => { first.stderr.once('data', tries); });
    await refused(1, joining(dataDir), new RegExp(`taken/state is in use by process ${first.pid}, another agent: stop that one, or `));
  } finally {
    first.kill('SIGTERM');
    await new Promise((ended) => { first.once('exit', ended); });
  }
});

test('nothing to uninstall is said', async () => {
  const { code, out } = await agent(['uninstall', '--root', join(base, 'root')]);
  assert.equal([code, out], [0, `Nothing is installed below ${join(base, 'root')}: nothing was removed.\n`]);
});

test.run();
