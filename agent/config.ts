import { networkInterfaces, hostname } from 'node:os';
import { isIPv4 } from 'node:net';
import { resolve } from 'node:path';
import * as v from 'valibot';

const nodeName = v.pipe(v.string(), v.regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'must consist of lower case letters, digits, "-" and "."'), v.maxLength(253, 'must be at most 253 characters'));

/** What `wherry agent` can be told, by flag name. */
const Options = v.object({
  master: v.exactOptional(v.pipe(v.string(), v.regex(/^(wss|https):\/\/[^/]+\/?$/, 'must be an address such as wss://master.example:6443'))),
  token: v.exactOptional(v.string()),
  nodeName: v.exactOptional(nodeName),
  nodeIp: v.exactOptional(v.pipe(v.string(), v.check((text) => isIPv4(text), 'must be an IPv4 address'))),
  nodeLabels: v.exactOptional(v.string()),
  dataDir: v.optional(v.string(), '/var/lib/wherry/agent'),
  dockerHost: v.optional(v.pipe(v.string(), v.regex(/^(unix:\/\/\/|\/)/, 'must be a socket such as unix:///var/run/docker.sock')), process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'),
  logLevel: v.optional(v.picklist(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error'), 'info'),
});

export interface AgentConfig {
  /** `https://host:port`; undefined when only what is already known on disk is to be run. */
  readonly master: string | undefined;
  /** Join token; needed once. */
  readonly token: string | undefined;
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly dataDir: string;
  /** `unix:///…`: the engine's socket. */
  readonly dockerHost: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** A flag says something that cannot be; the message is one line for the user. */
export class ConfigError extends Error {}

/** Checks command-line options (camel case, as cac gives them). @throws ConfigError */
export function readAgentConfig(options: unknown): AgentConfig {
  const result = v.safeParse(Options, options);
  if (!result.success) {
    const issue = result.issues[0];
    const flag = String(v.getDotPath(issue) ?? '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new ConfigError(`--${flag}: ${issue.message}, not ${JSON.stringify(issue.input)}`);
  }
  const given = result.output;
  return {
    master: given.master?.replace(/^wss:/, 'https:').replace(/\/$/, ''), token: given.token,
    nodeName: given.nodeName ?? hostname().toLowerCase(), nodeIP: given.nodeIp ?? hostAddress(),
    nodeLabels: readLabels(given.nodeLabels ?? ''), dataDir: resolve(given.dataDir),
    dockerHost: given.dockerHost.startsWith('/') ? `unix://${given.dockerHost}` : given.dockerHost, logLevel: given.logLevel,
  };
}

function readLabels(text: string): Record<string, string> {
  return Object.fromEntries(text.split(',').filter(Boolean).map((pair) => {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new ConfigError(`--node-labels: ${JSON.stringify(pair)} is not of the form key=value`);
    return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
  }));
}

/** This host's first IPv4 address that is not loopback and no container bridge's; 127.0.0.1 without one. */
function hostAddress(): string {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) => (list ?? []).map((entry) => ({ name, ...entry })));
  return all.find((entry) => entry.family === 'IPv4' && !entry.internal && !/^(docker|br-|veth|cni|flannel)/.test(entry.name))?.address ?? '127.0.0.1';
}
