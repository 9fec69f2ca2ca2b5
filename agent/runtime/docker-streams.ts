import type { ProcessOutput } from './runtime.ts';

/** Payloads of {@link demultiplexed}, whichever stream they are of. */
export async function* demultiplex(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const { bytes } of demultiplexed(chunks)) yield bytes;
}

/**
 * Payloads of Docker's multiplexed streams: frames of `[stream, 0, 0, 0, length (4, big-endian)]` and that many bytes.
 * Standard output and error stay in the order in which they came. A frame is passed on as it arrives, in pieces.
 */
export async function* demultiplexed(chunks: AsyncIterable<Uint8Array>): AsyncIterable<ProcessOutput> {
  const header = Buffer.alloc(8);
  let have = 0;
  let left = 0;
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      if (left === 0) {
        const take = Math.min(8 - have, chunk.length - at);
        header.set(chunk.subarray(at, at + take), have);
        have += take;
        at += take;
        if (have < 8) break;
        have = 0;
        left = header.readUInt32BE(4);
        continue;
      }
      const piece = chunk.subarray(at, at + left);
      left -= piece.length;
      at += piece.length;
      yield { from: header[0] === 2 ? 2 : 1, bytes: piece };
    }
  }
}

/** Lines of a UTF-8 stream, without their ends; empty ones are dropped. */
export async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part.trim()) yield part;
  }
  if (rest.trim()) yield rest;
}
