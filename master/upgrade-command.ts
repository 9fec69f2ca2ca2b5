import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { StatusError } from '../shared/status.ts';
import type { ApiClient } from './client.ts';
import { ConfigError, parseDuration } from './config.ts';
import { uploadPath, upgradesPath } from './upgrade-routes.ts';
import type { RollLine } from './upgrade-roll.ts';

/** Flags of `wherry upgrade`, as cac gives them. */
export interface UpgradeFlags { readonly binary?: unknown; readonly selector?: unknown; readonly nodes?: unknown; readonly all?: unknown; readonly batch?: unknown; readonly timeout?: unknown }

export interface UpgradeCommand {
  readonly flags: UpgradeFlags;
  readonly client: () => Promise<ApiClient>;
  readonly print: (text: string) => void;
}

/** Uploads a program unless the master has it, rolls it out, and tells how it goes. @returns whether all nodes took it */
export async function upgradeAgents({ flags, client, print }: UpgradeCommand): Promise<boolean> {
  const { path, request } = await readFlags(flags);
  const api = await client();
  const sha256 = await digestOf(path);
  if (!await isKnown(api, sha256)) await api.upload(`${uploadPath}?sha256=${sha256}`, createReadStream(path), (await stat(path)).size);
  print(`program ${sha256.slice(0, 12)} is on the master`);
  let ok: boolean | undefined;
  await api.lines(upgradesPath, { sha256, ...request }, (line) => {
    const told = line as unknown as RollLine;
    if (told.type === 'summary') ok = told.ok;
    print(textOf(told));
  });
  if (ok === undefined) throw new ConfigError('the master ended the roll-out; run the same command again to go on: nodes that have it are passed over');
  return ok;
}

/** Checks the flags. @throws ConfigError */
async function readFlags(flags: UpgradeFlags): Promise<{ path: string; request: Record<string, unknown> }> {
  const { binary, selector, nodes, all, batch = '1', timeout = '120s' } = flags;
  if (typeof binary !== 'string' || binary === '') throw new ConfigError('--binary is needed: the new agent program, such as dist/package/wherry-agent-linux-amd64');
  if (!await stat(binary).then((found) => found.isFile(), () => false)) throw new ConfigError(`--binary: there is no file ${binary}`);
  if ([selector, nodes, all].filter((given) => given !== undefined).length !== 1) throw new ConfigError('say which nodes with one of --nodes NAME,NAME, --selector LABELS, or --all');
  if (!/^[1-9]\d{0,6}$/.test(String(batch))) throw new ConfigError(`--batch: must be a number of nodes, not ${JSON.stringify(batch)}`);
  const limitMs = parseDuration(String(timeout));
  if (limitMs === undefined) throw new ConfigError(`--timeout: ${JSON.stringify(timeout)} is no duration such as 120s`);
  const names = nodes === undefined ? {} : { nodes: String(nodes).split(',').map((name) => name.trim()).filter(Boolean) };
  return { path: binary, request: { ...names, ...(selector === undefined ? {} : { selector: String(selector) }), batch: Number(batch), limitMs } };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest('hex');
}

async function isKnown(api: ApiClient, sha256: string): Promise<boolean> {
  try {
    await api.get(`${uploadPath}?sha256=${sha256}`);
    return true;
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) return false;
    throw error;
  }
}

/** One line for a person. */
export function textOf(line: RollLine): string {
  if (line.type === 'summary') {
    const versions = Object.entries(line.versions).map(([node, version]) => `${node.padEnd(24)}${version || '<not connected>'}`);
    return [line.ok ? 'all nodes upgraded' : 'stopped: not all nodes were upgraded', 'NODE                    AGENT', ...versions].join('\n');
  }
  const { node, phase, version, detail, bytes, of } = line;
  const why = detail ? `: ${detail}` : '';
  switch (phase) {
    case 'asked': return `${node}: asked`;
    case 'fetching': return `${node}: fetching ${Math.floor(100 * bytes / of)} %${why}`;
    case 'checking': return `${node}: checking what came`;
    case 'trying': return `${node}: trying ${version}`;
    case 'done': return `${node}: runs ${version}${detail ? ` (${detail})` : ''}`;
    case 'failed': return version ? `${node}: FAILED, ${version} was rolled back${why}` : `${node}: FAILED${why}`;
    case 'skipped': return `${node}: not begun`;
  }
}
