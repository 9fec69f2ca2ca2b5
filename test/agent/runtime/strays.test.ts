import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endStrays } from '../../../agent/runtime/strays.ts';

const test = suite('strays');
const id = 'ab'.repeat(32);

test('processes in the control group of a container end, others do not', async () => {
  const proc = await mkdtemp(join(tmpdir(), 'proc-'));
  const sleepers = [`0::/docker/${id}\n`, `4:memory:/kubepods/x/${id}/init\n0::/\n`, `0::/system.slice/docker-${id}.scope\n`, `0::/docker/${'cd'.repeat(32)}\n`, `0::/x${id}\n`]
    .map((groups) => ({ groups, child: spawn('sleep', ['600'], { stdio: 'ignore' }) }));
  for (const { groups, child } of sleepers) {
    await mkdir(join(proc, String(child.pid)));
    await writeFile(join(proc, String(child.pid), 'cgroup'), groups);
  }
  const ended = sleepers.slice(0, 3).map(({ child }) => once(child, 'exit'));
  assert.is(endStrays(id, proc), 3);
  await Promise.all(ended);
  assert.equal(sleepers.map(({ child }) => child.signalCode), ['SIGKILL', 'SIGKILL', 'SIGKILL', null, null]);
  for (const { child } of sleepers.slice(3)) child.kill();
  assert.is(endStrays('', proc), 0, 'what is no container\'s id matches nothing');
  await rm(proc, { recursive: true });
});

test('a shim ends with what it has started, before that is in the control group; whoever else names the container does not', async () => {
  const proc = await mkdtemp(join(tmpdir(), 'proc-'));
  const sleepers = Array.from({ length: 4 }, () => spawn('sleep', ['600'], { stdio: 'ignore' }));
  const [shim, runtime, other, client] = sleepers as [typeof sleepers[0], typeof sleepers[0], typeof sleepers[0], typeof sleepers[0]];
  const note = async (pid: number, command: string[], parent: number): Promise<void> => {
    await mkdir(join(proc, String(pid)));
    await writeFile(join(proc, String(pid), 'cmdline'), command.join('\0'));
    await writeFile(join(proc, String(pid), 'stat'), `${pid} (a) b) S ${parent} 1 1`);
  };
  await note(shim.pid!, ['/usr/bin/containerd-shim-runc-v2', '-namespace', 'moby', '-id', id, '-address', '/run/x.sock'], 1);
  await note(runtime.pid!, ['runc', 'create', id], shim.pid!);
  await note(other.pid!, ['/usr/bin/containerd-shim-runc-v2', '-namespace', 'moby', '-id', 'cd'.repeat(32)], 1);
  await note(client.pid!, ['docker', 'logs', id], 1);
  const ended = [shim, runtime].map((child) => once(child, 'exit'));
  assert.is(endStrays(id, proc), 0, 'none of them is the container\'s own');
  await Promise.all(ended);
  assert.equal(sleepers.map(({ signalCode }) => signalCode), ['SIGKILL', 'SIGKILL', null, null]);
  for (const child of [other, client]) child.kill();
  await rm(proc, { recursive: true });
});

test.run();
