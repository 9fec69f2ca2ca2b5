import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { sleep, type Clock } from '../shared/clock.ts';
import { caPath, enrolPath, parseJoinToken, proofText, type EnrolRequest } from '../shared/enrolment.ts';
import type { Log } from '../shared/log.ts';
import { EnrolError, keyHash, readIdentity, writeIdentity, type Identity } from './identity.ts';
import { readText, writeDurably } from './session/files.ts';
import { masterName } from './session/connect.ts';
import { fetchFrom, messageOf, type Answer } from './session/fetch.ts';

export { EnrolError, type Identity } from './identity.ts';

export interface EnrolOptions {
  /** Where the identity is kept, readable by its owner only. */
  readonly directory: string;
  /** `https://host:port` of the master, several with commas; undefined: only an identity that exists will do. */
  readonly server: string | undefined;
  /** Join token; not needed once enrolled. */
  readonly token: string | undefined;
  readonly nodeName: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Told of a failure that trying again may mend. */
  readonly onRetry?: (failure: { readonly why: string; readonly againInMs: number }) => void;
}

const Answer = v.object({ certificate: v.string(), ca: v.string() });

const backoff = { baseMs: 1000, maxMs: 30_000 };

/**
 * The identity of this node: the one it has, or a new one from the master in exchange for a join token. Tries again
 * while the master cannot be reached.
 * @returns undefined when `signal` aborted before there was one
 * @throws EnrolError when trying again is of no use
 */
export async function enrol(options: EnrolOptions, signal: AbortSignal): Promise<Identity | undefined> {
  const { directory, nodeName, server, token } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const known = await readIdentity(directory);
  if (known && known.nodeName !== nodeName) throw new EnrolError(`this agent is enrolled as node "${known.nodeName}"; remove ${directory} to enrol it as "${nodeName}"`);
  if (known) return known;
  if (!server) throw new EnrolError('this node is not enrolled yet: say where the master is, and with which token to join');
  if (!token) throw new EnrolError('this node is not enrolled yet: a join token is needed (make one with `wherry token create` on the master)');
  if (!parseJoinToken(token)) throw new EnrolError('the join token is not of the form wherry1.ID.SECRET.HASH');
  const servers = server.split(',');
  let turn = 0;
  return persistently(options, signal, () => enrolOnce({ ...options, server, token, at: servers[turn++ % servers.length]! }, signal));
}

/**
 * Exchanges a join token for a new identity, and keeps it. One attempt, at the master `at`.
 * @throws EnrolError when trying again is of no use; Error otherwise
 */
export async function enrolOnce(options: Pick<EnrolOptions, 'directory' | 'nodeName' | 'log'> & { server: string; at: string; token: string }, signal: AbortSignal): Promise<Identity> {
  const { directory, nodeName, server, at, token } = options;
  const parsed = parseJoinToken(token);
  if (!parsed) throw new EnrolError('the join token is not of the form wherry1.ID.SECRET.HASH');
  const keyFile = join(directory, 'node.key');
  const key = await privateKey(keyFile);
  const answer = await exchange({ ...parsed, server: at, nodeName, key }, signal);
  const identity: Identity = { nodeName, server, key, ...answer, tokenId: tokenId(token) };
  await writeIdentity(directory, identity);
  await rm(keyFile, { force: true });
  options.log.info('enrolled', { node: nodeName, master: at });
  return identity;
}

/** Public part of a join token. */
export const tokenId = (token: string): string => parseJoinToken(token)?.token.split('.')[0] ?? '';

/** The key is kept before it is certified, so that an answer that got lost can be asked for again. */
async function privateKey(path: string): Promise<string> {
  const known = await readText(path);
  if (known?.includes('END PRIVATE KEY')) return known;
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
  await writeDurably(path, key, 0o600);
  return key;
}

async function persistently<T>({ clock, random, log, onRetry }: EnrolOptions, signal: AbortSignal, attempt: () => Promise<T>): Promise<T | undefined> {
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof EnrolError) throw error;
      if (signal.aborted) break;
      const waitMs = random() * Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(failures + 1, 20));
      onRetry?.({ why: (error as Error).message, againInMs: waitMs });
      log.warn('cannot enrol yet', { why: (error as Error).message, againInMs: Math.round(waitMs) });
      await sleep(clock, waitMs, signal);
    }
  }
  return undefined;
}

async function exchange({ server, token, authorityHash, nodeName, key }: { server: string; token: string; authorityHash: string; nodeName: string; key: string }, signal: AbortSignal): Promise<v.InferOutput<typeof Answer>> {
  // Nothing is known of the master yet but the hash in the token: what it says of itself is checked against that.
  const found = await fetchFrom({ url: new URL(caPath, server), trust: 'nobody', signal });
  if (found.code !== 200) throw refusal(found, nodeName);
  const ca = found.body;
  if (keyHash(ca) !== authorityHash) throw new EnrolError(`the master at ${server} has another authority than the join token names: wrong address, or not your master`);
  const request: EnrolRequest = {
    token, nodeName, publicKey: createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string,
    proof: sign('sha256', Buffer.from(proofText(token, nodeName)), key).toString('base64'),
  };
  const answer = await fetchFrom({ url: new URL(enrolPath, server), trust: { ca, name: masterName }, body: JSON.stringify(request), signal });
  if (answer.code !== 200) throw refusal(answer, nodeName);
  const parsed = v.parse(Answer, JSON.parse(answer.body));
  if (keyHash(parsed.ca) !== authorityHash) throw new EnrolError(`the master at ${server} answered with another authority than the join token names`);
  return parsed;
}

/** What a refusal means to the user. Those of a master that is unwell are for another try. */
function refusal({ code, body }: Answer, nodeName: string): Error {
  const message = messageOf(body);
  if (code === 409) return new EnrolError(message || `node "${nodeName}" is already enrolled with another key`);
  if (code === 401) return new EnrolError(`the master does not take the join token: ${message || 'it is wrong or has expired'}`);
  if (code >= 400 && code < 500 && code !== 429) return new EnrolError(`the master refused to enrol node "${nodeName}": ${message || `HTTP ${code}`}`);
  return new Error(`the master answered HTTP ${code}${message ? `: ${message}` : ''}`);
}
