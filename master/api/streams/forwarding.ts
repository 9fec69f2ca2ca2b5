import type { ByteStream } from '../../../shared/byte-stream.ts';

/** The client's end of one forwarded connection. */
export interface ForwardClient {
  /** The next bytes of the client, undefined when it ends its direction. Rejects when it is gone. */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when the client may be sent more. */
  write(bytes: Uint8Array): Promise<void>;
}

export interface Forwarding {
  /** Opens a connection to a port of the pod. @throws StreamReset when its node is not connected */
  open(port: number): ByteStream;
  /** The sentence that a failed connection is told as. */
  describe(port: number, why: string): string;
}

/**
 * Carries one connection, until the pod has ended it. Gives the reason when it failed for another than that the client
 * is gone. Never rejects.
 */
export async function forward(forwarding: Forwarding, port: number, client: ForwardClient): Promise<string | undefined> {
  let stream: ByteStream;
  try {
    stream = forwarding.open(port);
  } catch (error) {
    return forwarding.describe(port, (error as Error).message);
  }
  let gone = false;
  void upload(stream, client).then((ended) => { gone = !ended; });
  try {
    for (let bytes = await stream.read(); bytes; bytes = await stream.read()) await client.write(bytes);
    return undefined;
  } catch (error) {
    return gone ? undefined : forwarding.describe(port, (error as Error).message);
  }
}

/** True when the client ended its direction in order. Never rejects. */
async function upload(stream: ByteStream, client: ForwardClient): Promise<boolean> {
  try {
    for (let bytes = await client.read(); bytes; bytes = await client.read()) await stream.write(bytes).catch(() => undefined);
    stream.end();
    return true;
  } catch {
    stream.reset(499, 'the client went away');
    return false;
  }
}
