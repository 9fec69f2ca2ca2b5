import type { IncomingMessage, ServerResponse } from 'node:http';
import * as v from 'valibot';
import type { Log } from '../../shared/log.ts';
import { badRequest, internalError, methodNotSupported, StatusError, tooLarge } from '../../shared/status.ts';

/** Exchanges a join token for a node's certificate. */
export interface Enroller {
  /** PEM of the authority that all certificates of the cluster come from. */
  readonly ca: string;
  /**
   * `publicKey` is SPKI PEM; `proof` an ECDSA-SHA256 signature (DER, base64) over `token\nnodeName` by its private key.
   * @throws StatusError 401 (wrong or expired token, wrong proof), 409 (the node's name belongs to another key), 422
   */
  enrol(request: EnrolRequest): Promise<{ readonly certificate: string; readonly ca: string }>;
}

const text = (max: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(max));
const EnrolRequest = v.object({ token: text(512), nodeName: text(253), publicKey: text(4096), proof: text(1024) });
export type EnrolRequest = v.InferOutput<typeof EnrolRequest>;

const maxBody = 16 * 1024;

/** Paths that {@link answerEnrolment} answers, to anybody: an agent has no certificate yet. */
export const enrolmentPaths = ['/agent/v1/ca', '/agent/v1/enrol'] as const;

/** Answers `GET /agent/v1/ca` and `POST /agent/v1/enrol`. Never rejects. */
export async function answerEnrolment(enroller: Enroller, log: Log, req: IncomingMessage, res: ServerResponse): Promise<void> {
  try {
    const path = (req.url ?? '').split('?')[0];
    if (path === enrolmentPaths[0] && req.method === 'GET') send(res, 200, 'application/x-pem-file', enroller.ca);
    else if (path === enrolmentPaths[1] && req.method === 'POST') send(res, 200, 'application/json', JSON.stringify(await enroller.enrol(await readBody(req))));
    else throw methodNotSupported({ group: '', plural: 'agents', kind: 'Agent' }, req.method ?? '');
  } catch (error) {
    const status = error instanceof StatusError ? error : internalError('enrolment failed');
    if (status !== error) log.error('enrolment failed', { error });
    send(res, status.code, 'application/json', JSON.stringify(status.toStatus()));
  }
}

function send(res: ServerResponse, code: number, type: string, body: string): void {
  if (res.headersSent || res.destroyed) return;
  res.writeHead(code, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  res.end(body);
}

async function readBody(req: IncomingMessage): Promise<EnrolRequest> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBody) throw tooLarge(`an enrolment request may have ${maxBody} bytes`);
    chunks.push(chunk);
  }
  let body: unknown;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw badRequest('the enrolment request is no JSON');
  }
  const result = v.safeParse(EnrolRequest, body);
  if (!result.success) throw badRequest(`enrolment request: ${v.getDotPath(result.issues[0]) ?? 'body'}: ${result.issues[0].message}`);
  return result.output;
}
