import { stringify } from 'yaml';
import { internalError, StatusError } from '../../shared/status.ts';
import { ConflictError, StoreError } from '../store/store.ts';
import { BodyStream } from './body-stream.ts';
import type { Exchange } from './exchange.ts';
import { answerHeaders, commonHeaders } from './headers.ts';

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
  x.res.writeHead(code, [...commonHeaders, ...headers]);
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

