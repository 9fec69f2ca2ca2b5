#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cac } from 'cac';
import { sleep, systemClock } from '../shared/clock.ts';
import { asTyped, flagName } from '../shared/flags.ts';
import { createLog } from '../shared/log.ts';
import { plainLine, plainReason } from '../shared/plain-reason.ts';
import { isNotFound } from '../shared/status.ts';
import { version } from '../shared/version.ts';
import { AccountKeys, defaultKeepMs, type Rotation } from './account-key.ts';
import { accountKeyPath } from './account-key-routes.ts';
import { backupMaster, restoreMaster } from './backup.ts';
import { backupPath } from './backup-routes.ts';
import { ApiClient, readKubeconfig, type Credentials } from './client.ts';
import { ConfigError, parseDuration, readMasterConfig } from './config.ts';
import { runMaster } from './master.ts';
import { watchStatus } from './status/command.ts';
import { fleetLines } from './status/fleet-text.ts';
import type { FleetStatus } from './status/stream.ts';
import { statusPath } from './status-routes.ts';
import { openLmdbStore } from './store/lmdb.ts';
import { upgradeAgents, type UpgradeFlags } from './upgrade-command.ts';

/** Where this host's own agent keeps its state, beside the master's. */
const agentProgram = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../agent/main.ts' : '../agent/main.js', import.meta.url));
const kubeconfigName = 'admin.kubeconfig';
const defaultDataDir = '/var/lib/wherry/master';

/** Aborts at the first SIGINT or SIGTERM; a second one ends the process at once. */
function untilSignal(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => { if (abort.signal.aborted) process.exit(130); abort.abort(); });
  }
  return abort.signal;
}

const print = (text: string): void => { process.stdout.write(`${text}\n`); };

async function master(options: object): Promise<void> {
  const config = readMasterConfig(options);
  const log = createLog({ component: 'master', level: config.logLevel });
  await runMaster({ config, clock: systemClock, random: Math.random, log, onReady: ({ url, kubeconfig }) => log.info('ready', { url, kubeconfig }) }, untilSignal());
}

/** Master and agent on one host: the master here, the agent as a process of its own, so that neither's death is the other's. */
async function up(options: Record<string, unknown>): Promise<void> {
  const dataDir = String(options['dataDir'] ?? '/var/lib/wherry');
  const { nodeName, nodeIp, dockerHost, nodeLabels, ...rest } = options;
  const config = readMasterConfig({ ...rest, dataDir: join(dataDir, 'master') });
  const log = createLog({ component: 'master', level: config.logLevel });
  const signal = untilSignal();
  const agentOptions = { nodeName, nodeIp, dockerHost, nodeLabels, logLevel: config.logLevel };
  const flags = Object.entries(agentOptions).flatMap(([name, value]) => (value === undefined ? [] : [`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, String(value)]));
  let agent: Promise<void> | undefined;
  await runMaster({
    config, clock: systemClock, random: Math.random, log,
    onReady: ({ url, kubeconfig, joinToken }) => {
      log.info('ready', { url, kubeconfig });
      agent = onceBootstrapped(() => joinToken('wherry up', 3600_000), signal).then((token) => runAgent(['--config', 'none', '--master', url, '--data-dir', join(dataDir, 'agent'), ...flags], token, signal));
      agent.catch((error: unknown) => log.error('the agent does not run', { why: (error as Error).message }));
    },
  }, signal);
  await agent;
}

const bootstrapLimitMs = 60_000;

/** A new master makes its system namespaces, where tokens are, a moment after it is ready. */
async function onceBootstrapped<T>(make: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (const lateMs = systemClock.monotonic() + bootstrapLimitMs; ;) {
    try {
      return await make();
    } catch (error) {
      if (signal.aborted || !isNotFound(error) || systemClock.monotonic() > lateMs) throw error;
      await sleep(systemClock, 50, signal);
    }
  }
}

/** Runs the agent until it ends by itself or `signal` aborts; restarts it when it was killed. The token is in no list of processes. */
async function runAgent(args: readonly string[], token: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(process.execPath, [...process.execArgv, agentProgram, ...args], { stdio: 'inherit', env: { ...process.env, WHERRY_TOKEN: token } });
      const stop = (): void => { child.kill('SIGTERM'); };
      signal.addEventListener('abort', stop, { once: true });
      child.on('error', reject);
      child.on('exit', (exitCode) => { signal.removeEventListener('abort', stop); resolve(exitCode); });
    });
    // A code of its own is the agent's word that trying again is no use.
    if (code !== null && code !== 0 && !signal.aborted) throw new ConfigError('the agent gave up, for the reason that it says above; the master goes on without it');
    if (code !== null) return;
  }
}

/** `wherry agent …` runs the agent's own program, so that master and agent stay apart. */
function agent(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, agentProgram, ...args], { stdio: 'inherit' });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    child.on('error', reject);
    child.on('exit', (code, signal) => { process.exitCode = code ?? (signal ? 1 : 0); resolve(); });
  });
}

interface ClientOptions { readonly dataDir?: string; readonly kubeconfig?: string }

/** The administrator's credentials. @throws ConfigError */
async function credentials(options: ClientOptions): Promise<Credentials> {
  const candidates = options.kubeconfig ? [options.kubeconfig]
    // What was asked for by name comes before what the environment happens to hold.
    : options.dataDir ? [join(options.dataDir, kubeconfigName)]
      : [...(process.env['KUBECONFIG'] ?? '').split(delimiter).filter(Boolean), join(defaultDataDir, kubeconfigName)];
  for (const path of candidates) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text !== undefined) return readKubeconfig(text, path);
  }
  throw new ConfigError(`no kubeconfig at ${candidates.join(' or ')}: is the master's data directory another one (--data-dir), or are you not root?`);
}

const client = async (options: ClientOptions): Promise<ApiClient> => new ApiClient(await credentials(options));

/** The fleet, once or as it changes. */
async function status(options: ClientOptions & { watch?: boolean; json?: boolean }): Promise<void> {
  if (options.watch) return watch(options);
  const fleet = await (await client(options)).get(statusPath) as unknown as FleetStatus;
  if (options.json) return print(JSON.stringify(fleet, undefined, 2));
  for (const line of fleetLines({ ...fleet, nowMs: systemClock.now() })) print(line);
}

async function watch(options: ClientOptions & { json?: boolean }): Promise<void> {
  const { stdout } = process;
  const terminal = { write: (text: string) => { stdout.write(text); }, isTTY: stdout.isTTY, get rows() { return stdout.rows; }, get columns() { return stdout.columns; } };
  // Whoever reads the lines may go away.
  stdout.on('error', () => process.exit(0));
  // Between two connections nothing else keeps the process.
  const alive = setInterval(() => undefined, 2 ** 30);
  try {
    await watchStatus({ credentials: await credentials(options), terminal, json: options.json ?? false, clock: systemClock }, untilSignal());
  } finally {
    clearInterval(alive);
  }
}

async function tokenCreate(options: ClientOptions & { ttl?: string; description?: string }): Promise<void> {
  const api = await client(options);
  const answer = await api.post('/wherry/v1/tokens', { ttlMs: readDuration(String(options.ttl ?? '24h')), description: options.description ?? '' });
  print(String(answer['token']));
}

async function tokenList(options: ClientOptions): Promise<void> {
  const { tokens } = await (await client(options)).get('/wherry/v1/tokens') as { tokens: readonly Record<string, string>[] };
  print(['ID'.padEnd(8), 'EXPIRES'.padEnd(22), 'DESCRIPTION'].join(''));
  for (const token of tokens) print([String(token['id']).padEnd(8), String(token['expires'] ?? '<never>').padEnd(22), token['description'] ?? ''].join('').trimEnd());
}

async function tokenDelete(id: string, options: ClientOptions): Promise<void> {
  await (await client(options)).delete(`/wherry/v1/tokens?id=${encodeURIComponent(id)}`);
  print(`token "${id}" deleted`);
}

/** Backs up a running master through its API, and one that does not run from its data directory. */
async function backup(target: string, options: ClientOptions): Promise<void> {
  const [directory, dataDir] = [resolve(target), options.dataDir ?? defaultDataDir];
  let made: Record<string, unknown>;
  try {
    made = await (await client(options)).post(backupPath, { directory });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED' || options.kubeconfig) throw error;
    const store = await openLmdbStore({ directory: join(dataDir, 'store') });
    made = { ...await backupMaster({ dataDir, store, version, nowMs: Date.now() }, directory).finally(() => store.close()) };
  }
  print(`backup of revision ${String(made['revision'])} in ${directory}; keep it safe: it holds the authority's key`);
}

/** Has a running master sign service accounts' tokens with a new key, or one that does not run with its next start. */
async function rotateAccountKey(options: ClientOptions & { keep?: string }): Promise<void> {
  const keepMs = options.keep === undefined ? defaultKeepMs : readDuration(String(options.keep), '--keep');
  let made: Rotation;
  try {
    made = await (await client(options)).post(accountKeyPath, { keepMs }) as unknown as Rotation;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED' || options.kubeconfig) throw error;
    made = await (await AccountKeys.open(join(options.dataDir ?? defaultDataDir, 'pki'), systemClock)).rotate(keepMs);
  }
  print(`service accounts' tokens are signed with key ${made.id} from now on`);
  for (const { id, until } of made.previous) print(`tokens of key ${id} are good until ${until}`);
}

async function printKubeconfig(options: ClientOptions): Promise<void> {
  const path = options.kubeconfig ?? join(options.dataDir ?? defaultDataDir, kubeconfigName);
  const text = await readFile(path, 'utf8').catch((error: unknown) => { throw new ConfigError(`no kubeconfig at ${path}: ${plainReason(error)}; a master writes it to its data directory (--data-dir)`); });
  print(text.trimEnd());
}

async function restore(source: string, options: ClientOptions): Promise<void> {
  const dataDir = resolve(options.dataDir ?? defaultDataDir);
  const { revision, time } = await restoreMaster(resolve(source), dataDir);
  print(`revision ${revision} of ${time} restored to ${dataDir}; start the master, and its agents will follow`);
}

/** `90s`, `30m`, `24h`, `7d`; `0` for never. In ms. */
function readDuration(text: string, flag = '--ttl'): number {
  const ms = text === '0' ? 0 : parseDuration(text);
  if (ms === undefined) throw new ConfigError(`${flag}: ${JSON.stringify(text)} is no duration such as 30m, 24h or 7d`);
  return ms;
}

const masterFlags = (command: ReturnType<ReturnType<typeof cac>['command']>) => command
  .option('--data-dir <path>', 'Where all state is kept (default: /var/lib/wherry/master; up: /var/lib/wherry)')
  .option('--bind-address <ip>', 'Address to listen on (default: 0.0.0.0)')
  .option('--port <port>', 'Port to listen on (default: 6443)')
  .option('--advertise-address <ip>', 'Address that agents and pods reach the master at (default: this host\'s first)')
  .option('--tls-san <names>', 'More names and addresses for the server certificate, with commas')
  .option('--service-cidr <cidr>', 'Addresses of services (default: 10.96.0.0/16)')
  .option('--cluster-cidr <cidr>', 'Addresses of pods (default: 10.244.0.0/16)')
  .option('--node-port-range <range>', 'Ports of NodePort services (default: 30000-32767)')
  .option('--cluster-domain <name>', 'DNS domain of services (default: cluster.local)')
  .option('--node-monitor-grace-period <seconds>', 'Silence after which a node is NotReady (default: 40)')
  .option('--default-storage-class <name>', 'Class made for claims without one, unless there is a default; none for none (default: local-path)')
  .option('--event-ttl <seconds>', 'How long events are kept (default: 3600)')
  .option('--node-cert-ttl <duration>', 'Life of an agent\'s certificate, which it renews at half to four fifths of it (default: 365d)')
  .option('--offline-window <duration>', 'For how long after its end that certificate still lets its agent come back (default: 365d)')
  .option('--log-level <level>', 'debug, info, warn or error (default: info)');

function program(): ReturnType<typeof cac> {
  const cli = cac('wherry');
  masterFlags(cli.command('master', 'Run a master')).action(master);
  masterFlags(cli.command('up', 'Run a master and an agent on this host'))
    .option('--node-name <name>', 'Name of this node (default: the host name)')
    .option('--node-ip <ip>', 'Address of this node (default: this host\'s first)')
    .option('--node-labels <labels>', 'Labels of this node: key=value, with commas')
    .option('--docker-host <socket>', 'Docker engine (default: $DOCKER_HOST or unix:///var/run/docker.sock)')
    .action(up);
  cli.command('agent', 'Run an agent; see wherry agent --help');
  const clientFlags = (command: ReturnType<typeof cli.command>) => command
    .option('--data-dir <path>', 'The master\'s data directory (default: /var/lib/wherry/master)')
    .option('--kubeconfig <path>', 'Credentials to use instead');
  clientFlags(cli.command('token <action> [id]', 'create, list or delete tokens that let agents join'))
    .option('--ttl <duration>', 'How long a new token is good: 30m, 24h, 7d, 0 for ever (default: 24h)')
    .option('--description <text>', 'What the token is for')
    .action(async (action: string, id: string | undefined, options: ClientOptions) => {
      if (action === 'create') return tokenCreate(options);
      if (action === 'list') return tokenList(options);
      if (action === 'delete' && id) return tokenDelete(id, options);
      throw new ConfigError(action === 'delete' ? 'token delete needs the id of a token' : `unknown action ${JSON.stringify(action)}: create, list or delete`);
    });
  clientFlags(cli.command('status', 'The fleet: nodes, their links and agents, pods'))
    .option('--watch', 'Go on showing it as it changes')
    .option('--json', 'Print JSON; with --watch an object per change')
    .action(status);
  clientFlags(cli.command('upgrade', 'Replace the program of packaged agents, node by node; a node that does not get healthy with it rolls back'))
    .option('--binary <file>', 'The new program, of npm run package')
    .option('--nodes <names>', 'These nodes, with commas, in this order')
    .option('--selector <labels>', 'Nodes with these labels')
    .option('--all', 'All nodes')
    .option('--batch <number>', 'How many at a time (default: 1)')
    .option('--timeout <duration>', 'How long it may take on a node to get healthy (default: 120s)')
    .action(async (options: ClientOptions & UpgradeFlags) => { if (!await upgradeAgents({ flags: options, client: () => client(options), print })) process.exitCode = 1; });
  clientFlags(cli.command('kubeconfig', 'Print the administrator\'s kubeconfig'))
    .action(printKubeconfig);
  clientFlags(cli.command('backup <directory>', 'Write a consistent copy of the master\'s state, keys and tokens to a new directory on its host')).action(backup);
  clientFlags(cli.command('account-key <action>', 'rotate: sign service accounts\' tokens with a new key; those of the last one are good for a while'))
    .option('--keep <duration>', 'For how long: 1h, 30d, 0 to end them at once (default: 366d)')
    .action(async (action: string, options: ClientOptions & { keep?: string }) => {
      if (action !== 'rotate') throw new ConfigError(`unknown action ${JSON.stringify(action)}: rotate`);
      return rotateAccountKey(options);
    });
  cli.command('restore <directory>', 'Make a data directory from a backup, while no master runs on it')
    .option('--data-dir <path>', 'What to make; it must not exist or be empty (default: /var/lib/wherry/master)')
    .action(restore);
  cli.help();
  cli.version(version);
  return cli;
}

async function main(argv: readonly string[]): Promise<void> {
  if (argv[2] === 'agent') return agent(argv.slice(3));
  const cli = program();
  cli.parse([...argv], { run: false });
  Object.assign(cli.options, asTyped(cli.options, argv, (message) => new ConfigError(message)));
  if (!cli.matchedCommand && !cli.options['help'] && !cli.options['version']) {
    if (cli.args.length > 0) throw new ConfigError(`unknown command ${JSON.stringify(cli.args[0])}; see wherry --help`);
    const unknown = Object.keys(cli.options).find((name) => name !== '--');
    if (unknown !== undefined) throw new ConfigError(`unknown option ${flagName(unknown)}; see wherry --help`);
    cli.outputHelp();
    return;
  }
  await cli.runMatchedCommand();
}

/** Errors that are the user's to mend are one line; others keep their stack, for a bug report. */
function explain(error: unknown): string {
  const { name, message, stack, code } = error as NodeJS.ErrnoException;
  if (name === 'CACError') return `wherry: ${message.charAt(0).toLowerCase()}${message.slice(1)}; see wherry ${process.argv[2] ?? ''} --help`;
  if (error instanceof ConfigError || name === 'StatusError' || name === 'OpenError' || code !== undefined) return `wherry: ${plainLine(error)}`;
  return `wherry: unexpected error: ${stack ?? message}`;
}

main(process.argv).then(() => { process.exitCode ??= 0; }, (error: unknown) => {
  process.stderr.write(`${explain(error)}\n`);
  process.exit(1);
});
