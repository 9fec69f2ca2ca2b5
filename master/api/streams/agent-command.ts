import { StreamReset, type ByteStream } from '../../../shared/byte-stream.ts';
import { internalError, type StatusError } from '../../../shared/status.ts';
import { channels, FrameReader, resizeFrame, streamFrame, type TerminalSize } from '../../../shared/stream-frames.ts';

/** Where what a command says goes: a client, over whichever transport. */
export interface CommandClient {
  /** Bytes are the caller's again. A promise asks to wait until the client may be sent more. */
  output(channel: 1 | 2, bytes: Uint8Array): Promise<void> | undefined;
  /** How it ended: a Status, once, last. */
  status(status: Uint8Array): Promise<void> | undefined;
}

/** The agent's end of an exec or attach. */
export class AgentCommand {
  readonly #stream: ByteStream;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** Resolves when the agent has said that the process runs. @throws StreamReset with the agent's refusal */
  async started(): Promise<void> {
    await this.#stream.arrived();
    if (this.#stream.failure) throw this.#stream.failure;
  }

  /** Resolves when the process may be sent more; nothing when it has ended. */
  stdin(bytes: Uint8Array): Promise<void> {
    return this.#send(streamFrame(channels.stdin, bytes));
  }

  endStdin(): Promise<void> {
    return this.#send(streamFrame(channels.close, Buffer.from([channels.stdin])));
  }

  resize(size: TerminalSize): Promise<void> {
    return this.#send(resizeFrame(size));
  }

  /** The client is gone: ends an exec's process. */
  abandon(): void {
    this.#stream.reset(499, 'the client went away');
  }

  /** Passes on what the process writes, and at last how it ended. Never rejects. */
  async deliver(client: CommandClient): Promise<void> {
    try {
      await client.status(await this.#deliver(client));
    } catch (error) {
      await client.status(asStatus(internalError((error as Error).message)))?.catch(() => undefined);
    }
    this.#stream.end();
  }

  async #deliver(client: CommandClient): Promise<Uint8Array> {
    const reader = new FrameReader();
    let status: Uint8Array | undefined;
    await this.#stream.flow((chunk) => {
      let held: Promise<void> | undefined;
      for (const { channel, bytes } of reader.push(chunk)) {
        if (bytes.length === 0) continue;
        if (channel === channels.status) status = bytes;
        else if (channel === channels.stdout || channel === channels.stderr) held = client.output(channel, bytes) ?? held;
      }
      return held;
    });
    if (!status) throw new StreamReset(500, 'the node ended the stream without a status');
    return status;
  }

  async #send(frame: Uint8Array): Promise<void> {
    await this.#stream.write(frame).catch(() => undefined);
  }
}

/** A Status as the error channel carries it. */
export const asStatus = (error: StatusError): Uint8Array => Buffer.from(JSON.stringify(error.toStatus()));

/** A Status as the error channel of protocols before v4 carries it: the message of a failure. */
export function statusText(status: Uint8Array): Uint8Array {
  const { status: outcome, message = '' } = JSON.parse(Buffer.from(status).toString()) as { status?: string; message?: string };
  return outcome === 'Success' ? new Uint8Array(0) : Buffer.from(message);
}

const maxSizeText = 1024;

/** Terminal sizes (`{"Width":80,"Height":24}`) from a sequence of JSON documents, however it is cut. What is no size is passed over. */
export class SizeReader {
  #text = '';

  *push(chunk: Uint8Array): Generator<TerminalSize> {
    this.#text += Buffer.from(chunk).toString('latin1');
    for (let end = this.#text.indexOf('}'); end >= 0; end = this.#text.indexOf('}')) {
      const size = readSize(this.#text.slice(0, end + 1));
      this.#text = this.#text.slice(end + 1);
      if (size) yield size;
    }
    if (this.#text.length > maxSizeText) this.#text = '';
  }
}

const isDimension = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff;

function readSize(text: string): TerminalSize | undefined {
  try {
    const { Width: width, Height: height } = JSON.parse(text) as { Width?: unknown; Height?: unknown };
    return isDimension(width) && isDimension(height) ? { width, height } : undefined;
  } catch {
    return undefined;
  }
}
