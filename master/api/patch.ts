import { badRequest, conflict, fieldInvalid, invalid, isAlreadyExists, notFound, unsupportedMediaType } from '../../shared/status.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { serverSideApply } from '../registry/apply.ts';
import { applyPatch, goText, type Patch } from '../registry/patch.ts';
import type { Stored, WriteOptions } from '../registry/types.ts';
import { mediaType, parseBody, readBody, readYaml, type Body } from './body.ts';
import { checkDocument } from './document.ts';
import { jsonProblem } from './json.ts';
import { writeOptions } from './options.ts';
import { flag } from './query.ts';
import { confirmVerb, sendObject, type Call } from './call.ts';

const apply = 'application/apply-patch+yaml';

const patchTypes: Readonly<Record<string, Patch['type']>> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
};

/** Answers PATCH of an object or of its status. @throws StatusError */
export async function patchObject(call: Call): Promise<void> {
  const media = mediaType(call.x.req);
  if (media === apply) return applyObject(call);
  const { x, kind, request, options: { registry } } = call;
  const patch = await readPatch(call, media);
  const options = writeOptions(x, 'PatchOptions', request.subresource);
  let patched: unknown;
  const change = (current: KubeObject): unknown => (patched = applyPatch(kind, current, patch));
  const unreadable = (why: string): Error => noSense(patch, patched, why);
  sendObject(call, 200, await registry.modify(kind, request.namespace, request.name, change, { ...options, unreadable }));
}

/** The 422 for a patch that makes no object of its kind: it names no object, and shows the patch, or what came of it. */
export function noSense({ type, body }: Patch, patched: unknown, why: string): Error {
  const shown = type === 'strategic' ? goText(body) : JSON.stringify(patched);
  return invalid({ group: '', plural: '', kind: '' }, '', [fieldInvalid('patch', shown, why)]);
}

/** @throws StatusError 415 for a media type that is no patch, 400 for a body that is no JSON */
export async function readPatch({ x }: Call, media: string): Promise<Patch> {
  const type = Object.hasOwn(patchTypes, media) ? patchTypes[media] : undefined;
  if (!type) throw unsupportedMediaType(`the body of the request was in an unknown format - accepted media types include: ${[...Object.keys(patchTypes), apply].join(', ')}`);
  const bytes = await readBody(x.req);
  return { type, body: parsePatch(type, bytes.toString()) };
}

function parsePatch(type: Patch['type'], text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest(type === 'merge' ? 'Invalid JSON Patch' : jsonProblem(text) ?? 'unexpected end of JSON input');
  }
}

/** How often an apply that meets an object in the making tries again. */
const maxTries = 5;

/** Answers a server-side apply. `part`: the part of the configuration that counts. @throws StatusError */
export async function applyObject(call: Call, part: (config: Record<string, unknown>) => Record<string, unknown> = (config) => config): Promise<void> {
  const { x, request } = call;
  const config = part(await readConfig(call));
  const asked = writeOptions(x, 'PatchOptions', request.subresource, true);
  const force = flag(x.query, 'force');
  for (let tries = 1; ; tries++) {
    try {
      const { created, stored } = await applyOnce(call, config, asked, force);
      return sendObject(call, created ? 201 : 200, stored);
    } catch (error) {
      if (!isAlreadyExists(error) || tries >= maxTries) throw error;
    }
  }
}

/** Merges a configuration into what is stored, or creates the object of it. */
async function applyOnce(call: Call, config: Record<string, unknown>, asked: WriteOptions, force: boolean): Promise<{ created: boolean; stored: Stored }> {
  const { kind, request: { namespace, name, subresource }, options: { registry, clock } } = call;
  // Apply keeps its own account of managers: the registry must not track the write as an update.
  const { fieldManager: manager = '', ...options } = asked;
  const merge = (current: KubeObject | undefined): KubeObject =>
    serverSideApply(kind, current, config, { manager, force, nowMs: clock.now(), ...(subresource ? { subresource } : {}) });
  if (registry.stored(kind, namespace, name)) return { created: false, stored: await registry.modify(kind, namespace, name, merge, options) };
  if (subresource) throw notFound(kind, name);
  const { uid, resourceVersion } = config['metadata'] as { uid?: unknown; resourceVersion?: unknown };
  if (uid) throw conflict(kind, name, `uid mismatch: the provided object specified uid ${String(uid)}, and no existing object was found`);
  if (resourceVersion) throw notFound(kind, name);
  await confirmVerb(call, 'create');
  return { created: true, stored: await registry.create(kind, namespace, merge(undefined), options) };
}

/** The configuration with the URL's name and namespace in it. @throws StatusError 400 when they disagree */
async function readConfig({ x, kind, request }: Call): Promise<Record<string, unknown>> {
  const config = checkDocument(kind, parseConfig(kind.kind, await readBody(x.req)));
  if (!config['kind'] || !config['apiVersion']) throw badRequest(`Object '${config['kind'] ? 'apiVersion' : 'Kind'}' is missing in the apply configuration`);
  const metadata = isMap(config['metadata']) ? config['metadata'] : {};
  if (metadata['name'] !== undefined && metadata['name'] !== request.name) throw badRequest('the name of the object does not match the name on the URL');
  const namespace = kind.namespaced ? { namespace: metadata['namespace'] ?? request.namespace } : {};
  return { ...config, metadata: { ...metadata, name: request.name, ...namespace } };
}

function parseConfig(what: string, bytes: Buffer): Body {
  if (bytes[0] === 0x7b) return parseBody('application/json', bytes, what);
  const { value, problem } = readYaml(bytes.toString());
  if (problem || !isMap(value)) throw badRequest(`error decoding YAML: ${problem ?? 'the document is no object'}`);
  return { bytes, value, strict: () => [] };
}

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
