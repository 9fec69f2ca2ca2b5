import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as v from 'valibot';
import type { Clock } from '../shared/clock.ts';
import { plainReason } from '../shared/plain-reason.ts';
import { fromTime, toTime } from '../shared/time.ts';
import { PkiError, writeDurably } from './pki.ts';
import { checkKey, tokenKey, type CheckKey, type TokenKey, type TokenKeys } from './registry/jwt.ts';

const keyName = 'sa.key';
const previousName = 'sa-previous.json';

/** Public halves of keys that signed before, SPKI PEM, the latest first; each good until a time. */
const Previous = v.array(v.object({ publicKey: v.string(), until: v.pipe(v.string(), v.isoTimestamp()) }));

interface PreviousKey extends CheckKey { readonly untilMs: number }

/** For how long a key is good after it last signed, unless somebody says otherwise: the tokens of pods end after a year. */
export const defaultKeepMs = 366 * 86_400_000;

/** What a rotation came to. */
export interface Rotation {
  /** `kid` of the key that signs from now on. */
  readonly id: string;
  /** Keys whose tokens are still good, the latest first, and until when. */
  readonly previous: readonly { readonly id: string; readonly until: string }[];
}

/**
 * The keys of service accounts' tokens, beside the master's other keys and in every backup, so that tokens outlive a restart
 * and a restore: `sa.key` signs (PKCS#8 PEM, mode 0600; made when it is missing), and `sa-previous.json` has the public
 * halves of those that did before.
 */
export class AccountKeys implements TokenKeys {
  readonly #directory: string;
  readonly #clock: Pick<Clock, 'now'>;
  #signing: TokenKey;
  #previous: readonly PreviousKey[];
  #rotating: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, clock: Pick<Clock, 'now'>, signing: TokenKey, previous: readonly PreviousKey[]) {
    this.#directory = directory;
    this.#clock = clock;
    this.#signing = signing;
    this.#previous = previous;
  }

  /** @throws PkiError that names the file when it cannot be read or is not what it should be */
  static async open(directory: string, clock: Pick<Clock, 'now'>): Promise<AccountKeys> {
    return new AccountKeys(directory, clock, await openKey(join(directory, keyName)), await readPrevious(join(directory, previousName)));
  }

  get signing(): TokenKey {
    return this.#signing;
  }

  accepted(): readonly CheckKey[] {
    return [this.#signing, ...this.#inTime()];
  }

  /** Signs with a new key from now on. Tokens of the last one are good for `keepMs` more; 0 ends them at once. Should the master die amid it, nothing has happened. */
  rotate(keepMs: number): Promise<Rotation> {
    const rotation = this.#rotating.then(() => this.#rotate(keepMs));
    this.#rotating = rotation.catch(() => undefined);
    return rotation;
  }

  async #rotate(keepMs: number): Promise<Rotation> {
    const next = await newKey();
    const last = { id: this.#signing.id, publicKey: this.#signing.publicKey, untilMs: this.#clock.now() + keepMs };
    const previous = [...(keepMs > 0 ? [last] : []), ...this.#inTime()];
    const text = previous.map(({ publicKey, untilMs }) => ({ publicKey: publicKey.export({ type: 'spki', format: 'pem' }), until: toTime(untilMs) }));
    await writeDurably(join(this.#directory, previousName), `${JSON.stringify(text, undefined, 2)}\n`, 0o600);
    await writeDurably(join(this.#directory, keyName), pemOf(next.privateKey), 0o600);
    this.#signing = next;
    this.#previous = previous;
    return { id: next.id, previous: previous.map(({ id, untilMs }) => ({ id, until: toTime(untilMs) })) };
  }

  #inTime(): PreviousKey[] {
    // The one that signs is among them after a death between the two files.
    return this.#previous.filter(({ id, untilMs }) => id !== this.#signing.id && untilMs > this.#clock.now());
  }
}

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;

async function newKey(): Promise<TokenKey> {
  return tokenKey((await promisify(generateKeyPair)('rsa', { modulusLength: 2048 })).privateKey);
}

/** Undefined when there is none. */
async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new PkiError(`cannot read ${path}: ${plainReason(error)}`, { cause: error });
  }
}

async function openKey(path: string): Promise<TokenKey> {
  const pem = await read(path);
  if (pem !== undefined) return parseKey(pem, path);
  const made = await newKey();
  await writeDurably(path, pemOf(made.privateKey), 0o600);
  return made;
}

function parseKey(pem: string, path: string): TokenKey {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'rsa') return tokenKey(key);
  } catch { /* told below */ }
  throw new PkiError(`${path} is no RSA private key in PEM; restore it from a backup, or remove it to make a new one, which voids all service account tokens`);
}

async function readPrevious(path: string): Promise<PreviousKey[]> {
  const text = await read(path);
  if (text === undefined) return [];
  try {
    return v.parse(Previous, JSON.parse(text)).map(({ publicKey, until }) => ({ ...checkKey(createPublicKey(publicKey)), untilMs: fromTime(until) }));
  } catch (error) {
    throw new PkiError(`${path} is no list of public keys; restore it from a backup, or remove it, which voids the tokens of service accounts' earlier keys`, { cause: error });
  }
}
