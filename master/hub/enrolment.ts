import { createPublicKey, verify } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as v from 'valibot';
import { caPath, enrolPath, proofText, renewalText, type EnrolAnswer, type EnrolRequest } from '../../shared/enrolment.ts';
import type { Log } from '../../shared/log.ts';
import { badRequest, internalError, methodNotSupported, StatusError, tooLarge, unauthorized } from '../../shared/status.ts';

/** Exchanges a join token for a node's certificate. */
export interface Enroller {
  /** PEM of the authority that all certificates of the cluster come from. */
  readonly ca: string;
  /**
   * The request's form and its proof have been checked: it comes from the holder of `publicKey`.
   * @throws StatusError 401 (wrong or expired token), 409 (the node's name belongs to another key), 422; the message is
   *   what the agent's user reads
   */
  enrol(request: EnrolRequest): Promise<EnrolAnswer>;
  /** A certificate for another key of a node that is in; the session that asks has proved both. Without it there is no renewal. */
  renew?(nodeName: string, publicKey: string): Promise<EnrolAnswer>;
}

const text = (max: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(max));
const Body = v.object({ token: text(512), nodeName: text(253), publicKey: text(4096), proof: text(1024) });

const maxBody = 16 * 1024;

/** Paths that {@link answerEnrolment} answers, to anybody: an agent has no certificate yet. */
export const enrolmentPaths = [caPath, enrolPath] as const;

/** Answers `GET /agent/v1/ca` and `POST /agent/v1/enrol`. Never rejects. */
export async function answerEnrolment(enroller: Enroller, log: Log, req: IncomingMessage, res: ServerResponse): Promise<void> {
  try {
    const path = (req.url ?? '').split('?')[0];
    if (path === caPath && req.method === 'GET') send(res, 200, 'application/x-pem-file', enroller.ca);
    else if (path === enrolPath && req.method === 'POST') send(res, 200, 'application/json', JSON.stringify(await enroller.enrol(await readBody(req))));
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
  const result = v.safeParse(Body, body);
  if (!result.success) throw badRequest(`enrolment request: ${v.getDotPath(result.issues[0]) ?? 'body'}: ${result.issues[0].message}`);
  const { token, nodeName, publicKey, proof } = result.output;
  if (!isProven(publicKey, proofText(token, nodeName), proof)) throw unauthorized('the enrolment request is not signed by the key in it');
  return result.output;
}

/** Renews a node's certificate; the node itself is known from its session. @throws StatusError 401, 404; Error when there is no renewal */
export async function renewCertificate(enroller: Enroller, nodeName: string, { publicKey, proof }: { publicKey: string; proof: string }): Promise<EnrolAnswer> {
  if (!enroller.renew) throw new Error('this master renews no certificates');
  if (!isProven(publicKey, renewalText(nodeName), proof)) throw unauthorized('the renewal is not signed by the key in it');
  return enroller.renew(nodeName, publicKey);
}

/** Whether the sender has the private key of the P-256 key that it wants certified. */
function isProven(publicKey: string, signed: string, proof: string): boolean {
  try {
    const key = createPublicKey(publicKey);
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' && verify('sha256', Buffer.from(signed), key, Buffer.from(proof, 'base64'));
  } catch {
    return false;
  }
}
