import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { plainReason } from '../shared/plain-reason.ts';
import { ConfigError } from './config.ts';
import { readText } from './session/files.ts';

/** Where `install` leaves the join token for the first start; readable by its owner only. */
export const joinTokenPath = (dataDir: string): string => join(dataDir, 'join-token');

/** The join token left by `install`, if there is one. */
export async function readJoinToken(dataDir: string): Promise<string | undefined> {
  return (await readText(joinTokenPath(dataDir)))?.trim() || undefined;
}

/** Forgets the join token: a node that is enrolled needs none any more. */
export async function removeJoinToken(dataDir: string): Promise<void> {
  await unlink(joinTokenPath(dataDir)).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
}

/** Environment variable that holds a join token. */
export const tokenVariable = 'WHERRY_TOKEN';

/**
 * Flags as they were given, with `token` from wherever the token is: `--token`, else the file that `--token-file` names,
 * else {@link tokenVariable}. Only the first of them can be seen by every user of the host, in its list of processes.
 * @throws ConfigError
 */
export async function withToken<T extends Readonly<Record<string, unknown>>>(flags: T, env: NodeJS.ProcessEnv): Promise<T & { readonly token?: unknown }> {
  const { token, tokenFile } = flags;
  if (token !== undefined && tokenFile !== undefined) throw new ConfigError('--token and --token-file cannot both be given');
  if (token !== undefined) return flags;
  const found = tokenFile === undefined ? env[tokenVariable]?.trim() : await readTokenFile(tokenFile);
  return found ? { ...flags, token: found } : flags;
}

async function readTokenFile(path: unknown): Promise<string> {
  if (typeof path !== 'string' || path === '') throw new ConfigError(`--token-file: must be a file, not ${JSON.stringify(path)}`);
  const text = await readFile(path, 'utf8').catch((error: Error) => { throw new ConfigError(`--token-file: cannot read ${path}: ${plainReason(error)}`); });
  if (text.trim() === '') throw new ConfigError(`--token-file: ${path} is empty`);
  return text.trim();
}
