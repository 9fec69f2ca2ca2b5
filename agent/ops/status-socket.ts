import { chmod, unlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '../../shared/log.ts';

export interface StatusSocketOptions {
  readonly dataDir: string;
  /** Makes the answer; called once per question. */
  readonly answer: () => Promise<unknown>;
  readonly log: Log;
}

/** Where a running agent answers. */
export const socketPath = (dataDir: string): string => join(dataDir, 'agent.sock');

/** Longest path of a unix socket that Linux takes, in bytes. */
export const maxSocketPath = 107;
/** Questions answered at a time, and time that one may take to read its answer. */
const maxClients = 4;
const patienceMs = 5000;

/**
 * Answers whoever connects to the socket with one JSON document, until `signal` aborts. Nothing is kept between two
 * questions. An agent goes on without its socket, so this never rejects.
 */
export async function serveStatus(options: StatusSocketOptions, signal: AbortSignal): Promise<void> {
  const path = socketPath(options.dataDir);
  try {
    if (Buffer.byteLength(path) > maxSocketPath) throw new Error(`${path} is longer than ${maxSocketPath} bytes`);
    // One that an agent left when it was killed; the lock of the state says that no other one runs.
    await unlink(path).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
    const server = await listen(path, (client) => void answer(client, options));
    await chmod(path, 0o600);
    await closed(server, signal);
  } catch (error) {
    options.log.warn('status cannot be asked for', { error });
  }
}

function listen(path: string, onClient: (client: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: false }, onClient);
  server.maxConnections = maxClients;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => { server.off('error', reject); resolve(server); });
  });
}

async function answer(client: Socket, { answer: make, log }: StatusSocketOptions): Promise<void> {
  client.on('error', () => client.destroy());
  client.setTimeout(patienceMs, () => client.destroy());
  client.resume();
  try {
    client.end(JSON.stringify(await make()));
  } catch (error) {
    log.error('making the status failed', { error });
    client.destroy();
  }
}

/** Resolves after the abort, when the socket is gone. Clients that still read get a moment by their own timeout. */
function closed(server: Server, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => { server.close(); resolve(); };
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
  });
}
