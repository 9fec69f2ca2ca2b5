import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DockerRuntime } from '../../agent/runtime/docker.ts';
import { label } from '../../agent/runtime/labels.ts';
import type { AgentStatus } from '../../agent/ops/status.ts';
import { ApiClient, readKubeconfig, type Credentials } from '../../master/client.ts';
import { run, until } from './lab.ts';
import { testImage } from './pods-support.ts';

const program = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export const masterProgram = program('master/main.js');
export const agentProgram = program('agent/main.js');

export interface Answer { readonly code: number; readonly out: string; readonly err: string }

/** Runs a program to its end, however that is. */
export const execute = (file: string, ...args: string[]): Promise<Answer> => new Promise((resolve) => {
  execFile(file, args, { timeout: 120_000, maxBuffer: 64 * 1024 * 1024 }, (error, out, err) => resolve({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, out, err }));
});

/** A master on loopback, whose one node is this host, with a service range of its own. */
export class Loopback {
  readonly directory: string;
  readonly dataDir: string;
  readonly port: number;
  readonly range: string;
  readonly runtime = new DockerRuntime();
  readonly #processes = new Map<string, ChildProcess>();
  #log = '';

  private constructor(directory: string, port: number, range: string) {
    this.directory = directory;
    this.dataDir = join(directory, 'agent');
    this.port = port;
    this.range = range;
  }

  static async start(name: string, port: number, range: string): Promise<Loopback> {
    const lo = new Loopback(await mkdtemp(join(tmpdir(), `wherry-${name}-`)), port, range);
    await lo.startMaster();
    return lo;
  }

  /** What was said by all processes, for a failed test. */
  get log(): string {
    return this.#log;
  }

  get master(): string {
    return `wss://127.0.0.1:${this.port}`;
  }

  spawn(name: string, command: readonly string[]): ChildProcess {
    const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { this.#log = (this.#log + chunk.toString()).slice(-50_000); });
    this.#processes.set(name, child);
    return child;
  }

  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#processes.get(name);
    this.#processes.delete(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => { child.once('exit', () => resolve()); child.kill(signal); });
  }

  async startMaster(): Promise<void> {
    this.spawn('master', [process.execPath, masterProgram, 'master', '--data-dir', join(this.directory, 'master'), '--bind-address', '127.0.0.1', '--port', String(this.port), '--service-cidr', this.range, '--node-monitor-grace-period', '6']);
    await until('the master is ready', 60_000, async () => (await (await this.api()).get('/readyz').then(() => true)));
  }

  async credentials(): Promise<Credentials> {
    const path = join(this.directory, 'master', 'admin.kubeconfig');
    return readKubeconfig(await readFile(path, 'utf8'), path);
  }

  async api(): Promise<ApiClient> {
    return new ApiClient(await this.credentials());
  }

  async token(): Promise<string> {
    return (await run(process.execPath, [masterProgram, 'token', 'create', '--data-dir', join(this.directory, 'master')])).trim();
  }

  /** `wherry …` of this master. */
  wherry(...args: string[]): Promise<Answer> {
    return execute(process.execPath, masterProgram, ...args, '--data-dir', join(this.directory, 'master'));
  }

  /** Makes a pod of one container of the test image on a node. */
  async pod(name: string, node: string, container: object = {}, labels: Record<string, string> = {}): Promise<void> {
    const api = await this.api();
    await until('pods are admitted', 30_000, () => api.get('/api/v1/namespaces/default/serviceaccounts/default').then(() => true));
    await api.post('/api/v1/namespaces/default/pods', {
      metadata: { name, labels }, spec: { nodeName: node, terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image: testImage, imagePullPolicy: 'Never', command: ['stay'], ...container }] },
    });
  }

  /** IDs of this agent's containers, by name. */
  async containers(): Promise<Map<string, string>> {
    return new Map((await this.runtime.containers(label.owner, this.dataDir)).map(({ id, name }) => [name, id]));
  }

  async down(): Promise<void> {
    await Promise.all([...this.#processes.keys()].map((name) => this.kill(name, 'SIGTERM')));
    for (const id of (await this.containers()).values()) await this.runtime.remove(id);
    await execute('ip', '-4', 'route', 'del', 'local', this.range, 'dev', 'lo');
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The JSON of `wherry agent status`, and its exit status. */
export async function statusOf(...command: string[]): Promise<AgentStatus & { readonly code: number }> {
  const { code, out, err } = await execute(command[0]!, ...command.slice(1), '--json');
  if (out === '') throw new Error(err.trim());
  return { ...JSON.parse(out) as AgentStatus, code };
}

/** What it takes to run this host's systemd as process 1 of a container. */
export async function startSystemd(name: string, mounts: readonly string[], directory: string): Promise<{ exec(...command: string[]): Promise<Answer>; down(): Promise<void> }> {
  const root = join(directory, 'systemd-root');
  await mkdir(join(root, 'etc'), { recursive: true });
  // Its programs are this host's own, so nothing has to be installed; its /etc is nearly empty, so nothing else is started.
  await run('bash', ['-c', `cd "$1" && mkdir -p usr var/lib var/tmp tmp run proc sys dev root hostrun && for name in bin sbin lib lib64; do ln -sfn usr/$name $name; done
    cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache etc/ && cp -a /etc/alternatives etc/ && cp -L /etc/os-release etc/
    echo 0123456789abcdef0123456789abcdef >etc/machine-id && tar -c . | docker import - wherry-test/systemd:${name}`, 'sh', root]);
  const container = `wherry-systemd-${name}`;
  await execute('docker', 'rm', '-f', container);
  const caps = ['SYS_ADMIN', 'NET_ADMIN', 'SYS_PTRACE', 'DAC_READ_SEARCH'].flatMap((capability) => ['--cap-add', capability]);
  await run('docker', ['run', '-d', '--name', container, ...caps, '--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined', '--net', 'host', '--cgroupns', 'host',
    '--tmpfs', '/run:exec', '--tmpfs', '/run/lock', '-e', 'container=docker', '-v', '/sys/fs/cgroup:/sys/fs/cgroup', '-v', '/usr:/usr:ro', '-v', '/var/run/docker.sock:/hostrun/docker.sock',
    ...mounts.flatMap((mount) => ['-v', mount]), `wherry-test/systemd:${name}`, '/usr/lib/systemd/systemd', '--unit=multi-user.target']);
  const exec = (...command: string[]): Promise<Answer> => execute('docker', 'exec', container, ...command);
  const down = async (): Promise<void> => {
    await execute('docker', 'rm', '-f', container);
    await execute('docker', 'rmi', '-f', `wherry-test/systemd:${name}`);
  };
  try {
    await until('systemd is up', 60_000, async () => /^(running|degraded)/.test((await exec('systemctl', 'is-system-running')).out));
  } catch (error) {
    const { out } = await execute('docker', 'logs', container);
    await down();
    throw new Error(`${(error as Error).message}\n${out}`, { cause: error });
  }
  return { exec, down };
}
