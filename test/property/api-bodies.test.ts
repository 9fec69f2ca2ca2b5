import { Agent, request } from 'node:http';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { kinds } from '../../shared/kinds/index.ts';
import type { Kind } from '../../shared/kind.ts';
import { pathOf, sampleOf } from '../contract/kinds.ts';
import { openLab, type Lab } from '../master/api/support.ts';
import { seeded } from './random.ts';

const test = suite<{ lab: Lab }>('any body');

test.before(async (context) => { context.lab = await openLab(); });
test.after(({ lab }) => lab.close());

const bodies = 10_000;
const limitMs = 60_000;

type Random = () => number;
const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

const oddStrings = ['', ' ', 'a', 'A_b', '-', '../..', '\u0000', '\ud800', '💥', '__proto__', 'constructor', 'x'.repeat(300), '1e999', '2026-01-02T03:04:05Z', '100m', '-5Gi', '!!binary', 'null'];
const oddNumbers = [0, -0, -1, 1, 1.5, 65536, 2 ** 31, 2 ** 53, -(2 ** 63), 1e300];

function anything(random: Random, depth = 0): unknown {
  const roll = random();
  if (depth > 4 || roll < 0.15) return pick(random, oddStrings);
  if (roll < 0.3) return pick(random, oddNumbers);
  if (roll < 0.45) return pick(random, [null, true, false, [], {}]);
  const size = Math.floor(random() * 4);
  if (roll < 0.7) return Array.from({ length: size }, () => anything(random, depth + 1));
  return Object.fromEntries(Array.from({ length: size }, () => [pick(random, ['metadata', 'spec', 'status', 'name', 'kind', 'apiVersion', ...oddStrings]), anything(random, depth + 1)]));
}

/** Changes one place of a document: drops it, replaces it, or adds beside it. */
function mutate(random: Random, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random() < 0.15) return anything(random);
  const keys = Object.keys(value);
  if (keys.length === 0) return anything(random);
  const key = pick(random, keys);
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  const roll = random();
  if (roll < 0.1) delete copy[key];
  else if (roll < 0.2 && !Array.isArray(value)) copy[pick(random, oddStrings)] = anything(random);
  else copy[key] = mutate(random, copy[key]);
  return copy;
}

function garbage(random: Random, valid: string): Buffer {
  const bytes = Buffer.from(valid);
  const roll = random();
  if (roll < 0.3) return bytes.subarray(0, Math.floor(random() * bytes.length));
  if (roll < 0.5) return Buffer.from(Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256)));
  if (roll < 0.6) return Buffer.concat([Buffer.from('k8s\0'), Buffer.from(Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256)))]);
  if (roll < 0.7) return Buffer.from(pick(random, ['&a [*a]', 'a: &x [1]\nb: *x', '? {a: 1}\n: 2', '- - - -', '!!js/function x', '%YAML 9\n---\n', 'a: b: c', `${'['.repeat(500)}`, `${'{"a":'.repeat(3000)}1`]));
  for (let flips = 1 + Math.floor(random() * 5); flips > 0; flips--) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
  return bytes;
}

const media = ['application/json', 'application/json', 'application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf', 'text/plain', 'application/json; charset=utf-8', '/', ''];
const patches = ['application/json-patch+json', 'application/merge-patch+json', 'application/strategic-merge-patch+json', 'application/apply-patch+yaml'];

interface Attempt { readonly method: string; readonly path: string; readonly type: string; readonly body: Buffer }

function attempt(random: Random, kind: Kind): Attempt {
  const name = pick(random, ['a', 'b']);
  const valid = JSON.stringify(sampleOf(kind, name));
  const body = random() < 0.3 ? garbage(random, valid) : Buffer.from(JSON.stringify(random() < 0.6 ? mutate(random, mutate(random, sampleOf(kind, name))) : anything(random)) ?? '');
  const at = `${pathOf(kind)}/${name}`;
  const query = pick(random, ['', '', '', '?fieldValidation=Strict', '?dryRun=All', '?fieldManager=x&force=1', '?gracePeriodSeconds=0']);
  const roll = random();
  if (roll < 0.45) return { method: 'POST', path: `${pathOf(kind)}${query}`, type: pick(random, media), body };
  if (roll < 0.6) return { method: 'PUT', path: `${at}${pick(random, ['', '/status', '/scale', '/finalize'])}${query}`, type: pick(random, media), body };
  if (roll < 0.85) return { method: 'PATCH', path: `${at}${pick(random, ['', '', '/status', '/scale'])}${query}`, type: pick(random, patches), body: random() < 0.3 ? jsonPatch(random) : body };
  if (roll < 0.92) return { method: 'POST', path: `${at}/${pick(random, ['binding', 'eviction', 'status', 'nothing'])}${query}`, type: pick(random, media), body };
  return { method: 'DELETE', path: `${pick(random, [at, pathOf(kind)])}${query}`, type: pick(random, media), body };
}

function jsonPatch(random: Random): Buffer {
  const operation = () => ({
    op: pick(random, ['add', 'remove', 'replace', 'move', 'copy', 'test', 'dance']),
    path: pick(random, ['', '/', '/metadata', '/metadata/labels', '/metadata/labels/x', '/spec/containers/0', '/spec/containers/-', '/__proto__/x', '/metadata/name', '~2']),
    from: pick(random, ['', '/metadata', '/spec', '/x']), value: anything(random),
  });
  return Buffer.from(JSON.stringify(Array.from({ length: Math.floor(random() * 4) }, operation)));
}

function send(agent: Agent, port: number, { method, path, type, body }: Attempt): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-length': body.length, 'user-agent': 'fuzz/1', ...(type ? { 'content-type': type } : {}) };
    const req = request({ host: '127.0.0.1', port, agent, method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ code: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

test(`${bodies} bodies, good and bad: no 500, no crash, no wait`, async ({ lab }) => {
  const { next: random } = seeded(20260102);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const started = performance.now();
  const codes = new Map<number, number>();
  let made = 0;
  const worker = async (): Promise<void> => {
    while (made < bodies) {
      made++;
      const tried = attempt(random, pick(random, kinds));
      const { code, text } = await send(agent, lab.port, tried);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      assert.ok(code < 500, `${tried.method} ${tried.path} ${tried.type} ${tried.body.toString()} (${tried.body.toString('hex').slice(0, 400)}): ${code} ${text}`);
      if (code >= 400) assert.is(JSON.parse(text).kind, 'Status');
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  agent.destroy();
  assert.is((await lab.client.get('/healthz')).text, 'ok');
  assert.ok((codes.get(201) ?? 0) > 50 && (codes.get(200) ?? 0) > 50, `some succeed: ${JSON.stringify([...codes])}`);
  assert.ok(performance.now() - started < limitMs);
});

test.run();
