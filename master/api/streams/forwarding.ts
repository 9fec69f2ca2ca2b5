import type { ByteStream } from '../../../shared/byte-stream.ts';

/** The client's end of one forwarded connection. */
export interface ForwardClient {
  /** The next bytes of the client, undefined when it ends its direction. Rejects when it is gone. */
  read(): Promise<Uint8Array | undefined>;
  /** Sends bytes, which are the caller's again. A promise asks to wait until the client may be sent more. */
  write(bytes: Uint8Array): Promise<void> | undefined;
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
  void upload(stream, client, () => { gone = true; });
  try {
    await stream.flow((bytes) => client.write(bytes));
    return undefined;
  } catch (error) {
    return gone ? undefined : forwarding.describe(port, (error as Error).message);
  }
}

/** `lost` is called when the client is gone, before the stream hears of it. Never rejects. */
async function upload(stream: ByteStream, client: ForwardClient, lost: () => void): Promise<void> {
  try {
    for (let bytes = await client.read(); bytes; bytes = await client.read()) await stream.write(bytes).catch(() => undefined);
    stream.end();
  } catch {
    lost();
    stream.reset(499, 'the client went away');
  }
}
