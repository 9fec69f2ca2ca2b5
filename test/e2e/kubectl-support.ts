import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { kubectlPath, until } from './lab.ts';

/** The kubectls that everything is tried with, oldest first. */
export const clients = ['kubectl-1.20', 'kubectl-1.32', 'kubectl-newest'] as const;
export type Client = (typeof clients)[number];

/** What a command said, and its exit status. */
export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A master of its own on loopback, without nodes. */
export interface Cluster {
  readonly directory: string;
  readonly kubeconfig: string;
  /** Starts the master, or starts it again on what it had stored. */
  start(): Promise<void>;
  /** Ends it as `kill -9` does. */
  kill(): Promise<void>;
  /** Ends it and removes everything. */
  down(): Promise<void>;
  /** A kubectl with a namespace of its own, which exists. */
  client(name: Client, namespace: string): Promise<Kubectl>;
}

const program = fileURLToPath(new URL('../../master/main.js', import.meta.url));

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export async function startCluster(): Promise<Cluster> {
  const directory = await mkdtemp(join(tmpdir(), 'wherry-kubectl-'));
  const dataDir = join(directory, 'master');
  const kubeconfig = join(dataDir, 'admin.kubeconfig');
  const port = await freePort();
  let child: ChildProcess | undefined;
  let log = '';
  const end = (signal: NodeJS.Signals): Promise<void> => new Promise((resolve) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill(signal);
  });
  const cluster: Cluster = {
    directory, kubeconfig,
    async start() {
      child = spawn(process.execPath, [program, 'master', '--data-dir', dataDir, '--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
      const collect = (chunk: Buffer): void => { log = (log + chunk.toString()).slice(-20_000); };
      child.stdout?.on('data', collect);
      child.stderr?.on('data', collect);
      const path = await kubectlPath('kubectl-1.32');
      await until('the master is ready', 30_000, async () => {
        if (child?.exitCode !== null) throw new Error(`the master ended: ${log}`);
        const { code, stdout } = await execute(path, ['--kubeconfig', kubeconfig, 'get', '--raw', '/readyz']);
        return code === 0 && stdout.startsWith('ok');
      });
    },
    kill: () => end('SIGKILL'),
    async down() {
      await end('SIGTERM');
      await rm(directory, { recursive: true, force: true });
    },
    async client(name, namespace) {
      const files = join(directory, `${name}-${namespace}`);
      await mkdir(files, { recursive: true });
      const kubectl = new Kubectl({ name, path: await kubectlPath(name), kubeconfig, namespace, files });
      await kubectl.ok('create', 'namespace', namespace);
      return kubectl;
    },
  };
  try {
    await cluster.start();
    return cluster;
  } catch (error) {
    await cluster.down();
    throw error;
  }
}

interface RunOptions { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly timeoutMs?: number }

function execute(path: string, args: readonly string[], { input, env, cwd, timeoutMs = 60_000 }: RunOptions = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, timeout: timeoutMs, killSignal: 'SIGKILL' as const, maxBuffer: 64 * 1024 * 1024, ...(cwd ? { cwd } : {}) };
    const child = execFile(path, args, options, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : 128) : 0, stdout, stderr });
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}

interface KubectlOptions { readonly name: Client; readonly path: string; readonly kubeconfig: string; readonly namespace: string; readonly files: string }

/** Warnings of kubectl's own, which no server has a say in. */
const ownWarnings = /version difference between client|deleting cluster-scoped resources|Immediate deletion does not wait|is missing the kubectl\.kubernetes\.io\/last-applied-configuration|deleting Pods (?:that declare no controller|not managed by)/;

/** A real kubectl. Its working folder is {@link Kubectl.write}'s. */
export class Kubectl {
  readonly name: Client;
  readonly namespace: string;
  readonly #options: KubectlOptions;

  constructor(options: KubectlOptions) {
    this.#options = options;
    this.name = options.name;
    this.namespace = options.namespace;
  }

  get old(): boolean {
    return this.name === 'kubectl-1.20';
  }

  /** Runs a command to its end, whatever that is. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Answer> {
    const { path, kubeconfig, namespace, files } = this.#options;
    const env = { HOME: files, TERM: 'dumb', ...options.env };
    return execute(path, [...args.slice(0, 1), '--kubeconfig', kubeconfig, '--cache-dir', join(files, '..', `cache-${this.name}`), '-n', namespace, ...args.slice(1)], { cwd: files, ...options, env });
  }

  /** Standard output of a command that succeeds, and warns of nothing. */
  ok(...args: string[]): Promise<string> {
    return this.with({}, ...args);
  }

  /** As {@link ok}, with a document on standard input, or an environment. */
  async with(options: RunOptions, ...args: string[]): Promise<string> {
    const answer = await this.run(args, options);
    if (answer.code !== 0) throw new Error(`${this.name} ${args.join(' ')}: exit ${answer.code}\n${answer.stdout}${answer.stderr}`);
    const warnings = answer.stderr.split('\n').filter((line) => /^warning:/i.test(line) && !ownWarnings.test(line));
    if (warnings.length > 0) throw new Error(`${this.name} ${args.join(' ')}: ${warnings.join('\n')}`);
    return answer.stdout;
  }

  /** Standard error of a command that fails. */
  async fails(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    if (code === 0) throw new Error(`${this.name} ${args.join(' ')} succeeded:\n${stdout}${stderr}`);
    return stderr.split('\n').filter((line) => !ownWarnings.test(line)).join('\n').trimEnd();
  }

  /** Puts a file into the working folder; an object is written as JSON. */
  async write(name: string, content: unknown): Promise<string> {
    const path = join(this.#options.files, name);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
    return name;
  }

  read(name: string): Promise<string> {
    return readFile(join(this.#options.files, name), 'utf8');
  }

  /** One value by JSONPath. */
  value(path: string, ...what: string[]): Promise<string> {
    return this.ok('get', ...what, '-o', `jsonpath=${path}`);
  }

  async json<T = Record<string, unknown>>(...what: string[]): Promise<T> {
    return JSON.parse(await this.ok('get', ...what, '-o', 'json')) as T;
  }

  /** Starts a command that goes on until it is stopped; `stop` resolves with all its output. */
  start(...args: string[]): { readonly output: () => string; stop(): Promise<string> } {
    const { path, kubeconfig, namespace, files } = this.#options;
    const child = spawn(path, [...args.slice(0, 1), '--kubeconfig', kubeconfig, '--cache-dir', join(files, '..', `cache-${this.name}`), '-n', namespace, ...args.slice(1)], { cwd: files, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
    child.stderr.on('data', (chunk: Buffer) => { output += chunk.toString(); });
    const closed = new Promise<void>((resolve) => child.on('close', () => resolve()));
    return {
      output: () => output,
      stop: async () => {
        child.kill('SIGKILL');
        await closed;
        return output;
      },
    };
  }
}

/** A v1 List, as a document. */
export const list = (...items: readonly unknown[]): string => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

/** A pod that would sleep. */
export const pod = (name: string, labels: Readonly<Record<string, string>> = {}): Record<string, unknown> => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name, labels },
  spec: { containers: [{ name: 'main', image: 'busybox:1', command: ['sleep', '3600'] }] },
});

export const configMap = (name: string, data: Readonly<Record<string, string>>, labels?: Readonly<Record<string, string>>): Record<string, unknown> => ({
  apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...(labels ? { labels } : {}) }, data,
});

export const controller = (name: string, replicas: number | undefined, env: Readonly<Record<string, string>> = {}, image = 'busybox:1'): Record<string, unknown> => ({
  apiVersion: 'v1', kind: 'ReplicationController', metadata: { name, labels: { app: name } },
  spec: {
    ...(replicas === undefined ? {} : { replicas }), selector: { app: name },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'main', image, ports: [{ containerPort: 80 }], env: Object.entries(env).map(([key, value]) => ({ name: key, value })) }] },
    },
  },
});
