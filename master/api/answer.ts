import { stringify } from 'yaml';
import { internalError, StatusError } from '../../shared/status.ts';
import { ConflictError, StoreError } from '../store/store.ts';
import { BodyStream } from './body-stream.ts';
import type { Exchange } from './exchange.ts';

/** Headers that every answer carries, as the apiserver's `WithCacheControl` sets them. */
const common = ['Cache-Control', 'no-cache, private'] as const;

/** Warnings of all `Warning` headers of one answer together, in characters (apiserver's limit). */
const maxWarnings = 4096;

/** Header fields of an answer, as `writeHead` takes them in a flat list. */
export function answerHeaders(x: Exchange, contentType: string): string[] {
  const headers = [...common, 'Content-Type', contentType];
  let size = 0;
  for (const warning of x.warnings) {
    const text = warningText(warning);
    size += text.length;
    if (size > maxWarnings) break;
    headers.push('Warning', text);
  }
  return headers;
}

/** RFC 2616's warn-value without agent or date; control characters and what a header cannot hold go. */
function warningText(text: string): string {
  const clean = text.replace(/[\r\n\t]+/g, ' ').replace(/[^ -~]/g, '?');
  return `299 - "${clean.replace(/[\\"]/g, (found) => `\\${found}`)}"`;
}

/** Answers with a JSON document as it is; in YAML if that is what the client takes. */
export function sendBytes(x: Exchange, code: number, bytes: Uint8Array): void {
  if (bytes.length > BodyStream.compressFrom && BodyStream.compresses(x)) return sendLarge(x, code, bytes);
  const yaml = wantsYaml(x);
  const body = yaml ? Buffer.from(stringify(JSON.parse(Buffer.from(bytes).toString()), { version: '1.1' })) : bytes;
  const headers = answerHeaders(x, yaml ? 'application/yaml' : 'application/json');
  headers.push('Content-Length', String(body.length));
  x.res.writeHead(code, headers);
  x.res.end(body);
}

function sendLarge(x: Exchange, code: number, bytes: Uint8Array): void {
  const stream = new BodyStream(x, code);
  stream.push(bytes);
  stream.end();
}

export const wantsYaml = (x: Exchange): boolean => {
  const { accept } = x.req.headers;
  return accept !== undefined && accept.includes('application/yaml') && !/application\/json|\*\/\*/.test(accept);
};

export function sendJson(x: Exchange, code: number, value: unknown): void {
  sendBytes(x, code, Buffer.from(JSON.stringify(value)));
}

export function sendText(x: Exchange, code: number, text: string): void {
  const headers = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff', 'Content-Length', String(Buffer.byteLength(text))];
  x.res.writeHead(code, [...common, ...headers]);
  x.res.end(text);
}

/** `Status` of a success that has no object to show. */
export function sendSuccess(x: Exchange, code: number): void {
  sendJson(x, code, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code });
}

/** Answers with an error's Status; when the answer has already begun, the connection is cut instead. */
export function sendError(x: Exchange, error: StatusError): void {
  if (x.res.headersSent || x.res.destroyed) return void x.res.destroy();
  const status = error.toStatus();
  const body = Buffer.from(JSON.stringify(status));
  const headers = [...answerHeaders(x, 'application/json'), 'Content-Length', String(body.length)];
  const wait = error.details?.retryAfterSeconds;
  if (wait) headers.push('Retry-After', String(wait));
  if (error.code === 413) headers.push('Connection', 'close');
  x.res.writeHead(error.code, headers);
  x.res.end(body);
}

/** The error to answer with; `onBug` hears of everything that no maker in shared/status.ts made. */
export function statusOf(error: unknown, onBug: (error: unknown) => void): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof StoreError) return new StatusError(503, 'ServiceUnavailable', `the store cannot take writes: ${error.message}`);
  if (error instanceof ConflictError) return new StatusError(409, 'Conflict', error.message);
  onBug(error);
  return internalError(error instanceof Error ? error.message : String(error));
}

