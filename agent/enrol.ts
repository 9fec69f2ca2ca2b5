import { createHash, createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { sleep, type Clock } from '../shared/clock.ts';
import { caPath, enrolPath, parseJoinToken, proofText, type EnrolRequest } from '../shared/enrolment.ts';
import type { Log } from '../shared/log.ts';
import { readText, writeDurably } from './session/files.ts';
import { masterName } from './session/connect.ts';
import { fetchFrom, type Answer } from './session/fetch.ts';

export interface EnrolOptions {
  /** Where the identity is kept, readable by its owner only. */
  readonly directory: string;
  /** `https://host:port` of the master; undefined: only an identity that exists will do. */
  readonly server: string | undefined;
  /** Join token; not needed once enrolled. */
  readonly token: string | undefined;
  readonly nodeName: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
}

const Identity = v.object({ nodeName: v.string(), server: v.string(), key: v.string(), certificate: v.string(), ca: v.string() });
/** What a node proves itself with; key, certificate and authority are PEM. `server` is where it enrolled. */
export type Identity = v.InferOutput<typeof Identity>;

const Answer = v.object({ certificate: v.string(), ca: v.string() });

/** Enrolment cannot succeed as it was asked for; the message is one line for the user. */
export class EnrolError extends Error {}

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
  const path = join(directory, 'identity.json');
  const known = await readIdentity(path);
  if (known && known.nodeName !== nodeName) throw new EnrolError(`this agent is enrolled as node "${known.nodeName}"; remove ${path} to enrol it as "${nodeName}"`);
  if (known) return known;
  if (!server) throw new EnrolError('this node is not enrolled yet: say where the master is, and with which token to join');
  if (!token) throw new EnrolError('this node is not enrolled yet: a join token is needed (make one with `wherry token create` on the master)');
  const parsed = parseJoinToken(token);
  if (!parsed) throw new EnrolError('the join token is not of the form wherry1.ID.SECRET.HASH');
  const key = await privateKey(join(directory, 'node.key'));
  const answer = await persistently(options, signal, () => exchange({ ...parsed, server, nodeName, key }, signal));
  if (!answer) return undefined;
  const identity: Identity = { nodeName, server, key, ...answer };
  await writeDurably(path, JSON.stringify(identity), 0o600);
  options.log.info('enrolled', { node: nodeName, master: server });
  return identity;
}

async function readIdentity(path: string): Promise<Identity | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return v.parse(Identity, JSON.parse(text));
  } catch (error) {
    throw new EnrolError(`${path} is unreadable (${(error as Error).message}); restore it, or remove it and enrol again`);
  }
}

/** The key is kept before it is certified, so that an answer that got lost can be asked for again. */
async function privateKey(path: string): Promise<string> {
  const known = await readText(path);
  if (known?.includes('PRIVATE KEY')) return known;
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
  await writeDurably(path, key, 0o600);
  return key;
}

async function persistently<T>({ clock, random, log }: EnrolOptions, signal: AbortSignal, attempt: () => Promise<T>): Promise<T | undefined> {
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof EnrolError) throw error;
      if (signal.aborted) break;
      const waitMs = random() * Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(failures + 1, 20));
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
  if (hashOf(ca) !== authorityHash) throw new EnrolError(`the master at ${server} has another authority than the join token names: wrong address, or not your master`);
  const request: EnrolRequest = {
    token, nodeName, publicKey: createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string,
    proof: sign('sha256', Buffer.from(proofText(token, nodeName)), key).toString('base64'),
  };
  const answer = await fetchFrom({ url: new URL(enrolPath, server), trust: { ca, name: masterName }, body: JSON.stringify(request), signal });
  if (answer.code !== 200) throw refusal(answer, nodeName);
  const parsed = v.parse(Answer, JSON.parse(answer.body));
  if (hashOf(parsed.ca) !== authorityHash) throw new EnrolError(`the master at ${server} answered with another authority than the join token names`);
  return parsed;
}

/** SHA-256 over a certificate's SPKI, base64url; `''` for what is no certificate. */
function hashOf(certificate: string): string {
  try {
    return createHash('sha256').update(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })).digest('base64url');
  } catch {
    return '';
  }
}

/** What a refusal means to the user. Those of a master that is unwell are for another try. */
function refusal({ code, body }: Answer, nodeName: string): Error {
  const message = messageOf(body);
  if (code === 409) return new EnrolError(message || `node "${nodeName}" is already enrolled with another key`);
  if (code === 401) return new EnrolError(`the master does not take the join token: ${message || 'it is wrong or has expired'}`);
  if (code >= 400 && code < 500 && code !== 429) return new EnrolError(`the master refused to enrol node "${nodeName}": ${message || `HTTP ${code}`}`);
  return new Error(`the master answered HTTP ${code}${message ? `: ${message}` : ''}`);
}

function messageOf(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
