import { fork, spawn, type ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { maxAgents } from '../../master/limits.ts';
import { usage } from '../cluster.ts';
import { note } from '../report.ts';
import type { Answer, Ask } from './agents.ts';
import { Api, type AdminTarget } from './api.ts';
import { credentialsFile, seed } from './seed.ts';

/** Sizes of a run; every one can be set, as in `AGENTS=1000 npm run bench -- fleet`. */
export const size = (name: string, fallback: number): number => Number(process.env[name] ?? fallback);

export const sizes = {
  agents: size('AGENTS', 10_000), pods: size('PODS', 10), services: size('SERVICES', 100), endpoints: size('ENDPOINTS', 10),
  /** Processes that run agents. */
  loaders: size('LOADERS', 2),
  /** Agents started per second, over all processes. */
  perSecond: size('PER_SECOND', 150),
};

const serviceCidr = '10.96.0.0/16';
/** For whoever looks closer: `MASTER_FLAGS=--cpu-prof`, `LOADER_FLAGS=…`; both are then ended gently. */
const masterFlags = process.env['MASTER_FLAGS']?.split(' ') ?? [];
const loaderFlags = process.env['LOADER_FLAGS']?.split(' ') ?? [];
const program = fileURLToPath(new URL('../../master/main.js', import.meta.url));
const agentsProgram = fileURLToPath(new URL('./agents.js', import.meta.url));

/** Monotonic time in ms, comparable between the processes of this machine. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export const pause = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));

/** A master that can be killed and started again on the same data. */
export class FleetMaster {
  readonly directory = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'wherry-fleet-'));
  readonly port: number;
  #process: ChildProcess | undefined;

  private constructor(port: number) {
    this.port = port;
  }

  /** @throws Error when the system does not let one process hold so many agents */
  static async create(agents: number): Promise<FleetMaster> {
    const most = maxAgents();
    if (agents > most) throw new Error(`the limit on open files lets a master here hold ${most} agents, not ${agents}; raise it with ulimit -n, or in /etc/security/limits.conf`);
    return new FleetMaster(await freePort());
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  /** Starts the process, with options beside the usual ones; resolves once the API says that it is ready, with the time of the start. */
  async start(options: readonly string[] = []): Promise<number> {
    const startedMs = nowMs();
    this.#process = spawn(process.execPath, [
      ...masterFlags, program, 'master', '--data-dir', this.directory, '--bind-address', '0.0.0.0', '--advertise-address', '127.0.0.1', '--port', String(this.port),
      '--service-cidr', serviceCidr, '--cluster-cidr', '10.128.0.0/9', '--log-level', process.env['LOG_LEVEL'] ?? 'error', ...options,
    ], { stdio: ['ignore', 'inherit', 'inherit'] });
    await this.#untilReady();
    return startedMs;
  }

  kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => { child.once('exit', () => resolve()); child.kill(masterFlags.length > 0 ? 'SIGTERM' : 'SIGKILL'); });
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** As the administrator; every call makes connections of its own. */
  api(): Api {
    return new Api(this.target());
  }

  /** What reaches it as the administrator. */
  target(): AdminTarget {
    const text = readFileSync(join(this.directory, 'admin.kubeconfig'), 'utf8');
    const pem = (key: string): string => Buffer.from(new RegExp(`${key}: (\\S+)`).exec(text)?.[1] ?? '', 'base64').toString();
    return { port: this.port, ca: pem('certificate-authority-data'), cert: pem('client-certificate-data'), key: pem('client-key-data') };
  }

  async #untilReady(): Promise<void> {
    for (let tries = 0; tries < 2400; tries++) {
      await pause(50);
      if (this.#process!.exitCode !== null) throw new Error('the master ended; what it says is above');
      if (!existsSync(join(this.directory, 'admin.kubeconfig'))) continue;
      const api = this.api();
      const { status } = await api.request('GET', '/readyz');
      api.close();
      if (status === 200) return;
    }
    throw new Error('the master is not ready after 120 s');
  }
}

type Body<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never;

/** The agents of a run, in processes of their own. */
export class Fleet {
  readonly count: number;
  readonly #children: readonly ChildProcess[];
  readonly #waiting = new Map<string, (answer: Answer) => void>();
  #id = 0;

  constructor(count: number, loaders: number) {
    this.count = count;
    this.#children = Array.from({ length: loaders }, () => fork(agentsProgram, { execArgv: ['--max-old-space-size=8192', '--max-semi-space-size=64', ...loaderFlags] }));
    for (const [index, child] of this.#children.entries()) {
      child.on('message', (answer: Answer) => {
        const key = `${index}/${answer.id}`;
        const resolve = this.#waiting.get(key);
        this.#waiting.delete(key);
        resolve?.(answer);
      });
    }
  }

  /** Has all agents connect, so many per second. */
  start(master: FleetMaster, perSecond: number): void {
    const share = Math.ceil(this.count / this.#children.length);
    for (const [index, child] of this.#children.entries()) {
      const first = index * share;
      child.send({ type: 'start', credentials: credentialsFile(master.directory), port: master.port, first, count: Math.min(share, this.count - first), perSecond: perSecond / this.#children.length } satisfies Ask);
    }
  }

  /** When each agent held the revision, once all do. */
  async hold(revision: number): Promise<number[]> {
    return (await this.#ask<'hold'>({ type: 'hold', revision })).flatMap(({ heldMs }) => heldMs);
  }

  /** When pods whose names have this prefix came to their agents. */
  async podsHeld(prefix: string): Promise<Map<string, number>> {
    return new Map((await this.#ask<'pods'>({ type: 'pods', prefix })).flatMap(({ heldMs }) => Object.entries(heldMs)));
  }

  async stats(): Promise<{ connected: number; sessions: number; unreported: number; revision: number; welcomedMs: number[] }> {
    const all = await this.#ask<'stats'>({ type: 'stats' });
    const sum = (of: 'connected' | 'sessions' | 'unreported'): number => all.reduce((total, answer) => total + answer[of], 0);
    return { connected: sum('connected'), sessions: sum('sessions'), unreported: sum('unreported'), revision: Math.min(...all.map(({ revision }) => revision)), welcomedMs: all.flatMap(({ welcomedMs }) => welcomedMs) };
  }

  /** Until every agent is connected and has had all its statuses written. */
  async untilQuiet(limitMs = size('CONNECT_SECONDS', 300) * 1000): Promise<void> {
    const began = nowMs();
    for (let told = began; ; await pause(500)) {
      const { connected, unreported } = await this.stats();
      if (connected === this.count && unreported === 0) return;
      const now = nowMs();
      if (now - told > 5000) {
        told = now;
        note(`${((now - began) / 1000).toFixed(0)} s: ${connected} of ${this.count} agents connected, ${unreported} statuses to be written`);
      }
      if (now - began > limitMs) throw new Error(`only ${connected} of ${this.count} agents are connected after ${limitMs / 1000} s, ${unreported} statuses unwritten`);
    }
  }

  /** CPU that the agents' processes have taken, in seconds. */
  get cpuSeconds(): number {
    return this.#children.reduce((sum, { pid }) => sum + usage(pid!).cpuSeconds, 0);
  }

  stop(): void {
    for (const child of this.#children) {
      if (loaderFlags.length > 0) child.disconnect();
      else child.kill('SIGKILL');
    }
  }

  #ask<T extends Answer['type']>(ask: Body<Ask>): Promise<Extract<Answer, { type: T }>[]> {
    const id = ++this.#id;
    return Promise.all(this.#children.map((child, index) => new Promise<Extract<Answer, { type: T }>>((resolve) => {
      this.#waiting.set(`${index}/${id}`, (answer) => resolve(answer as Extract<Answer, { type: T }>));
      child.send({ ...ask, id } as Ask);
    })));
  }
}

/** A port that stays the same over restarts, which port 0 would not. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '0.0.0.0', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** A master on a seeded data directory, not started yet. With `SEED_CACHE=DIRECTORY` a later run finds it there. */
export async function seededMaster(of: Partial<typeof sizes> = {}): Promise<FleetMaster> {
  const { agents, pods: podsPerAgent, services, endpoints: endpointsPerService } = { ...sizes, ...of };
  const master = await FleetMaster.create(agents);
  const began = nowMs();
  const kept = process.env['SEED_CACHE'] && join(process.env['SEED_CACHE'], [agents, podsPerAgent, services, endpointsPerService].join('-'));
  if (kept && existsSync(kept)) cpSync(kept, master.directory, { recursive: true });
  else await seed({ directory: master.directory, agents, podsPerAgent, services, endpointsPerService, serviceCidr });
  if (kept && !existsSync(kept)) cpSync(master.directory, kept, { recursive: true });
  note(`seeded ${agents} nodes, ${agents * podsPerAgent} pods, ${services} services in ${((nowMs() - began) / 1000).toFixed(1)} s`);
  return master;
}

/** Memory of a process in KB: all that is resident, without the pages of files (the store's), and the most that it ever was. */
export function memoryOf(pid: number): { readonly all: number; readonly own: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return { all: field('VmRSS'), own: field('RssAnon'), peak: field('VmHWM') };
}
