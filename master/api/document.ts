import { decode } from '../../shared/decode.ts';
import type { Kind } from '../../shared/kind.ts';
import { badRequest } from '../../shared/status.ts';
import type { WriteOptions } from '../registry/types.ts';
import { mediaType, parseBody, readBody, unrecognized, type Body } from './body.ts';
import type { Exchange } from './exchange.ts';

/** The kind that a document must be of, as far as checking needs it. */
interface Expected {
  readonly kind: string;
  readonly apiVersion: string;
  /** Older versions with the same document. */
  readonly aliases?: readonly string[];
}

/**
 * Reads a request's body as an object of a kind; whose apiVersion and kind, if it has any, must be the kind's.
 * @throws StatusError 400, 413, 415 in Kubernetes' words
 */
export async function readDocument(x: Exchange, kind: Expected): Promise<{ body: Body; document: Record<string, unknown> }> {
  const bytes = await readBody(x.req);
  const body = parseBody(mediaType(x.req), bytes, kind.kind);
  return { body, document: checkDocument(kind, body) };
}

/** @throws StatusError 400 when the document is of another kind, or none */
export function checkDocument(kind: Expected, body: Body): Record<string, unknown> {
  const { value, bytes } = body;
  if (value === undefined) throw badRequest(`the object provided is unrecognized (must be of type ${kind.kind}): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notAnObject(kind.kind, value, bytes);
  const document = value as Record<string, unknown>;
  const { apiVersion = '', kind: name = '' } = document as { apiVersion?: unknown; kind?: unknown };
  if (typeof apiVersion !== 'string' && apiVersion !== null) throw wrongField(kind.kind, 'apiVersion', apiVersion, bytes);
  if (typeof name !== 'string' && name !== null) throw wrongField(kind.kind, 'kind', name, bytes);
  checkType(kind, apiVersion || kind.apiVersion, name || kind.kind);
  return document;
}

function checkType(kind: Expected, apiVersion: string, name: string): void {
  if (name !== kind.kind) {
    const version = apiVersion.slice(apiVersion.indexOf('/') + 1);
    throw badRequest(`${name} in version ${JSON.stringify(version)} cannot be handled as a ${kind.kind}: no kind ${JSON.stringify(name)} is registered for version ${JSON.stringify(apiVersion)} here`);
  }
  if (apiVersion !== kind.apiVersion && !kind.aliases?.includes(apiVersion)) throw badRequest(`the API version in the data (${apiVersion}) does not match the expected API version (${kind.apiVersion})`);
}

const goValue = (value: unknown): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value === 'boolean' ? 'bool' : typeof value);

function notAnObject(what: string, value: unknown, bytes: Buffer): Error {
  return unrecognized(what, `couldn't get version/kind; json parse error: json: cannot unmarshal ${goValue(value)} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`, bytes);
}

function wrongField(what: string, field: 'apiVersion' | 'kind', value: unknown, bytes: Buffer): Error {
  return unrecognized(what, `couldn't get version/kind; json parse error: json: cannot unmarshal ${goValue(value)} into Go struct field .${field} of type string`, bytes);
}

/**
 * Acts on repeated keys; fields that the schema does not know are the registry's to report, but for those of a
 * document that is refused here already.
 * @throws StatusError 400 with Strict
 */
export function checkStrict(kind: Kind, body: Body, validation: WriteOptions['fieldValidation'], warn: (text: string) => void): void {
  if (validation !== 'Strict' && validation !== 'Warn') return;
  const problems = body.strict();
  if (problems.length === 0) return;
  if (validation === 'Warn') return problems.forEach(warn);
  const unknown = decode(kind.schema, body.value, { complete: false }).unknown.map((path) => `unknown field ${JSON.stringify(path)}`);
  throw badRequest(`${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: strict decoding error: ${[...problems, ...unknown].join(', ')}`);
}
