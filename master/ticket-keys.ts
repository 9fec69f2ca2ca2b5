import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from './pki.ts';

const keyBytes = 48;
/** A key older than this is replaced at the next start. */
const maxAgeMs = 30 * 24 * 3600_000;

/**
 * What the master seals TLS sessions with that it lets clients resume. Kept with the other keys, so that a fleet that
 * comes back after a restart need not make full handshakes. A resumed session only says again which certificate the
 * client has; whether it is still good is looked up for every connection.
 */
export async function openTicketKeys(directory: string, nowMs: number): Promise<Buffer> {
  const path = join(directory, 'tickets.key');
  try {
    const [keys, { mtimeMs }] = [Buffer.from(await readFile(path, 'utf8'), 'base64'), await stat(path)];
    if (keys.length === keyBytes && nowMs - mtimeMs < maxAgeMs) return keys;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new Error(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  const keys = randomBytes(keyBytes);
  await writeDurably(path, `${keys.toString('base64')}\n`, 0o600);
  return keys;
}
