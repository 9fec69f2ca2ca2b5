import { readFile } from 'node:fs/promises';
import { networkInterfaces, hostname } from 'node:os';
import { isIPv4 } from 'node:net';
import { resolve } from 'node:path';
import * as v from 'valibot';
import { refusedFlag, typedFlags } from '../shared/flags.ts';
import { labelValueErrors, qualifiedNameErrors } from '../shared/names.ts';
import { plainReason } from '../shared/plain-reason.ts';
import { readResources, type ResourceConfig } from './node-resources.ts';

const nodeName = v.pipe(v.string(), v.regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'must consist of lower case letters, digits, "-" and "."'), v.maxLength(253, 'must be at most 253 characters'));

function isSocketName(text: string): boolean {
  return /^(unix:\/\/\/|\/)/.test(text);
}

/** What a config file may hold, and a flag of the same name overrides. All are strings, as on the command line. */
const settings = {
  master: v.exactOptional(v.pipe(v.string(), v.check((text) => text.split(',').every((one) => /^(wss|https):\/\/[^/]+\/?$/.test(one.trim())), 'must be an address such as wss://master.example:6443, or several with commas'))),
  nodeName: v.exactOptional(nodeName),
  nodeIp: v.exactOptional(v.pipe(v.string(), v.check((text) => isIPv4(text), 'must be an IPv4 address'))),
  nodeLabels: v.exactOptional(v.string()),
  allowedUnsafeSysctls: v.exactOptional(v.string()),
  dataDir: v.exactOptional(v.pipe(v.string(), v.minLength(1, 'must be a directory'))),
  dockerHost: v.exactOptional(v.pipe(v.string(), v.check(isSocketName, 'must be a socket such as unix:///var/run/docker.sock'))),
  podNetwork: v.exactOptional(v.picklist(['auto', 'own', 'bridge'], 'must be auto, own or bridge')),
  maxPods: v.exactOptional(v.pipe(v.union([v.string(), v.number()]), v.transform(String), v.regex(/^\d{1,6}$/, 'must be a number of pods'))),
  podMaxPids: v.exactOptional(v.pipe(v.union([v.string(), v.number()]), v.transform(String), v.regex(/^(-1|\d{1,7})$/, 'must be a number of processes, or -1 for no limit'))),
  kubeReserved: v.exactOptional(v.string()),
  systemReserved: v.exactOptional(v.string()),
  evictionHard: v.exactOptional(v.string()),
  evictionSoft: v.exactOptional(v.string()),
  evictionSoftGracePeriod: v.exactOptional(v.string()),
  evictionPressureTransitionPeriod: v.exactOptional(v.string()),
  evictionMaxPodGracePeriod: v.exactOptional(v.pipe(v.union([v.string(), v.number()]), v.transform(String), v.regex(/^\d{1,6}$/, 'must be a number of seconds'))),
  logLevel: v.exactOptional(v.picklist(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error')),
};

/** The agent's config file: JSON, every setting optional, nothing else in it. */
const ConfigFile = v.strictObject(settings);
export type ConfigFile = v.InferOutput<typeof ConfigFile>;

/** What `wherry agent` can be told, by flag name. The token is no setting: it is good for one start only. */
const Options = v.object({ ...settings, token: v.exactOptional(v.string()) });

/** Where an installed agent's config file is. */
export const configPath = '/etc/wherry/agent.json';
export const defaultDataDir = '/var/lib/wherry/agent';

export interface AgentConfig {
  /** `https://host:port`, several with commas; undefined when only what is already known on disk is to be run. */
  readonly master: string | undefined;
  /** Join token; needed once. */
  readonly token: string | undefined;
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** Kernel parameters that pods may set beside the safe ones; `net.core.*` for all that begin so. */
  readonly allowedUnsafeSysctls?: readonly string[];
  readonly resources: ResourceConfig;
  /** Processes that a container may have at most; absent: no limit. */
  readonly podMaxPids?: number;
  readonly dataDir: string;
  /** `unix:///…`: the engine's socket. */
  readonly dockerHost: string;
  /** Whether pods get a bridge of their own with the node's `podCIDR`: `auto` where other nodes are on the same network. */
  readonly podNetwork: 'auto' | 'own' | 'bridge';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** A flag says something that cannot be; the message is one line for the user. */
export class ConfigError extends Error {}

/**
 * Checks command-line options (camel case, as cac gives them) over the settings of a config file.
 * @throws ConfigError
 */
export function readAgentConfig(options: object, file: ConfigFile = {}): AgentConfig {
  const given = { ...file, ...readOptions(options) };
  const dockerHost = given.dockerHost ?? process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  if (!isSocketName(dockerHost)) throw new ConfigError(`$DOCKER_HOST must be a socket such as unix:///var/run/docker.sock, not ${JSON.stringify(dockerHost)}`);
  return {
    master: given.master?.split(',').map((one) => one.trim().replace(/^wss:/, 'https:').replace(/\/$/, '')).join(','), token: given.token,
    nodeName: given.nodeName ?? ownName(), nodeIP: given.nodeIp ?? hostAddress(),
    ...(given.allowedUnsafeSysctls ? { allowedUnsafeSysctls: readSysctls(given.allowedUnsafeSysctls) } : {}),
    ...(Number(given.podMaxPids ?? -1) > 0 ? { podMaxPids: Number(given.podMaxPids) } : {}),
    resources: readResources(given, (message) => new ConfigError(message)),
    nodeLabels: readLabels(given.nodeLabels ?? ''), dataDir: resolve(given.dataDir ?? defaultDataDir),
    dockerHost: dockerHost.startsWith('/') ? `unix://${dockerHost}` : dockerHost, podNetwork: given.podNetwork ?? 'auto', logLevel: given.logLevel ?? 'info',
  };
}

/** What of command-line options are settings, checked. Others are left out. @throws ConfigError naming the flag */
export function readOptions(options: object): ConfigFile & { readonly token?: string } {
  const typed = typedFlags(options, [], (message) => new ConfigError(message));
  const result = v.safeParse(Options, typed);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const option = String(issue.path?.[0]?.key ?? '');
  throw new ConfigError(refusedFlag(option, issue.message, typed[option]));
}

/** Reads the text of a config file. @throws ConfigError naming `path` and the setting */
export function readConfigText(text: string, path: string): ConfigFile {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`);
  }
  const result = v.safeParse(ConfigFile, Array.isArray(document) ? null : document);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const setting = v.getDotPath(issue) ?? '';
  if (setting in settings) throw new ConfigError(`${path}: ${setting} ${issue.message}, not ${JSON.stringify(issue.input)}`);
  throw new ConfigError(setting ? `${path}: there is no setting ${JSON.stringify(setting)}; there are: ${Object.keys(settings).join(', ')}` : `${path} must hold a JSON object`);
}

/**
 * The settings of a config file: of `given`, which must exist, or of {@link configPath}, which need not; none for
 * `none`. @throws ConfigError
 */
export async function loadConfigFile(given: unknown): Promise<ConfigFile> {
  if (given === 'none') return {};
  const path = typeof given === 'string' ? given : configPath;
  try {
    return readConfigText(await readFile(path, 'utf8'), path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (typeof given !== 'string' && (code === 'ENOENT' || code === 'EACCES')) return {};
    throw new ConfigError(`--config: cannot read ${path}: ${plainReason(error)}`);
  }
}

/** The host's name, if it can be a node's. @throws ConfigError */
function ownName(): string {
  const name = hostname().toLowerCase();
  if (v.is(nodeName, name)) return name;
  throw new ConfigError(`this host's name, ${JSON.stringify(name)}, cannot be a node's: give it one with --node-name`);
}

function readLabels(text: string): Record<string, string> {
  return Object.fromEntries(text.split(',').filter(Boolean).map((pair) => {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new ConfigError(`--node-labels: ${JSON.stringify(pair)} is not of the form key=value`);
    const [key, value] = [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
    const wrong = qualifiedNameErrors(key)[0] ?? labelValueErrors(value)[0];
    if (wrong !== undefined) throw new ConfigError(`--node-labels: ${JSON.stringify(pair)}: ${wrong}`);
    return [key, value];
  }));
}

/** As the kubelet's flag of that name: only namespaced parameters, which are not the whole host's. @throws ConfigError */
function readSysctls(text: string): string[] {
  return text.split(',').map((name) => name.trim()).filter(Boolean).map((name) => {
    if (/^(kernel\.(shm|msg|sem)|fs\.mqueue\.|net\.)[a-z0-9_.*]*$/.test(name) && !/\*./.test(name)) return name;
    throw new ConfigError(`--allowed-unsafe-sysctls: ${JSON.stringify(name)} is not known to be namespaced`);
  });
}

/** This host's first IPv4 address that is not loopback and no container bridge's; 127.0.0.1 without one. */
function hostAddress(): string {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) => (list ?? []).map((entry) => ({ name, ...entry })));
  return all.find((entry) => entry.family === 'IPv4' && !entry.internal && !/^(docker|br-|veth|cni|flannel)/.test(entry.name))?.address ?? '127.0.0.1';
}
