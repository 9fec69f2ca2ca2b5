import type { ByteStream } from '../shared/byte-stream.ts';
import type { StreamRequest } from '../shared/protocol.ts';

/** A node that does not answer for this long is asked again later. */
const limitMs = 120_000;

/**
 * Has a node remove the directory of a volume; see controllers/volume-reclaim.ts.
 * @throws StreamReset when the node is not connected, or says why it does not
 */
export async function removeVolume(openStream: (node: string, request: StreamRequest) => ByteStream, node: string, volume: string, path: string): Promise<void> {
  const stream = openStream(node, { type: 'removeVolume', volume, path });
  const timer = setTimeout(() => stream.reset(504, `node "${node}" has not removed ${path} in time`), limitMs);
  try {
    stream.end();
    for await (const _ of stream);
  } finally {
    clearTimeout(timer);
  }
}
