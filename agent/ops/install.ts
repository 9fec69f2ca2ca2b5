import { connect } from 'node:net';
import { lstat, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigError, configPath, defaultDataDir, readAgentConfig, readConfigText, readOptions, type ConfigFile } from '../config.ts';
import { parseJoinToken } from '../../shared/enrolment.ts';
import { plainReason } from '../../shared/plain-reason.ts';
import { joinTokenPath } from '../join-token.ts';
import { tokenId } from '../enrol.ts';
import { readText } from '../session/files.ts';
import { readIdentityFacts } from './identity-facts.ts';
import { noEngineText } from '../runtime/no-engine.ts';
import type { Program } from './program.ts';
import type { Step } from './steps.ts';
import { unitMark, unitName, unitText } from './unit-file.ts';

/** Where things are put; all below `--root`. */
export const paths = { binary: '/usr/local/bin/wherry-agent', config: configPath, units: '/etc/systemd/system' } as const;
export const unitPath = join(paths.units, unitName);
/** What `systemctl enable` makes of `WantedBy=multi-user.target`. */
export const wantsPath = join(paths.units, 'multi-user.target.wants', unitName);

/** What a plan depends on. */
export interface InstallFacts {
  /** `''` for this host, else a directory that holds another one's files. */
  readonly root: string;
  readonly program: Program;
  /** Settings as they shall be: those of the file that was there, under the flags given. */
  readonly settings: ConfigFile;
  /** Join token to leave for the first start, if it is needed. */
  readonly token: string | undefined;
  readonly sandbox: boolean;
  /** systemd runs here, and is to be told. */
  readonly systemd: boolean;
}

/** The command that the unit runs. */
export const commandOf = ({ program }: Pick<InstallFacts, 'program'>): readonly string[] =>
  [...(program.type === 'binary' ? [paths.binary] : program.command), '--config', paths.config];

/** Everything that makes an installed agent of this host, in order. Doing it again changes nothing. */
export function planInstall(facts: InstallFacts): Step[] {
  const { root, program, settings, token, sandbox, systemd } = facts;
  const at = (path: string): string => join(root || '/', path);
  const dataDir = resolve(settings.dataDir ?? defaultDataDir);
  const isActive = ['systemctl', 'is-active', '--quiet', unitName];
  return [
    ...(program.type === 'binary' ? [{ type: 'copy', from: program.path, path: at(paths.binary), mode: 0o755 } as const] : []),
    { type: 'write', path: at(paths.config), content: `${JSON.stringify(settings, undefined, 2)}\n`, mode: 0o644 },
    { type: 'directory', path: at(dataDir), mode: 0o700 },
    ...(token === undefined ? [] : [{ type: 'write', path: at(joinTokenPath(dataDir)), content: `${token}\n`, mode: 0o600, secret: true } as const]),
    { type: 'write', path: at(unitPath), content: unitText({ command: commandOf(facts), dataDir, sandbox }), mode: 0o644 },
    // The same as `systemctl enable`, which there may be none of.
    { type: 'link', path: at(wantsPath), to: unitPath },
    ...(systemd ? [
      { type: 'run', command: ['systemctl', 'daemon-reload'], unless: isActive } as const,
      { type: 'run', command: ['systemctl', 'restart', unitName], unless: isActive } as const,
    ] : []),
  ];
}

/** What `install` says to whoever has to start the agent by hand. */
export function startAdvice(facts: InstallFacts): string[] {
  if (facts.systemd) return [];
  if (facts.root) return [`The agent starts when a host boots with ${facts.root} as its root directory.`];
  return ['systemd does not run here. Start the agent now, as root, with:', `  ${commandOf(facts).map(shellWord).join(' ')}`, `Where systemd runs it starts at boot; at once with: systemctl start ${unitName}`];
}

const shellWord = (word: string): string => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** Flags of `install` that are no settings, as cac gives them. */
export interface InstallFlags { readonly root?: unknown; readonly sandbox?: unknown; readonly dryRun?: unknown }

/**
 * Looks at the host and checks what was asked for.
 * @throws ConfigError with one line for the user: wrong flags, no permission, no engine, no token
 */
export async function lookForInstall(flags: InstallFlags & Record<string, unknown>, program: Program): Promise<InstallFacts> {
  const root = readRoot(flags.root);
  if (!root && !flags.dryRun) requireRoot('install');
  const { token, ...given } = readOptions(flags);
  const before = await installedSettings(root);
  const settings = { ...before, ...given };
  const config = readAgentConfig(settings);
  if (settings.dataDir !== undefined) settings.dataDir = config.dataDir;
  if (process.env['DOCKER_HOST'] && settings.dockerHost === undefined && !root) settings.dockerHost = config.dockerHost;
  const unit = await requireOwnUnit(root);
  // As it was, if nothing is said of it.
  const sandbox = typeof flags.sandbox === 'boolean' ? flags.sandbox : unit?.includes('\nProtectSystem=') ?? false;
  if (sandbox && isHidden(config.dataDir)) throw new ConfigError(`--sandbox: hides ${config.dataDir} from the agent; keep its data elsewhere with --data-dir`);
  const hidden = sandbox && !root && program.type === 'script' ? program.command.find(isHidden) : undefined;
  if (hidden) throw new ConfigError(`--sandbox: hides ${hidden} from the agent; keep the program elsewhere`);
  const needed = await tokenNeeded(join(root || '/', config.dataDir), settings, token);
  if (!root && !flags.dryRun) await requireEngine(config.dockerHost);
  const systemd = !root && await lstat('/run/systemd/system').then((found) => found.isDirectory(), () => false);
  return { root, program, settings, token: needed ? token : undefined, sandbox, systemd };
}

/** Whether systemd's PrivateTmp and ProtectHome hide a path. */
const isHidden = (path: string): boolean => /^\/(tmp|var\/tmp|home|root|run\/user)\//.test(`${path}/`);

export function readRoot(root: unknown): string {
  if (root === undefined) return '';
  if (typeof root !== 'string' || root === '') throw new ConfigError(`--root: must be a directory, not ${JSON.stringify(root)}`);
  const path = resolve(root);
  return path === '/' ? '' : path;
}

export function requireRoot(verb: string): void {
  if (process.getuid?.() !== 0) throw new ConfigError(`${verb} must be run as root: it writes to /etc and starts a service (--dry-run shows what it would do)`);
}

/** Settings of an agent that is installed already. @throws ConfigError */
export async function installedSettings(root: string): Promise<ConfigFile> {
  const path = join(root || '/', paths.config);
  const text = await readText(path).catch((error: Error) => { throw new ConfigError(`cannot read ${path}: ${plainReason(error)}`); });
  return text === undefined ? {} : readConfigText(text, path);
}

/** A unit of this name that somebody else wrote is not ours to replace or remove. @throws ConfigError */
export async function requireOwnUnit(root: string): Promise<string | undefined> {
  const path = join(root || '/', unitPath);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text !== undefined && !text.startsWith(unitMark)) throw new ConfigError(`${path} was not written by "wherry agent install"; move it away first`);
  return text;
}

/** Whether the token given is to be kept for the first start. @throws ConfigError when the agent could never join */
async function tokenNeeded(dataDir: string, settings: ConfigFile, token: string | undefined): Promise<boolean> {
  if (token !== undefined && !parseJoinToken(token)) throw new ConfigError('--token: must be of the form wherry1.ID.SECRET.HASH (make one with `wherry token create` on the master)');
  const enrolled = await readIdentityFacts(dataDir).catch((error: Error) => { throw new ConfigError(error.message); });
  if (enrolled) {
    if (settings.nodeName !== undefined && settings.nodeName !== enrolled.node) throw new ConfigError(`--node-name: this agent is enrolled as node "${enrolled.node}"; uninstall --purge makes it forget that`);
    // Another token than the one that it has been let in with: for a master that does not know the node any more.
    return token !== undefined && tokenId(token) !== enrolled.tokenId;
  }
  if (!settings.master) throw new ConfigError('--master is needed: where the master is, such as wss://master.example:6443');
  if (token === undefined && !await readText(joinTokenPath(dataDir)).catch(() => undefined)) throw new ConfigError('--token is needed: a join token (make one with `wherry token create` on the master)');
  return token !== undefined;
}

/** @throws ConfigError when no Docker engine answers at a socket */
function requireEngine(dockerHost: string): Promise<void> {
  const path = dockerHost.replace(/^unix:\/\//, '');
  return new Promise((done, reject) => {
    const socket = connect(path, () => { socket.destroy(); done(); });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reject(new ConfigError(`${noEngineText(error)} Install one (apt-get install docker.io), or say where it is with --docker-host`));
    });
  });
}
