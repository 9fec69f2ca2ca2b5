import { request, STATUS_CODES, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { connect as secure } from 'node:tls';
import type { ByteStream } from '../../../shared/byte-stream.ts';
import { unavailable } from '../../../shared/status.ts';
import { StreamSocket } from '../../../shared/stream-socket.ts';
import type { Exchange } from '../exchange.ts';
import type { Upgrade } from '../subresource.ts';
import { backendHeaders, clientHeaders } from './headers.ts';

/** Where a request goes to, over a stream of a node. */
export interface Backend {
  readonly scheme: 'http' | 'https';
  readonly stream: ByteStream;
  /** Path and query as the backend gets them. */
  readonly path: string;
  /** What the client's path has before that. */
  readonly prefix: string;
}

/** A backend's certificate is nobody's that the cluster knows: as in apiserver, it is not looked at. */
function dial({ scheme, stream }: Backend): Duplex {
  const socket = new StreamSocket(stream);
  if (scheme === 'http') return socket;
  const secured = secure({ socket, rejectUnauthorized: false });
  return secured.once('close', () => socket.destroy());
}

function ask({ req, method }: Exchange, backend: Backend, upgrade: string): ClientRequest {
  const socket = dial(backend);
  const headers = backendHeaders({ headers: req.rawHeaders, from: req.socket.remoteAddress, path: req.url!.split('?')[0]!, method, upgrade });
  // A connection per request: its request is on the way before the pod has accepted, so nothing is gained by keeping it.
  // Servers that end their lines in LF alone are not rare, and clients take it; what follows an answer is never read as another.
  return request({ method, path: backend.path, headers, createConnection: () => socket, setHost: false, insecureHTTPParser: true })
    .once('close', () => { if (!upgrade) socket.destroy(); });
}

/** Sends an exchange's request to its backend, and the answer back; bodies go through as fast as they are taken. @throws StatusError 503 while nothing was answered */
export async function forwardRequest(x: Exchange, backend: Backend): Promise<void> {
  const { req, res } = x;
  const call = ask(x, backend, '');
  const gone = (): void => { call.destroy(); };
  res.once('close', gone);
  try {
    const answered = answerOf(call);
    req.pipe(call);
    const answer = await answered;
    sendHead(x, answer, backend);
    await delivered(answer, res);
  } finally {
    res.off('close', gone);
    call.destroy();
    req.unpipe(call);
    // What the backend did not want to read.
    req.resume();
  }
}

/** @throws StatusError 503 for headers that no client would take */
function sendHead(x: Exchange, { statusCode, statusMessage, rawHeaders }: IncomingMessage, { prefix }: Backend): void {
  try {
    x.res.writeHead(statusCode!, statusMessage!, clientHeaders(rawHeaders, prefix, x.header('host')));
  } catch (error) {
    throw unreachable(error as Error);
  }
  x.res.flushHeaders();
}

/** @throws StatusError 503 */
function answerOf(call: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    call.once('response', resolve).on('error', (error) => reject(unreachable(error)));
    call.once('close', () => reject(unreachable(new Error('EOF'))));
  });
}

const unreachable = ({ message }: Error): Error => unavailable(`error trying to reach service: ${message === 'socket hang up' ? 'EOF' : message}`);

/** Resolves when the whole answer was passed on, or cannot be: then the client's connection is cut. */
function delivered(answer: IncomingMessage, to: Exchange['res']): Promise<void> {
  return new Promise((resolve) => {
    answer.once('close', () => {
      if (!answer.complete) to.destroy();
      resolve();
    });
    answer.on('error', () => to.destroy());
    to.once('close', () => resolve());
    answer.pipe(to);
  });
}

/** Takes an upgrade through: once the backend agrees, bytes go both ways until both have ended. @throws StatusError 503 while nothing was answered */
export async function forwardUpgrade({ x, socket, head }: Upgrade, backend: Backend): Promise<void> {
  const call = ask(x, backend, x.header('upgrade'));
  const gone = (): void => { call.destroy(); };
  socket.once('close', gone);
  const answered = Promise.race([answerOf(call).then((answer) => ({ answer })), upgraded(call)]);
  call.end();
  const result = await answered;
  const { answer } = result;
  const headers = clientHeaders(answer.rawHeaders, backend.prefix, x.header('host'));
  if ('connection' in result) {
    socket.write(headOf(answer, [...headers, 'Connection', 'Upgrade', 'Upgrade', String(answer.headers.upgrade ?? x.header('upgrade'))]));
    if (result.head.length > 0) socket.write(result.head);
    if (head.length > 0) result.connection.write(head);
    return joined(socket, result.connection);
  }
  // Nothing but this answer may be had of the connection: what follows would be read by no API server.
  socket.write(headOf(answer, [...headers.filter((_, at, all) => all[at - at % 2]!.toLowerCase() !== 'content-length'), 'Connection', 'close']));
  answer.pipe(socket);
  answer.once('close', () => { call.destroy(); if (!answer.complete) socket.destroy(); });
}

type Upgraded = { readonly answer: IncomingMessage; readonly connection: Duplex; readonly head: Buffer };
const upgraded = (call: ClientRequest): Promise<Upgraded> =>
  new Promise((resolve) => { call.once('upgrade', (answer, connection, head) => resolve({ answer, connection, head })); });

function headOf({ statusCode = 502, statusMessage }: IncomingMessage, headers: readonly string[]): string {
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage || STATUS_CODES[statusCode] || ''}`];
  for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Two connections become one: bytes and ends of either are the other's; when one breaks, so does the other. */
function joined(a: Duplex, b: Duplex): void {
  for (const [from, to] of [[a, b], [b, a]] as const) {
    from.on('error', () => to.destroy()).once('close', () => { if (!from.readableEnded || !from.writableFinished) to.destroy(); });
    from.pipe(to);
  }
}
