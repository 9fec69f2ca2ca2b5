import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { badRequest } from '../../../shared/status.ts';
import { PacedWriter } from '../../../shared/paced-writer.ts';
import { readDirectly, type OtherParser, type WireConnection } from '../../../shared/read-directly.ts';

/**
 * Several byte streams over one WebSocket: each message begins with the number of its channel, as a byte or, in the
 * `base64` protocols, as a digit before text in base64.
 */
export interface ChannelSocket {
  /** Subprotocol agreed on; `''` for a client that asked for none. */
  readonly protocol: string;
  /** Bytes are the caller's again. A promise asks to wait: it resolves when there is room for more, or the connection is over. */
  send(channel: number, bytes: Uint8Array): Promise<void> | undefined;
  /** Sets who gets messages, whose bytes are good until it returns, and the end; a promise that `message` gives holds up reading when many wait. Called once. */
  listen(listener: { message(channel: number, bytes: Uint8Array): Promise<void> | undefined; end(): void }): void;
  close(): void;
}

/** What is read of a client at a time. */
const readBytes = 64 * 1024;
/** Bytes of messages in hand before the client is read no further. */
const highWater = 256 * 1024;

const sockets = (): WebSocketServer => new WebSocketServer({
  noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: 32 * 1024 * 1024, skipUTF8Validation: true,
});

/** The first of the client's subprotocols that is served; `''` if it names none (a bearer token's aside). @throws StatusError 400 */
export function chooseProtocol(req: IncomingMessage, served: readonly string[]): string {
  const offered = (req.headers['sec-websocket-protocol'] ?? '').split(',').map((word) => word.trim()).filter((word) => word !== '' && !word.startsWith('base64url.bearer.'));
  if (offered.length === 0) return '';
  const chosen = offered.find((word) => served.includes(word));
  if (!chosen) throw badRequest(`unable to upgrade: unable to negotiate protocol: client supports [${offered.join(' ')}], server accepts [${served.join(' ')}]`);
  return chosen;
}

/** Completes a WebSocket's handshake, and pings the client every `pingMs` from then on. */
export function acceptWebSocket(req: IncomingMessage, socket: Duplex, head: Buffer, protocol: string, pingMs: number): Promise<WebSocket> {
  const server = sockets();
  // `ws` would refuse the slash in `SPDY/3.1+portforward.k8s.io`, so the protocol is agreed on past it.
  delete req.headers['sec-websocket-protocol'];
  if (protocol) server.once('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve, reject) => {
    // Its answer to what is no handshake is its own.
    socket.once('close', () => reject(badRequest('the client went away')));
    server.handleUpgrade(req, socket, head, (webSocket) => {
      const beat = setInterval(() => { if (webSocket.readyState === webSocket.OPEN) webSocket.ping(); }, pingMs);
      webSocket.once('close', () => clearInterval(beat));
      webSocket.on('error', () => webSocket.terminate());
      resolve(webSocket);
    });
  });
}

export function channelSocket(socket: WebSocket, connection: Duplex, protocol: string): ChannelSocket {
  const base64 = protocol.includes('base64.');
  const writer = new PacedWriter(connection);
  const send = (channel: number, bytes: Uint8Array): Promise<void> | undefined =>
    (base64 ? writer.text(encodeText(channel, bytes)) : writer.piece({ key: channel, head: Buffer.of(channel), bytes }, true));
  const decode = base64 ? decodeText : decodeBinary;
  return {
    protocol,
    send: (channel, bytes) => (socket.readyState === socket.OPEN ? send(channel, bytes) : undefined),
    listen({ message, end }) {
      let inHand = 0;
      readClient(socket, connection, (data) => {
        const read = decode(data);
        const taken = read && message(read.channel, read.bytes);
        if (!taken) return;
        inHand += read.bytes.length;
        if (inHand > highWater) socket.pause();
        void taken.then(() => {
          inHand -= read.bytes.length;
          if (inHand < highWater / 2 && socket.isPaused) socket.resume();
        });
      });
      if (socket.readyState === socket.CLOSED) end();
      else socket.once('close', end);
    },
    close: () => { writer.flush(); socket.resume(); socket.close(1000); },
  };
}

/** Tells `message` of what a client sends. The bytes are good until it returns. */
export function readClient(socket: WebSocket, connection: Duplex, message: (bytes: Buffer) => void): void {
  socket.on('message', (data) => message(data as Buffer));
  const { _receiver: parser } = socket as WebSocket & { _receiver?: OtherParser };
  if (parser) readDirectly(connection as Duplex & WireConnection, parser, true, Buffer.allocUnsafeSlow(readBytes), (bytes) => { if (socket.readyState === socket.OPEN) message(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)); });
}

interface Message { readonly channel: number; readonly bytes: Uint8Array }

const encodeText = (channel: number, bytes: Uint8Array): string => String(channel) + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');

const decodeBinary = (data: Buffer): Message | undefined => (data.length > 0 ? { channel: data[0]!, bytes: data.subarray(1) } : undefined);

function decodeText(data: Buffer): Message | undefined {
  const channel = (data[0] ?? 0) - 0x30;
  return channel >= 0 && channel <= 9 ? { channel, bytes: Buffer.from(data.toString('latin1', 1), 'base64') } : undefined;
}
