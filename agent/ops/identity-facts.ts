import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { readIdentity } from '../identity.ts';

export interface IdentityFacts {
  readonly node: string;
  /** Where it enrolled, `https://host:port`; several with commas. */
  readonly server: string;
  /** RFC 3339. */
  readonly notAfter: string;
  /** Public part of the join token that it enrolled with last. */
  readonly tokenId: string | undefined;
}

/** What may be told of a node's identity. Undefined when it is not enrolled. @throws Error with one line for the user */
export async function readIdentityFacts(dataDir: string): Promise<IdentityFacts | undefined> {
  const identity = await readIdentity(join(dataDir, 'identity'));
  return identity && { node: identity.nodeName, server: identity.server, notAfter: new Date(new X509Certificate(identity.certificate).validTo).toISOString(), tokenId: identity.tokenId };
}
