import type { ByteStream } from '../../shared/byte-stream.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { internalError } from '../../shared/status.ts';
import type { ExecStreams, ProcessOutput } from '../runtime/runtime.ts';
import { feed, OutputFrames, refusal, runningContainer, startedFrame, statusFrame, type ProcessOptions } from './process.ts';

export type ExecRequest = Extract<StreamRequest, { type: 'exec' }>;

/**
 * Runs a command in a container and yields its frames (shared/stream-frames.ts), while it reads the client's from
 * `stream`. Ends with the command's status; when `signal` aborts, the command is hung up.
 * @throws StatusError before the first frame when it cannot be started
 */
export async function* exec(request: ExecRequest, stream: ByteStream, options: ProcessOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const streams = await start(request, options);
  const hangUp = (): void => { streams.close(); void streams.hangUp(); };
  if (signal.aborted) return hangUp();
  signal.addEventListener('abort', hangUp, { once: true });
  try {
    yield startedFrame();
    void feed(stream, streams);
    const failure: Uint8Array[] = [];
    const frames = new OutputFrames();
    for await (const output of held(streams.output, failure)) yield frames.of(output);
    if (!signal.aborted) yield* ending(await streams.exitCode(signal), request.command, failure);
  } finally {
    signal.removeEventListener('abort', hangUp);
    streams.close();
  }
}

async function start(request: ExecRequest, options: ProcessOptions): Promise<ExecStreams> {
  const id = runningContainer(request, options);
  try {
    return await options.runtime.openExec(id, request.command, request);
  } catch (error) {
    throw refusal(error, request.container);
  }
}

/** How the engine begins when it could not start the command: it says so where the command's output would be. */
const notStarted = Buffer.from('OCI runtime exec failed: ');

/** Passes the output on, but for the engine's own complaint, which is put into `failure`. */
async function* held(output: AsyncIterable<ProcessOutput>, failure: Uint8Array[]): AsyncIterable<ProcessOutput> {
  let first = true;
  for await (const piece of output) {
    if (first && notStarted.equals(piece.bytes.subarray(0, notStarted.length))) failure.push(Buffer.from(piece.bytes));
    else yield piece;
    first = false;
  }
}

function* ending(code: number, command: readonly string[], failure: readonly Uint8Array[]): Iterable<Uint8Array> {
  const complaint = Buffer.concat(failure);
  if (complaint.length > 0 && (code === 126 || code === 127)) {
    const { message, reason, details, code: status } = internalError(`error executing command in container: ${complaint.toString().trim()}`);
    yield statusFrame({ status: 'Failure', message, reason, ...(details ? { details } : {}), code: status });
    return;
  }
  if (complaint.length > 0) yield new OutputFrames().of({ from: 1, bytes: complaint });
  yield code === 0 ? statusFrame({ status: 'Success' }) : statusFrame({
    status: 'Failure', message: `command terminated with non-zero exit code: error executing command [${command.join(' ')}], exit code ${code}`,
    reason: 'NonZeroExitCode', details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  });
}
