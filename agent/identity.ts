import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import * as v from 'valibot';
import { readText, writeDurably } from './session/files.ts';

const Pair = v.object({ key: v.string(), certificate: v.string() });
/** A private key and the certificate for it, PEM. */
export type Pair = v.InferOutput<typeof Pair>;

const Identity = v.object({
  ...Pair.entries,
  nodeName: v.string(), server: v.string(), ca: v.string(),
  /** The pair before, while the master is not known to have seen the new one. */
  previous: v.exactOptional(Pair),
  /** Public part of the join token that the node enrolled with last. */
  tokenId: v.exactOptional(v.string()),
});
/** What a node proves itself with; key, certificate and authority are PEM. `server`: where it enrolled, several with commas. */
export type Identity = v.InferOutput<typeof Identity>;

/** Enrolment cannot succeed as it was asked for; the message is one line for the user. */
export class EnrolError extends Error {}

const names = ['identity.json', 'identity.backup.json'] as const;

/**
 * Reads the identity from its file, or from its copy when the file is damaged.
 * @returns undefined when there is none
 * @throws EnrolError when there was one and neither file can be read
 */
export async function readIdentity(directory: string): Promise<Identity | undefined> {
  const problems: string[] = [];
  for (const name of names) {
    const path = join(directory, name);
    const text = await readText(path);
    if (text === undefined) continue;
    try {
      return usable(v.parse(Identity, JSON.parse(text)));
    } catch (error) {
      problems.push(`${path} is unreadable (${(error as Error).message})`);
    }
  }
  if (problems.length > 0) throw new EnrolError(`${problems.join(', ')}; restore it, or remove it and enrol again`);
  return undefined;
}

/** @throws Error for a certificate that is none, or not for the key */
function usable(identity: Identity): Identity {
  new X509Certificate(identity.ca);
  if (!matches(identity)) throw new Error('its certificate is not for its key');
  return identity;
}

/** Whether a certificate is for a key. @throws Error when one of them is none */
export const matches = ({ certificate, key }: Pair): boolean => new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));

/** Replaces the identity, readable by its owner only; whoever reads at any time finds the old one or the new one. */
export async function writeIdentity(directory: string, identity: Identity): Promise<void> {
  for (const name of names) await writeDurably(join(directory, name), JSON.stringify(identity), 0o600);
}

/** SHA-256 over a certificate's SPKI, base64url; `''` for what is no certificate. */
export function keyHash(certificate: string): string {
  try {
    return createHash('sha256').update(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })).digest('base64url');
  } catch {
    return '';
  }
}
