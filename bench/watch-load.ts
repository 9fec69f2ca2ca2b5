import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TLSSocket } from 'node:tls';
import { killWithUs, type BenchMaster } from './cluster.ts';
import { AnswerReader, connectTo, type Target } from './http-load.ts';

/** Connections that are opened at the same time. */
const atOnce = 50;

/** Clients that watch one path; they count events, and decode nothing. */
export class WatchClients {
  readonly #sockets: TLSSocket[] = [];
  #received = 0;
  #wanted = Infinity;
  #reached: () => void = () => {};

  static async open(count: number, target: Target, path: string): Promise<WatchClients> {
    const clients = new WatchClients();
    // Some at a time: a handshake that waits behind a thousand others is given up by the server where the machine is busy.
    for (let left = count; left > 0; left -= atOnce) await Promise.all(Array.from({ length: Math.min(left, atOnce) }, () => clients.#open(target, path)));
    return clients;
  }

  /** Resolves when as many events have come to all of them together, counted from this call on. @throws Error after a minute */
  receive(count: number): Promise<void> {
    this.#received = 0;
    this.#wanted = count;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${this.#received} of ${count} events came within a minute`)), 60_000);
      this.#reached = () => { clearTimeout(late); resolve(); };
    });
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #open(target: Target, path: string): Promise<void> {
    const socket = await connectTo(target);
    this.#sockets.push(socket);
    const reader = new AnswerReader((piece) => this.#count(piece), () => {});
    socket.on('error', () => {});
    socket.write(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept: application/json\r\n\r\n`);
    // The answer's head says that the watch has begun.
    await new Promise<void>((resolve) => socket.on('data', (piece: Buffer) => { reader.read(piece); resolve(); }));
  }

  /** An event is a line. */
  #count(piece: Buffer): void {
    for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) this.#received++;
    if (this.#received >= this.#wanted) this.#reached();
  }
}

/** A server that serves watches the plain way, in a process of its own, with the master's certificate. */
export async function startPlainWatch({ target, directory }: BenchMaster): Promise<{ target: Target; process: ChildProcess }> {
  const pki = (name: string): string => join(directory, 'pki', name);
  const child = spawn(process.execPath, [fileURLToPath(new URL('./plain-watch.js', import.meta.url)), pki('server.key'), pki('server.crt')], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.once('exit', killWithUs(child));
  const [port] = await once(child.stdout!, 'data') as [Buffer];
  return { target: { ...target, port: Number(port.toString()) }, process: child };
}
