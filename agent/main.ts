#!/usr/bin/env node
import { cac } from 'cac';
import { systemClock } from '../shared/clock.ts';
import { asTyped } from '../shared/flags.ts';
import { createLog } from '../shared/log.ts';
import { plainLine } from '../shared/plain-reason.ts';
import { version } from '../shared/version.ts';
import { runAgent, type AgentOptions } from './agent.ts';
import { ConfigError, loadConfigFile, readAgentConfig } from './config.ts';
import { EnrolError } from './enrol.ts';
import { withToken } from './join-token.ts';
import { DockerRuntime } from './runtime/docker.ts';
import { OnTrial } from './upgrade/on-trial.ts';
import { readResult } from './upgrade/result.ts';
import { isSupervised, restartStatus, standIn, superviseAgent, trialVariable } from './upgrade/supervise.ts';
import type { Candidate } from './upgrade/upgrader.ts';

/** Aborts at the first SIGINT or SIGTERM; a second one ends the process at once. */
function untilSignal(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => { if (abort.signal.aborted) process.exit(130); abort.abort(); });
  }
  return abort.signal;
}

async function run(options: Record<string, unknown>): Promise<void> {
  const config = readAgentConfig(await withToken(options, process.env), await loadConfigFile(options['config']));
  const base = { config, clock: systemClock, random: Math.random, log: createLog({ component: 'agent', level: config.logLevel }) };
  const { runningProgram } = await import('./ops/program.ts');
  // A runtime that cannot say what it runs can run it nevertheless.
  const program = await runningProgram().catch(() => undefined);
  if (program?.type === 'binary') await runUpgradable(base, program.path, process.argv.slice(2));
  else await runAgent(base, untilSignal());
}

/** One executable file can be replaced while its agent's node goes on: see design/upgrade.md. */
async function runUpgradable(base: AgentOptions, program: string, args: readonly string[]): Promise<void> {
  const { clock, log } = base;
  const trialFd = process.env[trialVariable];
  if (trialFd !== undefined) {
    const over = new AbortController();
    await runAgent({ ...base, trial: new OnTrial(Number(trialFd), clock, () => over.abort()) }, AbortSignal.any([untilSignal(), over.signal]));
    return;
  }
  const signal = untilSignal();
  const { dataDir } = base.config;
  const outcome = await superviseAgent({ program, args, dataDir, clock, log: log.named('upgrade'), run: (stop) => runUntilCandidate(base, program, stop) }, signal);
  if (outcome === 'restart') process.exitCode = isSupervised() ? restartStatus : await standIn({ program, args }, signal);
}

async function runUntilCandidate(base: AgentOptions, program: string, signal: AbortSignal): Promise<Candidate | undefined> {
  let candidate: Candidate | undefined;
  const over = new AbortController();
  const onCandidate = (found: Candidate): void => { candidate = found; over.abort(); };
  await runAgent({ ...base, upgrades: { program, result: await readResult(base.config.dataDir), onCandidate } }, AbortSignal.any([signal, over.signal]));
  return candidate;
}

const print = (text: string): void => { process.stdout.write(text); };

// What an agent at work never needs is loaded when it is asked for.
async function install(flags: Record<string, unknown>): Promise<void> {
  const [commands, { runningProgram }] = await Promise.all([import('./ops/commands.ts'), import('./ops/program.ts')]);
  await commands.install({ flags: await withToken(flags, process.env), print, program: await runningProgram() });
}

async function uninstall(flags: Record<string, unknown>): Promise<void> {
  const commands = await import('./ops/commands.ts');
  await commands.uninstall({ flags, print, runtime: ({ dockerHost }) => new DockerRuntime({ host: dockerHost }) });
}

async function status(flags: Record<string, unknown>): Promise<void> {
  const commands = await import('./ops/commands.ts');
  process.exitCode = await commands.status({ flags, print, nowMs: systemClock.now() });
}

type Command = ReturnType<ReturnType<typeof cac>['command']>;

const settingFlags = (command: Command): Command => command
  .option('--master <url>', 'Where the master is: wss://host:6443, several with commas')
  .option('--token <token>', 'Join token, for the first start: wherry token create')
  .option('--token-file <path>', 'File that holds it, so that no list of processes shows it (or: $WHERRY_TOKEN)')
  .option('--node-name <name>', 'Name of this node (default: the host name)')
  .option('--node-ip <ip>', 'Address of this node (default: this host\'s first)')
  .option('--node-labels <labels>', 'Labels of this node: key=value, with commas')
  .option('--allowed-unsafe-sysctls <names>', 'Kernel parameters that pods may set beside the safe ones, with commas: net.core.*')
  .option('--data-dir <path>', 'Where identity and state are kept (default: /var/lib/wherry/agent)')
  .option('--docker-host <socket>', 'Docker engine (default: $DOCKER_HOST or unix:///var/run/docker.sock)')
  .option('--pod-network <mode>', 'Bridge for pods: own, with the node\'s podCIDR; the engine\'s; or auto: own where nodes share a network (default: auto)')
  .option('--max-pods <count>', 'Pods that this node runs at most (default: 110)')
  .option('--pod-max-pids <count>', 'Processes that each container of a pod may have (default: -1, no limit)')
  .option('--kube-reserved <amounts>', 'Kept from pods for the agent and the engine: cpu=100m,memory=200Mi,ephemeral-storage=1Gi')
  .option('--system-reserved <amounts>', 'The same for the rest of the system')
  .option('--eviction-hard <thresholds>', 'Below these, pods are evicted at once (default: memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%)')
  .option('--eviction-soft <thresholds>', 'Below these, pods are evicted after a time')
  .option('--eviction-soft-grace-period <times>', 'That time: memory.available=1m30s')
  .option('--eviction-max-pod-grace-period <seconds>', 'What pods get then to end (default: 0)')
  .option('--eviction-pressure-transition-period <time>', 'How long a node says that it lacks something after it last did (default: 5m)')
  .option('--log-level <level>', 'debug, info, warn or error (default: info)');

const configFlags = (command: Command): Command => command
  .option('--config <path>', 'Settings, which flags override; "none" for none (default: /etc/wherry/agent.json if it exists)');

const placeFlags = (command: Command): Command => command
  .option('--root <dir>', 'Work on the files of another host below this directory, as for an image')
  .option('--dry-run', 'Print what would be done, and do nothing');

function program(): ReturnType<typeof cac> {
  const cli = cac('wherry-agent');
  configFlags(settingFlags(cli.command('', 'Run the agent of this node; its containers go on when it ends'))).action(run);
  placeFlags(settingFlags(cli.command('install', 'Install it as a service that starts at boot; again, to change or upgrade it')))
    .option('--sandbox', 'Hide the host\'s files from it: for nodes without hostPath volumes and emptyDirs in memory (--no-sandbox: no longer)')
    .action(install);
  placeFlags(cli.command('uninstall', 'Stop the service and remove what install made; containers go on'))
    .option('--data-dir <path>', 'Where identity and state are kept (default: as installed)')
    .option('--docker-host <socket>', 'Docker engine (default: as installed)')
    .option('--purge', 'Remove its containers, identity and state as well')
    .action(uninstall);
  configFlags(cli.command('status', 'How this node\'s agent fares; exit status 0: connected, 1: running, 2: not running, 3: unknown'))
    .option('--data-dir <path>', 'Where identity and state are kept (default: as installed)')
    .option('--json', 'Print all of it as JSON')
    .action(status);
  cli.help();
  cli.version(version);
  return cli;
}

async function main(argv: readonly string[]): Promise<void> {
  const cli = program();
  cli.parse([...argv], { run: false });
  Object.assign(cli.options, asTyped(cli.options, argv, (message) => new ConfigError(message)));
  if (cli.args.length > 0) throw new ConfigError(`unexpected argument ${JSON.stringify(cli.args[0])}; see wherry-agent --help`);
  await cli.runMatchedCommand();
}

const verb = ['install', 'uninstall', 'status'].find((one) => one === process.argv[2]) ?? '';

/** Errors that are the user's to mend are one line; others keep their stack, for a bug report. */
function explain(error: unknown): string {
  const { name, message, stack, code } = error as NodeJS.ErrnoException;
  if (name === 'CACError') return `wherry-agent: ${message.charAt(0).toLowerCase()}${message.slice(1)}; see wherry-agent ${verb} --help`.replace('  ', ' ');
  const expected = error instanceof ConfigError || error instanceof EnrolError || name === 'StepError' || name === 'StatusFailure' || code !== undefined;
  return expected ? `wherry-agent: ${plainLine(error)}` : `wherry-agent: unexpected error: ${stack ?? message}`;
}

/** `status` says 3 when there is no telling: 1 has a meaning of its own. */
const failed = process.argv[2] === 'status' ? 3 : 1;

main(process.argv).then(() => process.exit(), (error: unknown) => {
  process.stderr.write(`${explain(error)}\n`);
  process.exit(failed);
});
