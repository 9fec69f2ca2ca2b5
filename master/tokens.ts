import { randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TokenAuthenticator } from './api/authenticate.ts';
import type { AccountTokens } from './registry/account-tokens.ts';
import type { User } from './registry/types.ts';
import { writeDurably } from './pki.ts';

/**
 * Static bearer tokens from `tokens.csv` in the data directory, in the format of the apiserver's `--token-auth-file`:
 * `token,user,uid,"group1,group2"`, one a line. The file is read again when it changes.
 */
export class StaticTokens {
  readonly #path: string;
  #users: readonly { readonly token: Buffer; readonly user: User }[] = [];
  #modified = -1;

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads the file, and makes one with a random administrator's token where there is none. */
  static async open(directory: string): Promise<StaticTokens> {
    const path = join(directory, 'tokens.csv');
    const tokens = new StaticTokens(path);
    if (!await stat(path).catch(() => undefined)) {
      await writeDurably(path, `${randomBytes(24).toString('base64url')},admin,admin,"system:masters"\n`, 0o600);
    }
    await tokens.#refresh();
    return tokens;
  }

  async authenticate(token: string): Promise<User | undefined> {
    await this.#refresh();
    const given = Buffer.from(token);
    return this.#users.find((entry) => entry.token.length === given.length && timingSafeEqual(entry.token, given))?.user;
  }

  async #refresh(): Promise<void> {
    const modified = (await stat(this.#path).catch(() => undefined))?.mtimeMs ?? 0;
    if (modified === this.#modified) return;
    this.#modified = modified;
    this.#users = modified === 0 ? [] : (await readFile(this.#path, 'utf8')).split('\n').flatMap((line) => parseLine(line) ?? []);
  }
}

function parseLine(line: string): { token: Buffer; user: User } | undefined {
  if (!line.trim() || line.startsWith('#')) return undefined;
  const cells = [...line.matchAll(/(?:^|,)(?:"([^"]*)"|([^,]*))/g)].map(([, quoted, plain]) => (quoted ?? plain ?? '').trim());
  const [token, name, uid, groups = ''] = cells;
  if (!token || !name) return undefined;
  return { token: Buffer.from(token), user: { name, ...(uid ? { uid } : {}), groups: [...groups.split(',').filter(Boolean), 'system:authenticated'] } };
}

/** Bearer tokens of either kind: service accounts' first, as they say themselves that they are. */
export const bearerTokens = (accounts: AccountTokens, known: StaticTokens): TokenAuthenticator => ({
  authenticate: (token) => accounts.authenticate(token) ?? known.authenticate(token),
  review: (token, audiences) => accounts.review(token, audiences),
});
