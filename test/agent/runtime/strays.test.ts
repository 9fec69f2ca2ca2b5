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
  assert.is(await endStrays(id, proc), 3);
  await Promise.all(ended);
  assert.equal(sleepers.map(({ child }) => child.signalCode), ['SIGKILL', 'SIGKILL', 'SIGKILL', null, null]);
  for (const { child } of sleepers.slice(3)) child.kill();
  assert.is(await endStrays('', proc), 0, 'what is no container\'s id matches nothing');
  await rm(proc, { recursive: true });
});

test.run();
