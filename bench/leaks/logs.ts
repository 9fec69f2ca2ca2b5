import { execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { startMaster } from '../cluster.ts';
import { Connection, type Target } from '../http-load.ts';
import { makePackaged, packaged } from '../packaged.ts';
import { startAgent, waitForNode } from '../pod-start.ts';

const serviceCidr = '10.126.0.0/24';
const lineBytes = 1000;
/** Less than what the engine keeps of a container's log. */
const logBytes = 40 * 1000 * lineBytes;
/** 120 MB to warm up, then 1.08 GB. */
const [warmReadings, readings] = [3, 27];
const sampleMs = 100;

/** The most anonymous memory of the packaged agent, in MB: in the first and in the last third of what it carried after warming up. */
export async function logGrowth(): Promise<{ readonly before: number; readonly after: number }> {
  execFileSync('bash', ['test/e2e/images/busybox/build.sh'], { stdio: 'ignore' });
  makePackaged();
  const master = await startMaster(['--service-cidr', serviceCidr], 16_474);
  const agent = startAgent(master, [packaged]);
  try {
    const api = await Connection.open(master.target);
    await waitForNode(api);
    await writeLog(api);
    const peaks: number[] = [];
    for (let reading = 0; reading < warmReadings + readings; reading++) peaks.push(await peakWhile(agent.pid!, readLog(master.target)));
    await api.request('DELETE', '/api/v1/namespaces/default/pods/talker?gracePeriodSeconds=0');
    api.close();
    return { before: Math.max(...peaks.slice(warmReadings, warmReadings + readings / 3)), after: Math.max(...peaks.slice(-readings / 3)) };
  } finally {
    await ended(agent);
    await master.stop();
    const owned = `label=io.wherry.owner=${join(master.directory, 'agent')}`;
    execFileSync('bash', ['-c', 'docker ps -aq --filter "$0" | xargs -r docker rm -fv; ip route del local "$1" dev lo || true', owned, serviceCidr], { stdio: ['ignore', 'ignore', 'ignore'] });
  }
}

/** A pod that has written its log, and waits. */
async function writeLog(api: Connection): Promise<void> {
  const script = `yes ${'x'.repeat(lineBytes - 1)} | head -n ${logBytes / lineBytes}; exit 0`;
  await api.request('POST', '/api/v1/namespaces/default/pods', JSON.stringify({
    metadata: { name: 'talker' }, spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'wherry-test/busybox', command: ['sh', '-c', script], imagePullPolicy: 'IfNotPresent' }] },
  }));
  for (let tries = 0; tries < 600; tries++) {
    const { status } = JSON.parse((await api.request('GET', '/api/v1/namespaces/default/pods/talker')).body.toString()) as { status: { phase?: string } };
    if (status.phase === 'Succeeded') return;
    await new Promise((wake) => setTimeout(wake, 200));
  }
  throw new Error('the log is not written after 120 s');
}

async function readLog({ host, port, ca, cert, key }: Target): Promise<void> {
  const call = get({ host, port, ca, cert, key, path: '/api/v1/namespaces/default/pods/talker/log', agent: false });
  const [answer] = await once(call, 'response') as [AsyncIterable<Buffer>];
  let bytes = 0;
  for await (const chunk of answer) bytes += chunk.length;
  if (bytes !== logBytes) throw new Error(`a log of ${bytes} bytes instead of ${logBytes}`);
}

async function peakWhile(pid: number, work: Promise<void>): Promise<number> {
  let peak = 0;
  const sample = (): void => { peak = Math.max(peak, Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024); };
  const timer = setInterval(sample, sampleMs);
  await work.finally(() => clearInterval(timer));
  return peak;
}

function ended(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  child.kill('SIGTERM');
  return once(child, 'exit');
}
