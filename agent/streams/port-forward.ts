import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ByteStream } from '../../shared/byte-stream.ts';
import { carry, resetSocket, SocketReader } from '../../shared/carry.ts';
import { PacedWriter } from '../../shared/paced-writer.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { notFound, StatusError } from '../../shared/status.ts';

export type PortForwardRequest = Extract<StreamRequest, { type: 'portForward' }>;
export type RelayRequest = Extract<StreamRequest, { type: 'relay' }>;

export interface PortForwardOptions {
  /** Where the pod's ports are: its address, or the node's own for a pod of the host's network; `''` while it has none; undefined when it is not here. */
  readonly address: (request: { readonly namespace: string; readonly pod: string; readonly uid: string }) => string | undefined;
}

/** A pod on this machine answers or refuses at once. */
const connectMs = 10_000;

/**
 * One TCP connection to a port of a pod: sends what the pod sends, and the pod what comes from `stream`; either direction
 * ends by itself. Yields nothing: each piece would pass through more hands.
 * @throws StatusError when the port cannot be reached
 */
export async function* portForward(request: PortForwardRequest, stream: ByteStream, options: PortForwardOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const reader = new SocketReader();
  const socket = await open(request, options, reader, signal);
  const stop = (): void => { socket.destroy(); };
  if (signal.aborted) return stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const fed = feed(stream, socket);
    for (let bytes = await reader.next(); bytes; bytes = await reader.next()) await stream.write(bytes);
    stream.end();
    await fed;
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

/** Says that the pod has accepted. */
const connected = Uint8Array.of(0);

/** The same for a connection from another node's service proxy, byte-exact: what a reset is to one side is one to the other. */
export async function* relay(request: RelayRequest, stream: ByteStream, options: PortForwardOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const reader = new SocketReader();
  const socket = await open(request, options, reader, signal);
  try {
    yield connected;
    await carry(socket, reader, stream);
  } finally {
    resetSocket(socket);
  }
}

async function open({ namespace, pod, uid, port }: PortForwardRequest | RelayRequest, options: PortForwardOptions, reader: SocketReader, signal: AbortSignal): Promise<Socket> {
  const host = options.address({ namespace, pod, uid });
  if (host === undefined) throw notFound({ group: '', plural: 'pods', kind: 'Pod' }, pod);
  if (host === '') throw new StatusError(500, '', `pod not running: ${pod}`);
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true, onread: reader.onread });
  reader.follow(socket);
  try {
    await once(socket, 'connect', { signal: AbortSignal.any([signal, AbortSignal.timeout(connectMs)]) });
    // What fails from now on is the end of the bytes.
    socket.on('error', () => socket.destroy());
    return socket;
  } catch (error) {
    socket.on('error', () => {});
    // Whoever went away meanwhile may be accepted all the same: the pod is told so by a reset, once it has.
    if (signal.aborted) socket.resetAndDestroy();
    else socket.destroy();
    const { code } = error as NodeJS.ErrnoException;
    throw new StatusError(502, '', `dial tcp4 ${host}:${port}: ${code === 'ECONNREFUSED' ? 'connect: connection refused' : (error as Error).message}`);
  }
}

/** Never rejects. */
async function feed(stream: ByteStream, socket: Socket): Promise<void> {
  try {
    const writer = new PacedWriter(socket);
    await stream.flow((bytes) => writer.write([bytes]));
    writer.flush();
    socket.end();
  } catch {
    socket.destroy();
  }
}
