import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { SocketReader } from '../../shared/carry.ts';
import { pacedWrite } from '../../shared/paced-write.ts';
import { demultiplexed } from './docker-streams.ts';
import type { ProcessOutput, ProcessStreams } from './runtime.ts';

/**
 * Keys that make the engine let go of a terminal. It cannot be told to have none, and its own (Ctrl-P Ctrl-Q) would
 * take Ctrl-P from every shell; nobody types these.
 */
export const detachKeys = 'ctrl-^,ctrl-@,ctrl-^,ctrl-_,ctrl-^,ctrl-@,ctrl-^,ctrl-_';

interface ProcessOptions {
  /** With a terminal, the engine does not say which stream bytes are of. */
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly resize: (width: number, height: number) => Promise<void>;
}

/** A connection that the engine has given over to a process' streams. */
export class DockerProcess implements ProcessStreams {
  readonly output: AsyncIterable<ProcessOutput>;
  readonly resize: (width: number, height: number) => Promise<void>;
  readonly #socket: Duplex;

  constructor(socket: Duplex, { tty, stdin, resize }: ProcessOptions) {
    this.#socket = socket;
    this.resize = resize;
    // The engine ends its side by closing; an error tells nothing beyond that.
    socket.on('error', () => socket.destroy());
    const bytes = untilClosed(socket);
    this.output = tty ? asOutput(bytes) : demultiplexed(bytes);
    if (!stdin) socket.end();
  }

  write(bytes: Uint8Array): Promise<void> {
    return pacedWrite(this.#socket, bytes);
  }

  end(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }
}

async function* untilClosed(socket: Duplex): AsyncIterable<Uint8Array> {
  const reader = new SocketReader();
  reader.follow(socket, false);
  for (let bytes = await reader.next(); bytes; bytes = await reader.next()) yield bytes;
}

async function* asOutput(chunks: AsyncIterable<Uint8Array>): AsyncIterable<ProcessOutput> {
  for await (const bytes of chunks) yield { from: 1, bytes };
}

/**
 * Sizes a terminal, one call after the other; of several that wait the last counts. A process that was just started may
 * not have its terminal yet, so a refusal is not taken at once. Never rejects.
 */
export function resizeWith(resize: (size: { w: number; h: number }) => Promise<unknown>): (width: number, height: number) => Promise<void> {
  let wanted = { w: 0, h: 0 };
  let working: Promise<void> | undefined;
  const work = async (): Promise<void> => {
    for (let waitMs = 10; waitMs <= 320;) {
      const size = wanted;
      const done = await resize(size).then(() => true, () => false);
      if (done && size === wanted) return;
      if (!done) await delay(waitMs);
      if (!done) waitMs *= 2;
    }
  };
  return (w, h) => {
    wanted = { w, h };
    working ??= work().finally(() => { working = undefined; });
    return working;
  };
}

interface ExecState { readonly Running: boolean; readonly Pid: number }

/** How long what was hung up may take to end by itself. */
const hangUpMs = 2_000;

/**
 * Ends an exec's process and those of its session's first process group. The engine has no call for it: the process is
 * looked up by its number, once it is sure that it is of that container, and is left alone otherwise. Never rejects.
 */
export async function hangUp(container: string, inspect: () => Promise<ExecState>): Promise<void> {
  try {
    if (!await signalled(container, await inspect(), 'SIGHUP')) return;
    await delay(hangUpMs);
    await signalled(container, await inspect(), 'SIGKILL');
  } catch {
    // It has ended, or its container has.
  }
}

async function signalled(container: string, { Running, Pid }: ExecState, signal: NodeJS.Signals): Promise<boolean> {
  if (!Running || Pid <= 1) return false;
  const cgroups = await readFile(`/proc/${Pid}/cgroup`, 'utf8');
  if (!cgroups.includes(container)) return false;
  process.kill(Pid, signal);
  // The engine starts each command in a session of its own.
  process.kill(-Pid, signal);
  return true;
}
