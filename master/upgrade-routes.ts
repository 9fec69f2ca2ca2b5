import * as v from 'valibot';
import { badRequest, notFound, StatusError } from '../shared/status.ts';
import { nodes, type Node } from '../shared/kinds/node.ts';
import { parseSelector } from '../shared/selector.ts';
import { binaryPath } from '../shared/upgrade.ts';
import { sendJson } from './api/answer.ts';
import { readBody } from './api/body.ts';
import type { Exchange } from './api/exchange.ts';
import type { Route } from './api/server.ts';
import type { Registry } from './registry/registry.ts';
import { BinaryError, type Binaries } from './upgrade-binaries.ts';
import type { RollLine, RollRequest, Upgrades } from './upgrade-roll.ts';

/** `POST` rolls out, and answers with one JSON line per {@link RollLine}. */
export const upgradesPath = '/wherry/v1/upgrades';
/** `PUT …?sha256=HEX` takes a program over, `GET …?sha256=HEX` says whether it is there. */
export const uploadPath = '/wherry/v1/upgrades/binary';

export interface UpgradeRoutesOptions {
  readonly registry: Registry;
  readonly binaries: Binaries;
  readonly upgrades: Upgrades;
}

const Body = v.object({
  sha256: v.string(),
  /** Node names; without them, those that `selector` matches. */
  nodes: v.exactOptional(v.array(v.string())),
  selector: v.exactOptional(v.string(), ''),
  batch: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1)), 1),
  limitMs: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1000), v.maxValue(3_600_000)), 120_000),
});

/** The administrators' way to upgrade agents, and the agents' way to their programs. */
export const upgradeRoutes = (options: UpgradeRoutesOptions): Route[] => [
  { method: 'GET', path: uploadPath, handle: (x) => answerKnown(x, options.binaries) },
  { method: 'PUT', path: uploadPath, handle: (x) => takeBinary(x, options.binaries) },
  { method: 'POST', path: upgradesPath, handle: (x) => roll(x, options) },
  { method: 'GET', path: binaryPath, handle: (x) => giveBinary(x, options.binaries) },
];

async function answerKnown(x: Exchange, binaries: Binaries): Promise<void> {
  const found = await binaries.find(x.query.get('sha256') ?? '');
  if (!found) throw new StatusError(404, 'NotFound', 'no such program was uploaded');
  sendJson(x, 200, found);
}

async function takeBinary(x: Exchange, binaries: Binaries): Promise<void> {
  try {
    sendJson(x, 201, await binaries.take(x.query.get('sha256') ?? '', x.req));
  } catch (error) {
    if (error instanceof BinaryError) throw badRequest(error.message);
    throw error;
  }
}

/** For nodes only: a program is no secret, but its bytes are many. */
async function giveBinary(x: Exchange, binaries: Binaries): Promise<void> {
  if (!x.user.groups.includes('system:nodes')) throw new StatusError(403, 'Forbidden', 'this takes the certificate of a node');
  const found = await binaries.find(x.query.get('sha256') ?? '');
  if (!found) throw new StatusError(404, 'NotFound', 'this master has no such program (any more)');
  const from = Number(/^bytes=(\d+)-$/.exec(x.header('range'))?.[1] ?? 0);
  if (from >= found.bytes) throw new StatusError(416, 'BadRequest', `the program has ${found.bytes} bytes`);
  x.res.writeHead(206, { 'Content-Type': 'application/octet-stream', 'Content-Length': found.bytes - from, 'Content-Range': `bytes ${from}-${found.bytes - 1}/${found.bytes}` });
  const file = binaries.read(found.sha256, from);
  file.on('error', () => x.res.destroy());
  x.res.on('close', () => file.destroy());
  file.pipe(x.res);
}

async function roll(x: Exchange, options: UpgradeRoutesOptions): Promise<void> {
  const request = await readRequest(x, options);
  const gone = new AbortController();
  x.res.on('close', () => gone.abort());
  x.res.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  x.res.flushHeaders();
  await options.upgrades.roll(request, (line: RollLine) => x.res.write(`${JSON.stringify(line)}\n`), gone.signal);
  x.res.end();
}

/** @throws StatusError 400, 404 */
async function readRequest(x: Exchange, { registry, binaries }: UpgradeRoutesOptions): Promise<RollRequest> {
  const parsed = v.safeParse(Body, parseJson(await readBody(x.req)));
  if (!parsed.success) throw badRequest(`${v.getDotPath(parsed.issues[0]) ?? 'body'}: ${parsed.issues[0].message}`);
  const { sha256, batch, limitMs, nodes: names, selector } = parsed.output;
  const binary = await binaries.find(sha256);
  if (!binary) throw new StatusError(404, 'NotFound', 'no such program was uploaded');
  const chosen = names ? names.map((name) => required(registry, name)) : matching(registry, selector);
  if (chosen.length === 0) throw badRequest('no node matches');
  return { binary, nodes: [...new Set(chosen)], batch, limitMs };
}

function required(registry: Registry, name: string): string {
  if (!registry.find(nodes, '', name)) throw notFound(nodes, name);
  return name;
}

function matching(registry: Registry, text: string): string[] {
  const selector = parseSelector(text);
  return registry.all<Node>(nodes).filter(({ metadata }) => selector.matches(metadata.labels)).map(({ metadata }) => metadata.name!);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw badRequest(`json parse error: ${(error as Error).message}`);
  }
}
