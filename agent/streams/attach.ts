import type { ByteStream } from '../../shared/byte-stream.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import type { ProcessStreams } from '../runtime/runtime.ts';
import { feed, OutputFrames, refusal, runningContainer, startedFrame, statusFrame, type ProcessOptions } from './process.ts';

export type AttachRequest = Extract<StreamRequest, { type: 'attach' }>;

/**
 * Connects to a container's own process: yields what it writes from now on as frames (shared/stream-frames.ts), while it
 * reads the client's from `stream`. Ends with the container, or lets it go on when `signal` aborts.
 * @throws StatusError before the first frame when it does not run
 */
export async function* attach(request: AttachRequest, stream: ByteStream, options: ProcessOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const streams = await connect(request, options);
  const close = (): void => streams.close();
  if (signal.aborted) return close();
  signal.addEventListener('abort', close, { once: true });
  try {
    yield startedFrame();
    void feed(stream, streams);
    const frames = new OutputFrames();
    for await (const output of streams.output) yield frames.of(output);
    yield statusFrame({ status: 'Success' });
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
}

async function connect(request: AttachRequest, options: ProcessOptions): Promise<ProcessStreams> {
  const id = runningContainer(request, options);
  try {
    return await options.runtime.attach(id, request);
  } catch (error) {
    throw refusal(error, request.container);
  }
}
