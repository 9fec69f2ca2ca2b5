/** What agents offer as protocol (ALPN) in the first, plain message of TLS, so that the master can tell them from other clients. */
export const agentProtocol = 'wherry';

/** Path of the authority's certificate (PEM), for anybody. */
export const caPath = '/agent/v1/ca';
/** Path that exchanges a join token for a node's certificate. */
export const enrolPath = '/agent/v1/enrol';

/** Body of `POST /agent/v1/enrol`. */
export interface EnrolRequest {
  /** `ID.SECRET`. */
  readonly token: string;
  readonly nodeName: string;
  /** SPKI PEM of a P-256 key. */
  readonly publicKey: string;
  /** ECDSA-SHA256 (DER, base64) over {@link proofText} by that key. */
  readonly proof: string;
}

/** Its answer; both PEM. */
export interface EnrolAnswer {
  readonly certificate: string;
  readonly ca: string;
}

/** What an agent signs to show that it has the key, for this token and name. */
export const proofText = (token: string, nodeName: string): string => `${token}\n${nodeName}`;

/** Path where a node with a good certificate learns that it is one; its first use makes a new certificate the node's only one. */
export const identityPath = '/agent/v1/identity';

/** What an agent signs with its new key when it asks for a renewal. */
export const renewalText = (nodeName: string): string => `renew\n${nodeName}`;

/** A join token as users pass it around: `wherry1.ID.SECRET.HASH`, HASH being SHA-256 over the authority's SPKI, base64url. */
export function parseJoinToken(text: string): { readonly token: string; readonly authorityHash: string } | undefined {
  const match = /^wherry1\.([a-z0-9]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/.exec(text.trim());
  return match ? { token: `${match[1]}.${match[2]}`, authorityHash: match[3]! } : undefined;
}
