import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat, statfs, unlink } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { binaryPath } from '../../shared/upgrade.ts';
import { masterName } from '../session/connect.ts';
import { messageOf, readBody } from '../session/fetch.ts';
import { connectSecurely, type SecureOptions } from '../session/secure.ts';

/** How the master is reached: with the node's own certificate. */
export interface Reach extends Required<Pick<SecureOptions, 'identity' | 'ca'>>, Pick<SecureOptions, 'lookup'> {
  /** `https://host:port`. */
  readonly server: string;
}

export interface DownloadOptions {
  readonly sha256: string;
  readonly bytes: number;
  /** Where the candidate goes; what is there already is the beginning of it. */
  readonly path: string;
  readonly reach: Reach;
  readonly onProgress: (bytes: number) => void;
}

/** Nothing comes for so long: the connection is given up, and another one goes on where it ended. */
const silenceMs = 30_000;
/** Room that stays free for everybody else on the disk. */
const reserveBytes = 32 * 1024 * 1024;

/** It cannot be had, however often it is tried. */
export class DownloadError extends Error {}

/** Where a candidate lies until it is put in the program's place: on the same file system. */
export const candidatePath = (program: string, sha256: string): string => `${program}.next-${sha256.slice(0, 12)}`;

/** Removes candidates beside a program, all but `keep`. */
export async function removeCandidates(program: string, keep?: string): Promise<void> {
  const [directory, start] = [dirname(program), `${basename(program)}.next-`];
  for (const name of await readdir(directory)) if (name.startsWith(start) && join(directory, name) !== keep) await unlink(join(directory, name));
}

/**
 * Brings the rest of a candidate into its file, durably, and makes it executable.
 * @throws DownloadError when it cannot be had; any other error is one of the connection, and trying again goes on
 */
export async function download(options: DownloadOptions, signal: AbortSignal): Promise<void> {
  const { path, bytes, sha256 } = options;
  let from = await stat(path).then(({ size }) => size, () => 0);
  if (from > bytes) { await unlink(path); from = 0; }
  await requireRoom(path, bytes - from);
  if (from < bytes) await fetchRest(options, from, signal);
  const found = await sha256Of(path);
  if (found === sha256) return;
  await unlink(path);
  throw new DownloadError(`what came has SHA-256 ${found.slice(0, 12)}…, not ${sha256.slice(0, 12)}…`);
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest('hex');
}

async function requireRoom(path: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path));
  if (bavail * bsize < needed + reserveBytes) throw new DownloadError(`${dirname(path)} has ${megabytes(bavail * bsize)} free, and ${megabytes(needed + reserveBytes)} are needed`);
}

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;

async function fetchRest({ path, bytes, sha256, reach, onProgress }: DownloadOptions, from: number, signal: AbortSignal): Promise<void> {
  const file = await open(path, 'a', 0o755).catch((error: Error) => { throw new DownloadError(`cannot write beside the program: ${error.message}`); });
  let at = from;
  try {
    for await (const chunk of await get(reach, sha256, from, signal)) {
      at += chunk.length;
      if (at > bytes) throw new DownloadError(`more than the announced ${bytes} bytes came`);
      await file.appendFile(chunk).catch((error: Error) => { throw new DownloadError(`cannot write it: ${error.message}`); });
      onProgress(at);
    }
    if (at < bytes) throw new Error(`the connection ended after ${at} of ${bytes} bytes`);
    await file.chmod(0o755);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The candidate's bytes from `from` on. The server is known to be the master before anything is asked of it. */
async function* get({ server, ...trust }: Reach, sha256: string, from: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  const url = new URL(`${binaryPath}?sha256=${sha256}`, server);
  const { socket } = await connectSecurely({ ...trust, url, name: masterName, timeoutMs: silenceMs, signal });
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const req = request({ createConnection: () => socket, host: url.hostname, port: url.port, path: url.pathname + url.search, signal, headers: { Connection: 'close', Range: `bytes=${from}-` } }, resolve);
      req.on('error', reject);
      req.end();
    });
    socket.setTimeout(silenceMs, () => socket.destroy(new Error(`nothing came for ${silenceMs / 1000} s`)));
    if (answer.statusCode !== 206) {
      const body = await readBody(answer);
      const why = `the master answered HTTP ${answer.statusCode ?? 0}: ${messageOf(body) || body.slice(0, 200)}`;
      throw answer.statusCode === 404 || answer.statusCode === 403 ? new DownloadError(why) : new Error(why);
    }
    yield* answer as AsyncIterable<Buffer>;
  } finally {
    socket.destroy();
  }
}
