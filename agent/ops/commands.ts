import { resolve } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { defaultDataDir, loadConfigFile, readAgentConfig, readOptions, type AgentConfig, type ConfigFile } from '../config.ts';
import { askStatus } from './ask.ts';
import { commandOf, lookForInstall, planInstall, startAdvice } from './install.ts';
import type { Program } from './program.ts';
import { purge, type PurgeOptions } from './purge.ts';
import { exitCodeOf } from './status.ts';
import { headline, statusText } from './status-text.ts';
import { applySteps, StepError, stepText, type Step, type StepOutcome } from './steps.ts';
import { lookForUninstall, planUninstall } from './uninstall.ts';

/** Flags as cac gives them. */
export type Flags = Readonly<Record<string, unknown>>;

export interface CommandOptions {
  readonly flags: Flags;
  /** Prints to standard output; `text` ends in a newline. */
  readonly print: (text: string) => void;
}

/** `wherry agent install`. @throws ConfigError or StepError with one line for the user */
export async function install({ flags, print, program }: CommandOptions & { readonly program: Program }): Promise<void> {
  const facts = await lookForInstall(flags, program);
  const steps = planInstall(facts);
  if (flags['dryRun']) return showSteps(steps, print);
  const changed = await applySteps(steps, reporter(print));
  print(changed || facts.systemd ? `Installed: ${commandOf(facts).join(' ')}\n` : 'Nothing to change: it is installed as it should be.\n');
  if (facts.systemd) print(await firstWords(resolve(facts.settings.dataDir ?? defaultDataDir)));
  for (const line of startAdvice(facts)) print(`${line}\n`);
}

/** How long a service that was started may take to say how it fares. */
const firstWordsMs = 20_000;

/** How the service that was started fares: connected, or why not yet. @throws StepError when it does not come up */
async function firstWords(dataDir: string): Promise<string> {
  const deadline = performance.now() + firstWordsMs;
  for (;;) {
    const status = await askStatus(dataDir);
    const late = performance.now() > deadline;
    const why = status.state === 'connected' ? undefined : status.link?.lastError?.message;
    if (status.link && (late || why !== undefined || status.state === 'connected')) return `${headline(status, Date.now())}${why === undefined ? '' : `: ${why}`}\n`;
    if (late) throw new StepError('the service does not come up; "journalctl -u wherry-agent" says why');
    await after(250);
  }
}

/** `wherry agent uninstall`. @throws ConfigError or StepError with one line for the user */
export async function uninstall({ flags, print, runtime }: CommandOptions & { readonly runtime: (config: AgentConfig) => PurgeOptions['runtime'] }): Promise<void> {
  const facts = await lookForUninstall(flags);
  const steps = planUninstall(facts);
  if (flags['dryRun']) {
    showSteps(steps, print);
    if (facts.purge) print(`remove the containers and the pod network of ${facts.dataDir}, and ${facts.dataDir}\n`);
    return;
  }
  const changed = await applySteps(steps, reporter(print));
  if (!changed && !facts.purge) return print(`Nothing is installed${facts.root ? ` below ${facts.root}` : ''}: nothing was removed.\n`);
  if (facts.purge && !facts.root) {
    const config = readAgentConfig({ dataDir: facts.dataDir, ...(facts.dockerHost === undefined ? {} : { dockerHost: facts.dockerHost }) });
    await purge({ dataDir: facts.dataDir, runtime: runtime(config), report: (line) => print(`${line}\n`) });
  } else if (!facts.root) {
    print(`Containers go on, and ${facts.dataDir} keeps identity and state. To remove both: uninstall --purge${facts.dataDir === readAgentConfig({}).dataDir ? '' : ` --data-dir ${facts.dataDir}`}\n`);
  }
}

/** `wherry agent status`. @returns the exit status. @throws ConfigError, or Error with one line for the user */
export async function status({ flags, print, nowMs }: CommandOptions & { readonly nowMs: number }): Promise<number> {
  const answer = await askStatus(readAgentConfig({ ...await settingsFor(flags), ...readOptions(flags) }).dataDir);
  print(flags['json'] ? `${JSON.stringify(answer, undefined, 2)}\n` : statusText(answer, nowMs));
  return exitCodeOf(answer);
}

/** The config file's settings, unless the data directory, all that is needed of them, is given. */
const settingsFor = (flags: Flags): Promise<ConfigFile> => (flags['dataDir'] !== undefined && flags['config'] === undefined ? Promise.resolve({}) : loadConfigFile(flags['config']));

const reporter = (print: (text: string) => void) => (step: Step, outcome: StepOutcome): void => {
  if (outcome === 'done' && step.type !== 'removeEmpty') print(`${stepText(step)}\n`);
};

/** What would be done, with the content of files; secrets are not shown. */
function showSteps(steps: readonly Step[], print: (text: string) => void): void {
  for (const step of steps) {
    print(`${stepText(step)}${step.type === 'removeEmpty' ? ' if nothing else is in it' : ''}\n`);
    if (step.type === 'write') print(`${(step.secret ? '(the token)' : step.content.trimEnd()).replace(/^/gm, '    ')}\n`);
  }
}
