import { ProtocolError } from './protocol.ts';

/**
 * What the byte stream of an exec or attach carries, with the numbers of `v5.channel.k8s.io`.
 *
 * ```
 * master → agent   stdin 0 bytes            resize 4 width(u16) height(u16)     close 255 [0]: end of stdin
 * agent → master   stdout 1 / stderr 2 bytes    status 3 JSON of a Status, last
 * ```
 * The agent's first frame is an empty status: the process runs. A refusal is a reset of the stream instead.
 */
export const channels = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

/** Largest payload of a frame that is not a piece of stdin, stdout or stderr. */
export const maxWhole = 64 * 1024;
export const frameHeadBytes = 5;

/** A frame: channel, length (u32 BE), payload. */
export function streamFrame(channel: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(frameHeadBytes + payload.length);
  putFrameHead(frame, channel, payload.length);
  frame.set(payload, frameHeadBytes);
  return frame;
}

/** Writes what comes before `length` bytes of payload to the beginning of `to`. */
export function putFrameHead(to: Buffer, channel: number, length: number): void {
  to[0] = channel;
  to.writeUInt32BE(length, 1);
}

export interface FramePiece { readonly channel: number; readonly bytes: Uint8Array }

/**
 * Takes frames apart, however the bytes are cut. Frames of stdin, stdout and stderr come out in pieces, as they arrive;
 * others whole, and to keep. An empty frame is one empty piece.
 */
export class FrameReader {
  readonly #header = Buffer.alloc(frameHeadBytes);
  #have = 0;
  #left = 0;
  #whole: Uint8Array[] = [];

  /** Whether all frames so far are complete. */
  get idle(): boolean {
    return this.#have === 0 && this.#left === 0;
  }

  /** @throws ProtocolError for a frame that must be whole and is too long */
  *push(chunk: Uint8Array): Generator<FramePiece> {
    for (let at = 0; at < chunk.length;) {
      if (this.#left === 0) {
        const take = Math.min(frameHeadBytes - this.#have, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + take), this.#have);
        at += take;
        this.#have += take;
        if (this.#have < frameHeadBytes) return;
        this.#have = 0;
        this.#begin();
        if (this.#left === 0) yield { channel: this.#header[0]!, bytes: new Uint8Array(0) };
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#left);
      at += bytes.length;
      this.#left -= bytes.length;
      const piece = this.#piece(bytes);
      if (piece) yield piece;
    }
  }

  #begin(): void {
    this.#left = this.#header.readUInt32BE(1);
    if (this.#header[0]! > channels.stderr && this.#left > maxWhole) throw new ProtocolError(`frame of ${this.#left} bytes on channel ${this.#header[0]}`);
  }

  #piece(bytes: Uint8Array): FramePiece | undefined {
    const channel = this.#header[0]!;
    if (channel <= channels.stderr) return { channel, bytes };
    this.#whole.push(Uint8Array.from(bytes));
    return this.#left > 0 ? undefined : { channel, bytes: Buffer.concat(this.#whole.splice(0)) };
  }
}

/** Columns and rows of a terminal. */
export interface TerminalSize { readonly width: number; readonly height: number }

export function resizeFrame({ width, height }: TerminalSize): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt16BE(width);
  payload.writeUInt16BE(height, 2);
  return streamFrame(channels.resize, payload);
}

/** Undefined for what is no size. */
export function readSize(bytes: Uint8Array): TerminalSize | undefined {
  if (bytes.length !== 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 4);
  return { width: view.getUint16(0), height: view.getUint16(2) };
}
