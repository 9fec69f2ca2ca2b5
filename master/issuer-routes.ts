import type { Route } from './api/server.ts';
import { algorithm, type TokenKeys } from './registry/jwt.ts';

export interface IssuerRoutesOptions {
  readonly issuer: string;
  /** `https://host:port` under which the keys are fetched. */
  readonly url: () => string;
  readonly keys: Pick<TokenKeys, 'accepted'>;
}

/** Paths of {@link issuerRoutes}. */
export const issuerPaths = ['/.well-known/openid-configuration', '/openid/v1/jwks'] as const;

/** What lets others check service accounts' tokens: OpenID Connect discovery and the public keys, as the apiserver has them. */
export function issuerRoutes({ issuer, url, keys: known }: IssuerRoutesOptions): Route[] {
  const [discovery, keys] = issuerPaths;
  const document = (): unknown => ({
    issuer, jwks_uri: `${url()}${keys}`, response_types_supported: ['id_token'], subject_types_supported: ['public'], id_token_signing_alg_values_supported: [algorithm],
  });
  const jwks = (): unknown => ({
    keys: known.accepted().map(({ id, publicKey }) => {
      const { kty, n, e } = publicKey.export({ format: 'jwk' });
      return { use: 'sig', kty, kid: id, alg: algorithm, n, e };
    }),
  });
  return [
    { method: 'GET', path: discovery, handle: (x) => send(x.res, 'application/json', document()) },
    { method: 'GET', path: keys, handle: (x) => send(x.res, 'application/jwk-set+json', jwks()) },
  ];
}

function send(res: Parameters<Route['handle']>[0]['res'], type: string, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  res.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'public, max-age=3600', 'Content-Length': bytes.length });
  res.end(bytes);
}
