/** Headers of one connection, which are not passed on. */
const hopByHop: ReadonlySet<string> = new Set(['connection', 'proxy-connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings']);

/** What says who asks is for the API server alone; its answer to an expectation was its own. */
const apiServers = /^(authorization|impersonate-.*|x-remote-.*|x-forwarded-uri|x-forwarded-host|x-forwarded-proto|expect)$/;

const cors = /^access-control-allow-(credentials|headers|methods|origin)$/;

/** One header after the other: name, value, name, value. */
type RawHeaders = readonly string[];

/** The parts of a proxied request that its backend's headers take. */
export interface RequestFacts {
  readonly headers: RawHeaders;
  readonly from: string | undefined;
  /** The request's path as the client sent it. */
  readonly path: string;
  readonly method: string;
  /** Protocol that the connection is to become; `''` for none. */
  readonly upgrade: string;
}

/** A request's headers as the backend gets them. Pure. */
export function backendHeaders({ headers, from, path, method, upgrade }: RequestFacts): string[] {
  const kept = passed(headers, (name) => !apiServers.test(name) && name !== 'x-forwarded-for');
  const before = valueOf(headers, 'x-forwarded-for');
  if (from) kept.push('X-Forwarded-For', before ? `${before}, ${from}` : from);
  kept.push('X-Forwarded-Uri', path);
  if (upgrade) return [...kept, 'Connection', 'Upgrade', 'Upgrade', upgrade];
  // A body's end is said as the client says it.
  if (valueOf(headers, 'transfer-encoding')) kept.push('Transfer-Encoding', 'chunked');
  else if (!valueOf(headers, 'content-length') && !['GET', 'HEAD'].includes(method)) kept.push('Content-Length', '0');
  // It is closed after the answer, but from this side: a backend that closes with a body unread takes its answer with it.
  return [...kept, 'Connection', 'keep-alive'];
}

/** A backend's headers as the client gets them; `prefix` is what the client's path has before the backend's, `host` what it calls the server. Pure. */
export function clientHeaders(headers: RawHeaders, prefix: string, host: string): string[] {
  const kept = passed(headers, (name) => !cors.test(name));
  for (let at = 0; at < kept.length; at += 2) if (kept[at]!.toLowerCase() === 'location') kept[at + 1] = rewriteLocation(kept[at + 1]!, prefix, host);
  return kept;
}

/** As apimachinery's proxy transport: a path of the backend's gets the prefix; another host's URL and a relative one stay. */
export function rewriteLocation(location: string, prefix: string, host: string): string {
  const [, other, path = ''] = /^(?:(?:https?:)?\/\/([^/?#]*))?(.*)$/is.exec(location) ?? [];
  if ((other && other !== host) || (other === undefined && !path.startsWith('/'))) return location;
  const rest = path.startsWith('/') ? path : `/${path}`;
  return rest === prefix || rest.startsWith(`${prefix}/`) ? rest : prefix + rest;
}

function passed(headers: RawHeaders, keep: (name: string) => boolean): string[] {
  const named = new Set((valueOf(headers, 'connection') ?? '').toLowerCase().split(',').map((word) => word.trim()));
  const kept: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at]!.toLowerCase();
    if (!hopByHop.has(name) && !named.has(name) && keep(name)) kept.push(headers[at]!, headers[at + 1]!);
  }
  return kept;
}

function valueOf(headers: RawHeaders, wanted: string): string | undefined {
  const values: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) if (headers[at]!.toLowerCase() === wanted) values.push(headers[at + 1]!);
  return values.length > 0 ? values.join(', ') : undefined;
}
