import type { ByteStream } from '../../shared/byte-stream.ts';
import { notFound, StatusError, type StatusDetails } from '../../shared/status.ts';
import { channels, frameHeadBytes, FrameReader, putFrameHead, readSize, streamFrame, type FramePiece } from '../../shared/stream-frames.ts';
import { RuntimeError, type ProcessOutput, type ProcessStreams, type Runtime } from '../runtime/runtime.ts';

/** Whose container is meant. */
export interface ContainerRequest { readonly namespace: string; readonly pod: string; readonly uid: string; readonly container: string }

export interface ProcessOptions {
  readonly runtime: Runtime;
  /** Id of the running container, `''` when it does not run; undefined when no such pod is on this node. */
  readonly running: (request: ContainerRequest) => string | undefined;
}

/** The container's id. @throws StatusError in the kubelet's words */
export function runningContainer(request: ContainerRequest, options: ProcessOptions): string {
  const id = options.running(request);
  if (id === undefined) throw notFound({ group: '', plural: 'pods', kind: 'Pod' }, request.pod);
  if (id === '') throw containerNotFound(request.container);
  return id;
}

export const containerNotFound = (name: string): StatusError => new StatusError(404, 'NotFound', `container not found ("${name}")`);

/** An engine's refusal as the master is told it. */
export function refusal(error: unknown, container: string): unknown {
  if (!(error instanceof RuntimeError)) return error;
  if (error.fault === 'notFound' || error.fault === 'conflict') return containerNotFound(container);
  return new StatusError(error.fault === 'unreachable' ? 503 : 500, '', error.message);
}

/** Hands what the client sends to the process, until either is over. Never rejects. */
export async function feed(stream: ByteStream, streams: ProcessStreams): Promise<void> {
  const reader = new FrameReader();
  try {
    for (let chunk = await stream.read(); chunk; chunk = await stream.read()) {
      for (const piece of reader.push(chunk)) await take(piece, streams);
    }
    streams.end();
  } catch {
    // The client went away, or sends what is no frame.
    streams.close();
  }
}

async function take({ channel, bytes }: FramePiece, streams: ProcessStreams): Promise<void> {
  if (channel === channels.stdin) return streams.write(bytes);
  if (channel === channels.close && bytes[0] === channels.stdin) return streams.end();
  const size = channel === channels.resize ? readSize(bytes) : undefined;
  // Not waited for: it may take a while, and what was typed must not wait.
  if (size) void streams.resize(size.width, size.height);
}

/** Makes frames of output in one buffer: each is good until the next, which is made once it has been sent. */
export class OutputFrames {
  #buffer = Buffer.alloc(0);

  of({ from, bytes }: ProcessOutput): Uint8Array {
    const size = frameHeadBytes + bytes.length;
    if (size > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(size);
    putFrameHead(this.#buffer, from, bytes.length);
    this.#buffer.set(bytes, frameHeadBytes);
    return this.#buffer.subarray(0, size);
  }
}

/** The first frame: the process runs. */
export const startedFrame = (): Uint8Array => streamFrame(channels.status, new Uint8Array(0));

export function statusFrame(status: { readonly status: 'Success' | 'Failure'; readonly message?: string; readonly reason?: string; readonly details?: StatusDetails; readonly code?: number }): Uint8Array {
  return streamFrame(channels.status, Buffer.from(JSON.stringify({ metadata: {}, ...status })));
}
