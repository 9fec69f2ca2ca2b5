import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { Outcome } from './check.ts';

export interface GrpcOptions {
  readonly host: string;
  readonly port: number;
  /** Service to ask about; `''` for the server as a whole. */
  readonly service: string;
  readonly timeoutMs: number;
}

const statuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const;

/** An answer has seven. */
const maxBytes = 4096;

/** Result of the call: the enum of HealthCheckResponse, or a gRPC status and its message. */
type Answer = { readonly health: number } | { readonly code: number; readonly message: string };

/** Asks a server's `grpc.health.v1.Health/Check` without TLS, worded as the kubelet's prober. Never throws. */
export async function checkGrpc(options: GrpcOptions): Promise<Outcome> {
  const at = `${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
  const within = `${options.timeoutMs / 1000}s`;
  const session = connect(`http://${at}`);
  let late = false;
  let connected = false;
  const timer = setTimeout(() => { late = true; session.destroy(new Error('context deadline exceeded')); }, options.timeoutMs);
  try {
    await opened(session);
    connected = true;
    return verdict(await call(session, options));
  } catch (error) {
    if (late) return failed(connected ? `timeout: health rpc did not complete within ${within}` : `timeout: failed to connect service ${JSON.stringify(at)} within ${within}: context deadline exceeded`);
    const why = (error as Error).message;
    return failed(connected ? `error: health rpc probe failed: ${why}` : `error: failed to connect service at ${JSON.stringify(at)}: ${why}`);
  } finally {
    clearTimeout(timer);
    session.destroy();
  }
}

const failed = (message: string): Outcome => ({ ok: false, message });

function verdict(answer: Answer): Outcome {
  if ('health' in answer) return answer.health === 1 ? { ok: true, message: '' } : failed(`service unhealthy (responded with "${statuses[answer.health] ?? answer.health}")`);
  const { code, message } = answer;
  if (code === 12) return failed(`error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${message}`);
  return failed(`error: health rpc probe failed: rpc error: code = ${code} desc = ${message}`);
}

function opened(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => {
    // An HTTP/1 server takes the connection too, and says nothing that makes sense.
    session.once('remoteSettings', () => resolve());
    session.on('error', reject);
    session.once('close', () => reject(new Error('connection closed before server preface received')));
  });
}

function call(session: ClientHttp2Session, { service, timeoutMs }: GrpcOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', 'content-type': 'application/grpc', te: 'trailers',
      'user-agent': 'kube-probe/1.32', 'grpc-timeout': `${Math.ceil(timeoutMs)}m`,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    let status: { code: number; message: string } | undefined;
    const note = (headers: IncomingHttpHeaders): void => {
      const code = headers['grpc-status'];
      if (code !== undefined) status = { code: Number(code), message: decoded(String(headers['grpc-message'] ?? '')) };
      else if (headers[':status'] !== undefined && Number(headers[':status']) !== 200) status = { code: 2, message: `unexpected HTTP status code received from server: ${headers[':status']}` };
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      // Whoever says more than a status is no health service.
      if ((size += chunk.length) > maxBytes) stream.destroy(new Error('the answer is no HealthCheckResponse'));
    });
    stream.on('error', reject);
    stream.on('close', () => {
      if (status && status.code !== 0) return resolve(status);
      const health = healthOf(Buffer.concat(chunks));
      return health === undefined ? reject(new Error('the answer is no HealthCheckResponse')) : resolve({ health });
    });
    stream.end(request(service));
  });
}

/** A message as it is meant, or as it came: what a container sends may be anything. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

/** A gRPC frame (no compression, length) around HealthCheckRequest: field 1, the service. */
function request(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** Field 1 of a HealthCheckResponse, 0 when it is left out; undefined for what is none. */
function healthOf(frame: Buffer): number | undefined {
  if (frame.length < 5 || frame[0] !== 0 || frame.length < 5 + frame.readUInt32BE(1)) return undefined;
  const message = frame.subarray(5, 5 + frame.readUInt32BE(1));
  if (message.length === 0) return 0;
  return message[0] === 0x08 ? message[1] : undefined;
}
