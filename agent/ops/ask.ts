import { connect } from 'node:net';
import * as v from 'valibot';
import { diskStatus } from './disk-status.ts';
import { AgentStatus, StatusFailure } from './status.ts';
import { maxSocketPath, socketPath } from './status-socket.ts';
import { holderOf } from '../state/lock.ts';

const patienceMs = 10_000;
const maxBytes = 64 * 1024 * 1024;

/** The status of the agent with a data directory: its own answer, or, when it does not run, what its files tell. @throws StatusFailure, or an error with `code`; one line for the user */
export async function askStatus(dataDir: string): Promise<AgentStatus> {
  const path = socketPath(dataDir);
  try {
    if (Buffer.byteLength(path) > maxSocketPath) throw Object.assign(new Error(`${path} is too long for a socket`), { code: 'ENOENT' });
    return readStatus(await ask(path), path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES') throw new StatusFailure(`${dataDir} may be read by root only`);
    if (code === 'ENOTDIR') throw new StatusFailure(`${dataDir} is no agent's data directory: it is a file`);
    if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error;
    const pid = await holderOf(`${dataDir}/state`);
    const status = await diskStatus(dataDir);
    // A living process has the state: the agent is coming up, going down, or could not make its socket.
    return pid === undefined ? status : { ...status, state: 'not connected', pid, problems: [...status.problems, `process ${pid} runs this agent and does not answer: ${message}`] };
  }
}

function ask(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = connect(path);
    socket.setTimeout(patienceMs, () => socket.destroy(new StatusFailure(`the agent does not answer on ${path} within ${patienceMs / 1000} s`)));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if ((size += chunk.length) > maxBytes) socket.destroy(new StatusFailure(`the answer on ${path} has no end`));
    });
    socket.on('error', reject);
    socket.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    socket.on('close', () => reject(new StatusFailure(`the agent ended the connection on ${path}`)));
  });
}

function readStatus(text: string, path: string): AgentStatus {
  try {
    return v.parse(AgentStatus, JSON.parse(text));
  } catch (error) {
    throw new StatusFailure(`the answer on ${path} is not understood (an agent of another version?): ${(error as Error).message}`);
  }
}
