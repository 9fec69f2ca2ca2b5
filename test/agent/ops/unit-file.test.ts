import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { quoted, unitMark, unitText } from '../../../agent/ops/unit-file.ts';

const test = suite('unit file');
const plain = { command: ['/usr/bin/true', '--config', '/etc/wherry/agent.json'], dataDir: '/var/lib/wherry/agent', sandbox: false };
const settingsOf = (text: string): Map<string, string> => new Map(text.split('\n').filter((line) => /^[A-Z]\w+=/.test(line)).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));

test('restarts for ever, and gives up what an agent does not need', () => {
  const text = unitText(plain);
  const settings = settingsOf(text);
  assert.ok(text.startsWith(unitMark));
  assert.equal(['ExecStart', 'Restart', 'StartLimitIntervalSec', 'NoNewPrivileges', 'RestrictAddressFamilies', 'WantedBy'].map((name) => settings.get(name)), [
    '/usr/bin/true --config /etc/wherry/agent.json', 'always', '0', 'yes', 'AF_UNIX AF_INET AF_INET6 AF_NETLINK', 'multi-user.target',
  ]);
  // One route and the ports of services need these; nothing that the unit says may take them away.
  for (const capability of ['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE', 'CAP_SYS_ADMIN', 'CAP_CHOWN']) assert.ok(settings.get('CapabilityBoundingSet')?.split(' ').includes(capability), capability);
  assert.not(settings.get('CapabilityBoundingSet')?.includes('CAP_SYS_MODULE'));
});

test('the engine sees the same files, unless a sandbox is asked for', () => {
  const hides = ['ProtectSystem', 'ProtectHome', 'PrivateTmp', 'ReadWritePaths', 'ProtectKernelModules', 'ProtectControlGroups', 'PrivateDevices'];
  const open = settingsOf(unitText(plain));
  assert.equal(hides.filter((name) => open.has(name)), []);
  const closed = settingsOf(unitText({ ...plain, sandbox: true }));
  assert.equal([closed.get('ProtectSystem'), closed.get('ReadWritePaths')], ['strict', '/var/lib/wherry/agent']);
});

test('words with blanks, quotes, variables and specifiers reach the program as they are', () => {
  assert.equal(['/a b', 'a"b', 'a\\b', '100%', 'plain'].map(quoted), ['"/a b"', '"a\\"b"', '"a\\\\b"', '100%%', 'plain']);
  assert.match(unitText({ ...plain, command: ['/opt/my agent/$HOME/50%', 'x'] }), /^ExecStart="\/opt\/my agent\/\$\$HOME\/50%%" x$/m);
});

const analyze = (path: string): Promise<{ missing: boolean; said: string }> => new Promise((resolve) => {
  execFile('systemd-analyze', ['verify', path], (error, out, err) => resolve({ missing: error?.code === 'ENOENT', said: `${error && error.code !== 'ENOENT' ? 'failed ' : ''}${out}${err}` }));
});

test('systemd understands it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wherry-unit-'));
  try {
    for (const sandbox of [false, true]) {
      const path = join(directory, 'wherry-agent.service');
      await writeFile(path, unitText({ ...plain, sandbox }));
      const { missing, said } = await analyze(path);
      // What it says of other units of this host is not about ours.
      if (!missing) assert.equal(said.split('\n').filter((line) => line.includes('wherry') || line.startsWith('failed')), []);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test.run();
