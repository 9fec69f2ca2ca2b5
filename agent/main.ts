#!/usr/bin/env node
import { cac } from 'cac';
import { systemClock } from '../shared/clock.ts';
import { createLog } from '../shared/log.ts';
import { version } from '../shared/version.ts';
import { runAgent } from './agent.ts';
import { ConfigError, readAgentConfig } from './config.ts';
import { EnrolError } from './enrol.ts';

/** Aborts at the first SIGINT or SIGTERM; a second one ends the process at once. */
function untilSignal(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => { if (abort.signal.aborted) process.exit(130); abort.abort(); });
  }
  return abort.signal;
}

async function run(options: unknown): Promise<void> {
  const config = readAgentConfig(options);
  await runAgent({ config, clock: systemClock, random: Math.random, log: createLog({ component: 'agent', level: config.logLevel }) }, untilSignal());
}

async function main(argv: readonly string[]): Promise<void> {
  const cli = cac('wherry-agent');
  cli.command('', 'Run the agent of this node; its containers go on when it ends')
    .option('--master <url>', 'Where the master is: wss://host:6443')
    .option('--token <token>', 'Join token, for the first start: wherry token create')
    .option('--node-name <name>', 'Name of this node (default: the host name)')
    .option('--node-ip <ip>', 'Address of this node (default: this host\'s first)')
    .option('--node-labels <labels>', 'Labels of this node: key=value, with commas')
    .option('--data-dir <path>', 'Where identity and state are kept (default: /var/lib/wherry/agent)')
    .option('--docker-host <socket>', 'Docker engine (default: $DOCKER_HOST or unix:///var/run/docker.sock)')
    .option('--log-level <level>', 'debug, info, warn or error (default: info)')
    .action(run);
  cli.help();
  cli.version(version);
  cli.parse([...argv], { run: false });
  if (cli.args.length > 0) throw new ConfigError(`unexpected argument ${JSON.stringify(cli.args[0])}; see wherry-agent --help`);
  await cli.runMatchedCommand();
}

/** Errors that are the user's to mend are one line; others keep their stack, for a bug report. */
function explain(error: unknown): string {
  const { name, message, stack, code } = error as NodeJS.ErrnoException;
  const expected = error instanceof ConfigError || error instanceof EnrolError || name === 'CACError' || code !== undefined;
  return expected ? `wherry-agent: ${message}` : `wherry-agent: unexpected error: ${stack ?? message}`;
}

main(process.argv).then(() => process.exit(0), (error: unknown) => {
  process.stderr.write(`${explain(error)}\n`);
  process.exit(1);
});
