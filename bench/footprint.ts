import { execFileSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startMaster, usage, type BenchMaster } from './cluster.ts';
import { Connection } from './http-load.ts';
import { startAgent, waitForNode } from './pod-start.ts';
import { median, note, report } from './report.ts';

const image = 'wherry-test/busybox';
const root = fileURLToPath(new URL('../..', import.meta.url));
const packaged = join(root, 'dist', 'package', `wherry-agent-linux-${{ x64: 'amd64', arm: 'armv7' }[process.arch as string] ?? process.arch}`);
const unpackaged = join(root, 'dist', 'agent', 'main.js');
const [pods, services, idleSeconds] = [10, 100, 60];
/** Not the default one, so that a cluster which this host may have is not disturbed. */
const serviceCidr = '10.97.0.0/16';
const port = 16_453;

interface Footprint {
  /** MB at the end of the idle time. */
  readonly agent: number;
  /** MB, the most that the agent ever had. */
  readonly peak: number;
  /** % of one core over the idle time. */
  readonly cpu: number;
  readonly master: number;
  readonly masterCpu: number;
}

/** An idle node's memory and CPU: the packaged agent, and for comparison the same sources on this Node. */
export async function bench(): Promise<void> {
  execFileSync('bash', ['test/e2e/images/busybox/build.sh'], { cwd: root, stdio: 'ignore' });
  execFileSync('npm', ['run', '-s', 'package'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  uncache(packaged);
  const ours = await measure([packaged]);
  tell('packaged', ours);
  const plain = await measure([process.execPath, unpackaged]);
  tell(`unpackaged on Node ${process.version}`, plain);
  report('footprint.agent_rss', ours.agent, `MB after ${idleSeconds} s idle with ${pods} pods and ${services} services; baseline: unpackaged`, plain.agent);
  report('footprint.agent_peak', ours.peak, 'MB, the most since its start; baseline: unpackaged', plain.peak);
  report('footprint.agent_cpu', ours.cpu, '% of a core, idle; baseline: unpackaged', plain.cpu);
  report('footprint.master_rss', ours.master, `MB after ${idleSeconds} s idle with one node`);
  report('footprint.master_cpu', ours.masterCpu, '% of a core, idle with one node');
}

function tell(what: string, { agent, peak, cpu, master, masterCpu }: Footprint): void {
  note(`${what}: agent ${agent.toFixed(1)} MB (peak ${peak.toFixed(1)}), ${cpu.toFixed(2)} %; master ${master.toFixed(1)} MB, ${masterCpu.toFixed(2)} %`);
}

/**
 * Drops a file's cached pages, so that it is mapped as after a boot: while it is cached as it was written, in one go,
 * the kernel maps it in larger pieces, which count as 9 MB more.
 */
function uncache(path: string): void {
  execFileSync('bash', ['-c', 'sync "$0" && dd if="$0" iflag=nocache count=0', path], { stdio: 'ignore' });
}

async function measure(program: readonly string[]): Promise<Footprint> {
  const master = await startMaster(['--service-cidr', serviceCidr], port);
  const agent = startAgent(master, program);
  try {
    const api = await Connection.open(master.target);
    await waitForNode(api);
    for (let index = 0; index < services; index++) await create(api, 'services', serviceDocument(index));
    for (let index = 0; index < pods; index++) await create(api, 'pods', podDocument(index));
    await untilServing(api);
    api.close();
    return await idle(agent.pid!, master.process.pid!);
  } finally {
    await stop(agent);
    await master.stop();
    cleanUp(master);
  }
}

async function idle(agent: number, master: number): Promise<Footprint> {
  const [agentBefore, masterBefore, started] = [usage(agent), usage(master), performance.now()];
  const [agentSamples, masterSamples]: [number[], number[]] = [[], []];
  for (let second = 0; second < idleSeconds; second++) {
    await new Promise((wake) => setTimeout(wake, 1000));
    agentSamples.push(usage(agent).rssMB);
    masterSamples.push(usage(master).rssMB);
  }
  const percent = (before: number, after: number): number => (after - before) / (performance.now() - started) * 100_000;
  return {
    agent: median(agentSamples.slice(-5)), master: median(masterSamples.slice(-5)), peak: peakMB(agent),
    cpu: percent(agentBefore.cpuSeconds, usage(agent).cpuSeconds), masterCpu: percent(masterBefore.cpuSeconds, usage(master).cpuSeconds),
  };
}

function peakMB(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

const podDocument = (index: number): string => JSON.stringify({
  metadata: { name: `footprint-${index}`, labels: { app: `footprint-${index}` } },
  spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'app', image, command: ['sleep', '100000'], imagePullPolicy: 'IfNotPresent', ports: [{ containerPort: 8080 }] }] },
});

const serviceDocument = (index: number): string => JSON.stringify({
  metadata: { name: `footprint-${index}` },
  spec: { selector: { app: `footprint-${index % pods}` }, ports: [{ port: 80, targetPort: 8080 }] },
});

async function create(api: Connection, resource: string, document: string): Promise<void> {
  const { status, body } = await api.request('POST', `/api/v1/namespaces/default/${resource}`, document);
  if (status !== 201) throw new Error(`creating one of ${resource}: HTTP ${status} ${body.toString()}`);
}

/** Until every pod runs and every service has its endpoint. */
async function untilServing(api: Connection): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const [running, serving] = [await count(api, 'pods', /"phase":"Running"/g), await count(api, 'endpoints', /"targetRef"/g)];
    if (running === pods && serving >= services) return;
    await new Promise((wake) => setTimeout(wake, 200));
  }
  throw new Error(`${pods} pods and ${services} services do not work after 60 s`);
}

async function count(api: Connection, resource: string, pattern: RegExp): Promise<number> {
  const { body } = await api.request('GET', `/api/v1/namespaces/default/${resource}`);
  return body.toString().match(pattern)?.length ?? 0;
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

function cleanUp(master: BenchMaster): void {
  const owned = `label=io.wherry.owner=${join(master.directory, 'agent')}`;
  execFileSync('bash', ['-c', 'docker ps -aq --filter "$0" | xargs -r docker rm -f; ip route del local "$1" dev lo', owned, serviceCidr], { stdio: ['ignore', 'ignore', 'ignore'] });
}
