import { createPrivateKey, generateKeyPair } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeDurably } from './pki.ts';
import { tokenKey, type TokenKey } from './registry/jwt.ts';

const fileName = 'sa.key';

/**
 * The key that signs service accounts' tokens, `sa.key` beside the master's other keys (PKCS#8 PEM, mode 0600): it is in
 * every backup, and tokens outlive a restart and a restore. Made when it is missing.
 * @throws Error that names the file when it cannot be read or is no RSA key
 */
export async function openAccountKey(directory: string): Promise<TokenKey> {
  const path = join(directory, fileName);
  let pem: string;
  try {
    pem = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new Error(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
    const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
    await writeDurably(path, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, 0o600);
    return tokenKey(privateKey);
  }
  return parse(pem, path);
}

function parse(pem: string, path: string): TokenKey {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'rsa') return tokenKey(key);
  } catch { /* told below */ }
  throw new Error(`${path} is no RSA private key in PEM; restore it from a backup, or remove it to make a new one, which voids all service account tokens`);
}
