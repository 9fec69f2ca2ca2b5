import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * A cluster on simulated hosts: a master in the data centre (host 0, 10.99.0.254), and agents on hosts 1..N, each in a
 * network namespace with a Docker engine of its own (hosts.sh). Real processes, real kubectl, real containers.
 */
export interface Lab {
  readonly hosts: number;
  readonly kubeconfig: string;
  /** Of everything: `logs/NAME.log`, `master` and `agentN` are the data directories. */
  readonly directory: string;
  /** What hosts.sh calls $LAB: `N/docker.sock` and `N/pid` of the engines. */
  readonly engines: string;
  /** Before a host's number: the name of its network namespace. */
  readonly prefix: string;
  /** Runs kubectl in the data centre; resolves with its standard output, rejects with its standard error. */
  kubectl(...args: string[]): Promise<string>;
  /** The same, with a document on standard input. */
  kubectlWith(input: string, ...args: string[]): Promise<string>;
  /** Runs a command on a host (0: the data centre). */
  on(host: number, ...command: string[]): Promise<string>;
  /** Body of a page, fetched from the data centre; rejects on an error status and after 5 s. */
  fetch(url: string): Promise<string>;
  /** The docker client against a host's engine. */
  docker(host: number, ...args: string[]): Promise<string>;
  /** A verb of hosts.sh: cut, heal, kill, start, stop. */
  host(verb: string, host: number): Promise<void>;
  startMaster(): Promise<void>;
  /** `flags` come after the lab's own. */
  startAgent(host: number, ...flags: string[]): Promise<void>;
  /** Ends a process at once, as kill -9 does, and waits until it is gone. */
  killMaster(): Promise<void>;
  killAgent(host: number): Promise<void>;
  /** Ends everything that was started here. */
  down(): Promise<void>;
}

export interface LabOptions {
  readonly hosts: number;
  /** Distinguishes the labs of one build: its first 4 lower-case letters. Labs of two builds never meet. */
  readonly name: string;
  /** Images of this machine's engine that every host gets. */
  readonly images: readonly string[];
  readonly masterFlags?: readonly string[];
  /** Program and first arguments of an agent; by default this build's. */
  readonly agentCommand?: readonly string[];
  readonly agentFlags?: readonly string[];
}

const root = process.cwd();
/** The build that this file is of: its master and agent are what is tested. */
const build = fileURLToPath(new URL('../..', import.meta.url));
/** Hosts of a lab share this machine's disk, however full it is: what is tested elsewhere must not depend on that. */
const roomy = (flags: readonly string[]): readonly string[] =>
  flags.includes('--eviction-hard') ? flags : ['--eviction-hard', 'memory.available<50Mi,nodefs.available<1%,imagefs.available<1%', ...flags];

/** Two letters of this build's own. */
const mark = createHash('sha256').update(build).digest('hex').slice(0, 2).replace(/\d/g, (digit) => String.fromCharCode(103 + Number(digit)));
const masterAddress = '10.99.0.254';
const masterPort = 6443;
const script = resolve(root, 'test/e2e/hosts.sh');

export interface RunOptions { readonly env?: NodeJS.ProcessEnv; readonly input?: string; readonly timeoutMs?: number }

/** Runs a program to its end; rejects with its standard error when it fails or takes too long. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((settle, reject) => {
    const child = execFile(file, args, { env: options.env ?? process.env, timeout: options.timeoutMs ?? 180_000, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error) reject(Object.assign(new Error(`${file} ${args.join(' ')}: ${stderr.trim() || error.message}`), { stdout, stderr, code: error.code }));
      else settle(stdout);
    });
    // A program that is gone before it has read anything tells of itself by how it ended.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Asks again every `everyMs` until `probe` gives a value; rejects with what it last saw when `timeoutMs` have passed. */
export async function until<T>(what: string, timeoutMs: number, probe: () => Promise<T | undefined | false>, everyMs = 200): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown = 'nothing';
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      last = value;
    } catch (error) {
      last = error instanceof Error ? error.message : error;
    }
    if (performance.now() > deadline) throw new Error(`timed out after ${timeoutMs / 1000} s waiting until ${what}; last: ${String(last)}`);
    await new Promise((wake) => setTimeout(wake, everyMs));
  }
}

/** Path of a real kubectl: the newest that Debian has, or one of the older ones (`kubectl-1.20`). */
export async function kubectlPath(name = 'kubectl-newest'): Promise<string> {
  const lines = (await run('bash', [resolve(root, 'test/e2e/clients.sh')], { timeoutMs: 600_000 })).split('\n').map((line) => line.split(' '));
  const found = lines.find(([client]) => client === name) ?? lines.find(([client]) => client === 'kubectl-1.32');
  if (!found?.[1]) throw new Error(`no ${name} to be had`);
  return found[1];
}

const fetchScript = `fetch(process.argv[1], { signal: AbortSignal.timeout(5000) }).then(async (answer) => {
  if (!answer.ok) throw new Error(answer.status + ' ' + await answer.text());
  process.stdout.write(await answer.text());
}).catch((error) => { console.error(error.cause?.message ?? error.message); process.exit(1); });`;

/** Makes the hosts and starts master and agents; resolves when every node is Ready. */
export async function createLab(options: LabOptions): Promise<Lab> {
  const name = options.name.slice(0, 4) + mark;
  const directory = await mkdtemp(join(tmpdir(), `wl-${name}-`));
  const env = { ...process.env, LAB: join('/tmp', `wl-${name}`), LABP: `w${name}`, LAB_IMAGES: options.images.join(' ') };
  const dataDir = join(directory, 'master');
  const kubeconfig = join(dataDir, 'admin.kubeconfig');
  const kubectl = await kubectlPath();
  const processes = new Map<string, ChildProcess>();
  const hosts = (args: readonly string[], runOptions: RunOptions = {}): Promise<string> => run('bash', [script, ...args], { env, timeoutMs: 300_000, ...runOptions });
  await hosts(['down']);
  await hosts(['up', String(options.hosts)]);
  await mkdir(join(directory, 'logs'), { recursive: true });

  const start = (name: string, host: number, command: readonly string[]): ChildProcess => {
    const child = spawn('bash', ['-c', 'exec nsenter --net="/run/netns/$0" -- "$@"', `${env.LABP}${host}`, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(directory, 'logs', `${name}.log`), { flags: 'a' });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    processes.set(name, child);
    return child;
  };
  const kill = (name: string, signal: NodeJS.Signals): Promise<void> => new Promise((settle) => {
    const child = processes.get(name);
    processes.delete(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return settle();
    child.once('exit', () => settle());
    child.kill(signal);
  });

  const lab: Lab = {
    hosts: options.hosts, kubeconfig, directory, engines: env.LAB, prefix: env.LABP,
    kubectl: (...args) => hosts(['sh', '0', kubectl, '--kubeconfig', kubeconfig, ...args]),
    kubectlWith: (input, ...args) => hosts(['sh', '0', kubectl, '--kubeconfig', kubeconfig, ...args], { input }),
    on: (host, ...command) => hosts(['sh', String(host), ...command]),
    fetch: (url) => hosts(['sh', '0', process.execPath, '-e', fetchScript, url]),
    docker: (host, ...args) => hosts(['docker', String(host), ...args]),
    host: async (verb, host) => { await hosts([verb, String(host)]); },
    async startMaster() {
      start('master', 0, [process.execPath, join(build, 'master/main.js'), 'master', '--data-dir', dataDir, '--bind-address', masterAddress, '--port', String(masterPort), ...options.masterFlags ?? []]);
      await until('the master is ready', 30_000, () => lab.kubectl('get', '--raw', '/readyz').then((text) => text.startsWith('ok')));
    },
    async startAgent(host, ...flags) {
      const known = existsSync(join(directory, `agent${host}`, 'identity', 'identity.json'));
      const token = known ? '' : (await hosts(['sh', '0', process.execPath, join(build, 'master/main.js'), 'token', 'create', '--data-dir', dataDir]).catch(() => '')).trim();
      const command = options.agentCommand ?? [process.execPath, join(build, 'agent/main.js')];
      start(`agent${host}`, host, [...command, '--master', `wss://${masterAddress}:${masterPort}`, ...(token ? ['--token', token] : []),
        '--node-name', `node${host}`, '--node-ip', `10.99.0.${host}`, '--data-dir', join(directory, `agent${host}`),
        '--docker-host', `unix://${env.LAB}/${host}/docker.sock`, ...roomy([...options.agentFlags ?? [], ...flags])]);
    },
    killMaster: () => kill('master', 'SIGKILL'),
    killAgent: (host) => kill(`agent${host}`, 'SIGKILL'),
    async down() {
      await Promise.all([...processes.keys()].map((name) => kill(name, 'SIGTERM')));
      await hosts(['down']);
      if (!process.env['WHERRY_KEEP_LOGS']) await rm(directory, { recursive: true, force: true });
    },
  };

  try {
    await lab.startMaster();
    for (let host = 1; host <= options.hosts; host++) await lab.startAgent(host);
    await lab.kubectl('wait', '--for=condition=Ready', '--timeout=60s', 'node', '--all').catch(() => '');
    await until('every node is Ready', 60_000, async () => {
      const ready = await lab.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}');
      return ready.split(' ').filter((status) => status === 'True').length === options.hosts;
    });
    return lab;
  } catch (error) {
    for (const name of processes.keys()) process.stderr.write(`--- ${name}\n${(await readFile(join(directory, 'logs', `${name}.log`), 'utf8').catch(() => '')).slice(-4000)}\n`);
    await lab.down();
    throw error;
  }
}

/** Builds the guestbook's images on this machine's engine where they are missing. */
export async function buildGuestbookImages(): Promise<void> {
  await run('bash', [resolve(root, 'manifests/guestbook/images/build.sh')], { timeoutMs: 20 * 60_000 });
}

export const guestbookImages = ['kubeguide/redis-master', 'kubeguide/guestbook-redis-slave', 'kubeguide/guestbook-php-frontend'] as const;
/** Builds the small test image where it is missing. */
export async function buildBusybox(): Promise<void> {
  await run('bash', [resolve(root, 'manifests/demo/docker.sh'), 'ensure'], { timeoutMs: 10 * 60_000 });
  await run('bash', [resolve(root, 'test/e2e/images/busybox/build.sh')], { timeoutMs: 10 * 60_000 });
}
