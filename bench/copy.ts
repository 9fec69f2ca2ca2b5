import { execFile, execFileSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kubectlPath } from '../test/e2e/lab.ts';
import type { BenchMaster } from './cluster.ts';
import { note, report } from './report.ts';

const run = promisify(execFile);
const megabytes = 1024;

/**
 * `streams.cp` (MB/s of `kubectl cp` of 1 GB into a pod and back) and `streams.cp_memory` (MB by which the larger of
 * master's and agent's peaks grows meanwhile). Throws when what comes back is not what went.
 */
export async function copy(master: BenchMaster, agent: ChildProcess, pod: string): Promise<void> {
  const kubectl = await kubectlPath();
  const [source, back] = [join(master.directory, 'gigabyte'), join(master.directory, 'back')];
  const copied = (from: string, to: string): Promise<unknown> => run(kubectl, ['--kubeconfig', join(master.directory, 'admin.kubeconfig'), 'cp', from, to]);
  execFileSync('dd', ['if=/dev/urandom', `of=${source}`, 'bs=1M', `count=${megabytes}`], { stdio: 'ignore' });
  try {
    const processes = [master.process.pid!, agent.pid!];
    for (const pid of processes) forgetPeak(pid);
    const before = processes.map(peakMB);
    const started = performance.now();
    await copied(source, `${pod}:/tmp/gigabyte`);
    await copied(`${pod}:/tmp/gigabyte`, back);
    const seconds = (performance.now() - started) / 1000;
    const grown = processes.map((pid, index) => peakMB(pid) - before[index]!);
    if (await digest(source) !== await digest(back)) throw new Error('what was copied is not what came back');
    note(`cp ${(2 * megabytes / seconds).toFixed(0)} MB/s; master grew by ${grown[0]!.toFixed(0)} MB, agent by ${grown[1]!.toFixed(0)} MB`);
    report('streams.cp', (2 * megabytes) / seconds, 'MB/s of kubectl cp of 1 GB, to a pod and back');
    report('streams.cp_memory', Math.max(...grown), 'MB that master or agent grows by meanwhile');
  } finally {
    for (const path of [source, back]) rmSync(path, { force: true });
    await run(kubectl, ['--kubeconfig', join(master.directory, 'admin.kubeconfig'), 'exec', pod, '--', 'rm', '-f', '/tmp/gigabyte']).catch(() => undefined);
  }
}

/** From now on the kernel's peak is that of what comes. */
const forgetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5');
const peakMB = (pid: number): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
