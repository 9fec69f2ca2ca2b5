import type { ConnectionOptions } from 'node:tls';
import { WebSocket, type ClientOptions } from 'ws';
import { maxFrameBytes } from '../../shared/protocol.ts';
import { fromWebSocket, type FrameSocket } from '../../shared/socket.ts';

/** The name that every master's certificate has, so that a master can be reached at any address. */
export const masterName = 'kubernetes.default.svc';

export interface ConnectOptions {
  /** `https://host:port` of the master. */
  readonly server: string;
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
  readonly ca: string;
  /** Time for TCP, TLS and the upgrade together. Default 20 s. */
  readonly timeoutMs?: number;
}

/** Makes the function that opens a session's WebSocket, authenticated by the node's certificate. */
export function connector(options: ConnectOptions): (signal: AbortSignal) => Promise<FrameSocket> {
  const url = new URL('/agent/v1/session', options.server);
  url.protocol = 'wss:';
  const settings: ClientOptions & ConnectionOptions = {
    key: options.key, cert: options.certificate, ca: options.ca, servername: masterName,
    perMessageDeflate: false, maxPayload: maxFrameBytes.fromMaster, handshakeTimeout: options.timeoutMs ?? 20_000, skipUTF8Validation: true,
  };
  return (signal) => new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [], settings);
    const stop = (): void => socket.terminate();
    const failed = (error: Error): void => {
      signal.removeEventListener('abort', stop);
      reject(new Error(`connecting to ${options.server}: ${error.message}`));
    };
    signal.addEventListener('abort', stop, { once: true });
    socket.once('error', failed);
    socket.once('open', () => {
      signal.removeEventListener('abort', stop);
      socket.off('error', failed);
      resolve(fromWebSocket(socket));
    });
    if (signal.aborted) stop();
  });
}
