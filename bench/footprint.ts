import { execFileSync, type ChildProcess } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { killWithUs, startMaster, usage, type BenchMaster } from './cluster.ts';
import { Connection } from './http-load.ts';
import { createMemoryGroup, type MemoryGroup } from './memory-limit.ts';
import { makePackaged, packaged } from './packaged.ts';
import { startAgent, waitForNode } from './pod-start.ts';
import { median, note, report } from './report.ts';

const image = 'wherry-test/busybox';
const unpackaged = fileURLToPath(new URL('../agent/main.js', import.meta.url));
const [pods, services, settleSeconds, idleSeconds, besideSeconds] = [10, 100, 15, 60, 30];
/** As many as three halvings tell apart, ascending. */
const limits = [36, 40, 44, 48, 52, 56, 64];
const [limitedSeconds, restSeconds, restPercent] = [40, 12, 1];
/** Not the default one, so that a cluster which this host may have is not disturbed. */
const serviceCidr = '10.97.0.0/16';
const port = 16_453;

interface Footprint {
  /** MB at the end of the idle time. */
  readonly agent: number;
  /** MB of it that are no file's: heap, stacks, data that was written. */
  readonly anonymous: number;
  /** MB, the most that the agent ever had. */
  readonly peak: number;
  /** % of one core over the idle time. */
  readonly cpu: number;
  readonly master: number;
  readonly masterCpu: number;
}

/**
 * An idle node's memory and CPU: the packaged agent; the same when it keeps its pages; the same sources on this Node.
 * Then the smallest memory limit under which the packaged one brings up its pods and is at rest. About four minutes.
 */
export async function bench(): Promise<void> {
  execFileSync('bash', ['test/e2e/images/busybox/build.sh'], { stdio: 'ignore' });
  makePackaged();
  const ours = await measured('packaged', [packaged], idleSeconds);
  const keeping = await measured('packaged, keeping its pages', ['env', 'WHERRY_KEEP_PAGES=1', packaged], besideSeconds);
  const plain = await measured(`unpackaged on Node ${process.version}`, [process.execPath, unpackaged], besideSeconds);
  report('footprint.agent_rss', ours.agent, `MB after ${idleSeconds} s idle with ${pods} pods and ${services} services; baseline: unpackaged, after ${besideSeconds} s`, plain.agent);
  report('footprint.agent_pages_kept', keeping.agent, `MB of the packaged agent with WHERRY_KEEP_PAGES=1, after ${besideSeconds} s; baseline: unpackaged`, plain.agent);
  report('footprint.agent_anonymous', ours.anonymous, 'MB of it that the kernel cannot drop by itself; baseline: unpackaged', plain.anonymous);
  report('footprint.agent_peak', ours.peak, 'MB, the most since its start; baseline: unpackaged', plain.peak);
  report('footprint.agent_cpu', ours.cpu, '% of a core, idle; baseline: keeping its pages', keeping.cpu);
  report('footprint.master_rss', ours.master, `MB after ${idleSeconds} s idle with one node`);
  report('footprint.master_cpu', ours.masterCpu, '% of a core, idle with one node');
  report('footprint.agent_limit', await smallestLimit(), `MB, the smallest memory limit with ${pods} pods up in ${limitedSeconds} s and then under ${restPercent} % of a core`);
}

async function measured(what: string, program: readonly string[], seconds: number): Promise<Footprint> {
  uncache(packaged);
  const found = await measure(program, seconds);
  note(`${what}: agent ${found.agent.toFixed(1)} MB (anonymous ${found.anonymous.toFixed(1)}, peak ${found.peak.toFixed(1)}), ${found.cpu.toFixed(2)} %; master ${found.master.toFixed(1)} MB, ${found.masterCpu.toFixed(2)} %`);
  return found;
}

/** Halves the limits until the smallest that will do is left; NaN when none will. */
async function smallestLimit(): Promise<number> {
  let [low, high] = [0, limits.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (await fitsIn(limits[middle]!)) high = middle;
    else low = middle + 1;
  }
  return limits[low] ?? Number.NaN;
}

async function fitsIn(limit: number): Promise<boolean> {
  uncache(packaged);
  const group = createMemoryGroup(limit);
  const remove = (): void => removeGroup(group);
  process.on('exit', remove);
  try {
    const { agent, cpu } = await measure([...group.enter, packaged], restSeconds, 0);
    note(`limit ${limit} MB: agent ${agent.toFixed(1)} MB, ${cpu.toFixed(2)} %`);
    return cpu < restPercent;
  } catch (error) {
    note(`limit ${limit} MB: ${(error as Error).message}`);
    return false;
  } finally {
    process.off('exit', remove);
    remove();
  }
}

/** A process that was killed a moment ago is still in its group. */
function removeGroup(group: MemoryGroup): void {
  for (let tries = 20; ; tries--) {
    try {
      return group.remove();
    } catch (error) {
      if (tries === 0) throw error;
      execFileSync('sleep', ['0.1']);
    }
  }
}

/**
 * Drops a file's cached pages, so that it is mapped as after a boot: while it is cached as it was written, in one go,
 * the kernel maps it in larger pieces, which count as 9 MB more.
 */
function uncache(path: string): void {
  execFileSync('bash', ['-c', 'sync "$0" && dd if="$0" iflag=nocache count=0', path], { stdio: 'ignore' });
}

async function measure(program: readonly string[], seconds: number, settle = settleSeconds): Promise<Footprint> {
  const master = await startMaster(['--service-cidr', serviceCidr], port);
  const agent = startAgent(master, program);
  const release = leaveNothing(master, agent);
  try {
    const api = await Connection.open(master.target);
    await waitForNode(api);
    for (let index = 0; index < services; index++) await create(api, 'services', serviceDocument(index));
    for (let index = 0; index < pods; index++) await create(api, 'pods', podDocument(index));
    await untilServing(api, agent);
    api.close();
    await new Promise((wake) => setTimeout(wake, settle * 1000));
    return await idle(agent.pid!, master.process.pid!, seconds);
  } finally {
    await stop(agent);
    await master.stop();
    cleanUp(master);
    release();
  }
}

async function idle(agent: number, master: number, seconds: number): Promise<Footprint> {
  const [agentBefore, masterBefore, started] = [usage(agent), usage(master), performance.now()];
  const [agentSamples, masterSamples]: [number[], number[]] = [[], []];
  for (let second = 0; second < seconds; second++) {
    await new Promise((wake) => setTimeout(wake, 1000));
    agentSamples.push(usage(agent).rssMB);
    masterSamples.push(usage(master).rssMB);
  }
  const percent = (before: number, after: number): number => (after - before) / (performance.now() - started) * 100_000;
  return {
    agent: median(agentSamples.slice(-5)), master: median(masterSamples.slice(-5)), peak: statusMB(agent, 'VmHWM'), anonymous: statusMB(agent, 'RssAnon'),
    cpu: percent(agentBefore.cpuSeconds, usage(agent).cpuSeconds), masterCpu: percent(masterBefore.cpuSeconds, usage(master).cpuSeconds),
  };
}

/** One of the kernel's figures of a process, in MB. */
function statusMB(pid: number, field: 'VmHWM' | 'RssAnon'): number {
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
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
async function untilServing(api: Connection, agent: ChildProcess): Promise<void> {
  const deadline = performance.now() + limitedSeconds * 1000;
  while (performance.now() < deadline) {
    const [running, serving] = [await count(api, 'pods', /"phase":"Running"/g), await count(api, 'endpoints', /"targetRef"/g)];
    if (running === pods && serving >= services) return;
    if (agent.exitCode !== null || agent.signalCode !== null) throw new Error(`the agent ended (${agent.signalCode ?? agent.exitCode})`);
    await new Promise((wake) => setTimeout(wake, 200));
  }
  throw new Error(`${pods} pods and ${services} services do not work after ${limitedSeconds} s`);
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

/** Nothing of it stays when this process is ended meanwhile, by a signal too. Returns the way out. */
function leaveNothing(master: BenchMaster, agent: ChildProcess): () => void {
  const release = killWithUs(agent);
  const clear = (): void => {
    cleanUp(master);
    rmSync(master.directory, { recursive: true, force: true });
  };
  process.on('exit', clear);
  return () => { process.off('exit', clear); release(); };
}

function cleanUp(master: BenchMaster): void {
  const owned = `label=io.wherry.owner=${join(master.directory, 'agent')}`;
  execFileSync('bash', ['-c', 'docker ps -aq --filter "$0" | xargs -r docker rm -f; ip route del local "$1" dev lo', owned, serviceCidr], { stdio: ['ignore', 'ignore', 'ignore'] });
}
