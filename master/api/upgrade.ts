import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** Answers on a bare connection, and closes it: for upgrades that are refused and requests that are no HTTP. */
export function refuseUpgrade(socket: Duplex, code: number, reason: string, body = '', type = body ? 'application/json' : 'text/plain'): void {
  if (!socket.writable) return void socket.destroy();
  socket.end(`HTTP/1.1 ${code} ${STATUS_CODES[code] ?? reason}\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}
