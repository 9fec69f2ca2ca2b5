import type { Kind } from '../../shared/kind.ts';
import { EvictionSchema } from '../registry/eviction.ts';
import { ScaleSchema } from '../registry/scale.ts';
import { TokenRequestSchema } from '../registry/token-request.ts';
import { noSuchMethod } from './kinds.ts';
import { discoveryAt, type Discovery } from './discovery.ts';
import type { Exchange } from './exchange.ts';
import type { Version } from './health.ts';
import { reviewKinds } from './reviews.ts';
import { OpenApi, type OpenApiAnswer } from './openapi.ts';

/** Discovery and OpenAPI documents as they go over the wire. */
export class Documents {
  readonly openApi: OpenApi;
  readonly #kinds: readonly Kind[];
  readonly #address: string;

  /** `unstored`: kinds that are served without being in the store. */
  constructor(kinds: readonly Kind[], address: string, version: Version, unstored: readonly Kind[] = []) {
    this.#kinds = [...kinds, ...reviewKinds, ...unstored];
    this.#address = address;
    this.openApi = new OpenApi({ kinds: [...kinds, ...unstored], extras: [ScaleSchema, EvictionSchema, TokenRequestSchema], version: version.gitVersion });
  }

  discovery(path: string, accept: string): Discovery | undefined {
    return discoveryAt(this.#kinds, path, accept, this.#address);
  }
}

/** Answers discovery and OpenAPI requests; false for other paths. */
export function answerDocuments(x: Exchange, documents: Documents): boolean {
  const { path } = x;
  if (x.info.resource || !/^\/(?:api|apis|openapi)(?:\/|$)/.test(path)) return false;
  const answer = path.startsWith('/openapi/') ? openApiAt(documents.openApi, path, x.header('accept')) : documents.discovery(path, x.header('accept'));
  if (!answer) return false;
  if (x.method !== 'GET' && x.method !== 'HEAD') throw noSuchMethod();
  send(x, answer);
  return true;
}

function openApiAt(openApi: OpenApi, path: string, accept: string): OpenApiAnswer | undefined {
  if (path === '/openapi/v2') return openApi.v2(accept);
  if (path === '/openapi/v3') return openApi.v3Index();
  return path.startsWith('/openapi/v3/') ? openApi.v3(path.slice('/openapi/v3/'.length)) : undefined;
}

function send(x: Exchange, answer: Discovery | OpenApiAnswer): void {
  const { contentType, body } = answer;
  const etag = 'etag' in answer ? `"${answer.etag}"` : undefined;
  const lifetime = etag && x.query.has('hash') ? 'public, max-age=31536000, immutable' : 'no-cache, private';
  const headers = ['Content-Type', contentType, 'Cache-Control', lifetime, 'Vary', 'Accept', ...(etag ? ['Etag', etag] : [])];
  if (etag && x.header('if-none-match') === etag) {
    x.res.writeHead(304, headers);
    x.res.end();
    return;
  }
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  x.res.writeHead(200, [...headers, 'Content-Length', String(bytes.length)]);
  x.res.end(bytes);
}
