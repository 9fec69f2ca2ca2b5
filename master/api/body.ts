import type { IncomingMessage } from 'node:http';
import { parseAllDocuments } from 'yaml';
import { badRequest, timeout, tooLarge, unsupportedMediaType } from '../../shared/status.ts';
import { decodeProtobuf, protobufType } from './protobuf.ts';
import { duplicateKeys, jsonProblem, scan } from './json.ts';

/** Largest request body taken, as apiserver's `MaxRequestBodyBytes`. */
export const maxBodyBytes = 3 * 1024 * 1024;

/** A request's body in its parsed form. */
export interface Body {
  readonly bytes: Buffer;
  /** The document; undefined for an empty body. */
  readonly value: unknown;
  /** Problems that strict field validation refuses, such as `duplicate field "spec.replicas"`. */
  readonly strict: () => string[];
}

/** The whole body of a request. @throws StatusError 413 over {@link maxBodyBytes}, 400 when the client goes away */
export function readBody(req: IncomingMessage): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > maxBodyBytes) return Promise.reject(bodyTooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBodyBytes) {
        req.removeAllListeners('data');
        req.resume();
        reject(bodyTooLarge());
      } else chunks.push(chunk);
    });
    req.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    req.on('error', () => reject(badRequest('unexpected EOF')));
    req.on('close', () => { if (!req.complete) reject(timeout('the client went away before its request was complete')); });
  });
}

const bodyTooLarge = (): Error => tooLarge(`Request entity too large: limit is ${maxBodyBytes}`);

/** The media type of a body without its parameters; JSON when none is given. */
export function mediaType(req: IncomingMessage): string {
  const header = req.headers['content-type'] ?? '';
  const end = header.indexOf(';');
  return (end < 0 ? header : header.slice(0, end)).trim().toLowerCase() || 'application/json';
}

/**
 * Parses the body of an object or of options. `what` names the Go type for the message.
 * @throws StatusError 415 for other media types than JSON, YAML and protobuf, 400 for what cannot be parsed
 */
export function parseBody(media: string, bytes: Buffer, what: string): Body {
  if (media !== 'application/json' && media !== 'application/yaml' && media !== protobufType) {
    throw unsupportedMediaType(`the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, ${protobufType}`);
  }
  if (bytes.length === 0) return { bytes, value: undefined, strict: () => [] };
  if (media === protobufType) return parseProtobuf(bytes, what);
  // As the apiserver, which looks at the bytes too: YAML is a superset of JSON.
  return media === 'application/yaml' && bytes[0] !== 0x7b ? parseYaml(bytes, what) : parseJson(bytes, what);
}

function parseJson(bytes: Buffer, what: string): Body {
  const text = bytes.toString('utf8');
  const scanned = scan(text);
  if (scanned.tooDeep) throw unrecognized(what, "couldn't get version/kind; json parse error: exceeded max depth", bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unrecognized(what, `couldn't get version/kind; json parse error: ${jsonProblem(text) ?? 'invalid JSON'}`, bytes);
  }
  return { bytes, value, strict: () => duplicateKeys(text, value, scanned).map((path) => `duplicate field ${JSON.stringify(path)}`) };
}

function parseProtobuf(bytes: Buffer, what: string): Body {
  try {
    return { bytes, value: decodeProtobuf(bytes), strict: () => [] };
  } catch (error) {
    throw unrecognized(what, (error as Error).message, bytes);
  }
}

function parseYaml(bytes: Buffer, what: string): Body {
  const { value, problem } = readYaml(bytes.toString('utf8'));
  if (problem) throw unrecognized(what, `error parsing YAML: ${problem}`, bytes);
  return { bytes, value, strict: () => [] };
}

/** One YAML document as JSON types; `problem` in the words that Kubernetes' YAML library begins with. */
export function readYaml(text: string): { value?: unknown; problem?: string } {
  try {
    const [document] = parseAllDocuments(text, { uniqueKeys: false, version: '1.1', merge: true, logLevel: 'silent' });
    if (!document || !('errors' in document)) return { value: null };
    const [error] = document.errors;
    if (error) return { problem: `error converting YAML to JSON: yaml: line ${error.linePos?.[0].line ?? 1}: ${error.message.split('\n')[0]}` };
    const json = JSON.stringify(document.toJS({ maxAliasCount: 100 }) ?? null);
    return scan(json).tooDeep ? { problem: 'exceeded max depth' } : { value: JSON.parse(json) as unknown };
  } catch (error) {
    return { problem: `error converting YAML to JSON: yaml: ${(error as Error).message}` };
  }
}

/** As apiserver's `transformDecodeError` for a body whose kind could not be read. */
export function unrecognized(what: string, why: string, bytes: Buffer): Error {
  return badRequest(`the object provided is unrecognized (must be of type ${what}): ${why} (${summary(bytes)})`);
}

function summary(bytes: Buffer): string {
  const max = 30;
  if (bytes.length === 0) return '<empty>';
  const text = bytes.subarray(0, max).toString(bytes[0] === 0x7b ? 'utf8' : 'hex');
  return bytes.length > max ? `${text} ...` : text;
}
