import { resetCode } from '../spdy/frames.ts';
import { SpdyConnection, type SpdyStream } from '../spdy/connection.ts';
import { SizeReader, statusText, type AgentCommand } from './agent-command.ts';
import type { CommandOptions } from './command-options.ts';
import type { Transport } from './transport.ts';

/** Newest first: v4 has exit codes, v3 terminal sizes. */
export const spdyCommandProtocols = ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'] as const;

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';

/** How long a client may take to open its streams. */
const creationMs = 30_000;

/** Joins the streams that a client opens with a command, until either ends. Never rejects. */
export async function serveOverSpdy(transport: Transport, protocol: string, command: AgentCommand, options: CommandOptions, pingMs: number): Promise<void> {
  const gathering = new Gathering(expectedStreams(protocol, options));
  const connection = new SpdyConnection({ transport, pingMs, onStream: (stream) => gathering.add(stream) });
  const reading = connection.run().then(() => { gathering.giveUp(); command.abandon(); });
  const late = setTimeout(() => connection.close(), creationMs);
  const streams = await gathering.all;
  clearTimeout(late);
  if (streams) await serve(streams, protocol, command);
  connection.close();
  await reading;
}

function expectedStreams(protocol: string, { stdin, stdout, stderr, tty }: CommandOptions): Set<StreamType> {
  const sized = tty && /^v[34]\./.test(protocol);
  return new Set<StreamType>(['error', ...(stdin ? ['stdin' as const] : []), ...(stdout ? ['stdout' as const] : []), ...(stderr ? ['stderr' as const] : []), ...(sized ? ['resize' as const] : [])]);
}

/** Waits until the client has opened every stream that it asked for. */
class Gathering {
  /** Undefined when the connection ended before. */
  readonly all: Promise<ReadonlyMap<string, SpdyStream> | undefined>;
  readonly giveUp: () => void;
  readonly #missing: Set<StreamType>;
  readonly #streams = new Map<string, SpdyStream>();
  readonly #resolve: (streams: ReadonlyMap<string, SpdyStream> | undefined) => void;

  constructor(missing: Set<StreamType>) {
    let resolve: (streams: ReadonlyMap<string, SpdyStream> | undefined) => void = () => {};
    this.all = new Promise((settle) => { resolve = settle; });
    this.#resolve = resolve;
    this.giveUp = () => resolve(undefined);
    this.#missing = missing;
  }

  add(stream: SpdyStream): void {
    const type = stream.headers.get('streamtype') ?? '';
    if (!this.#missing.delete(type as StreamType)) return stream.reset(resetCode.refused);
    this.#streams.set(type, stream);
    if (this.#missing.size === 0) this.#resolve(this.#streams);
  }
}

async function serve(streams: ReadonlyMap<string, SpdyStream>, protocol: string, command: AgentCommand): Promise<void> {
  void feedStdin(streams.get('stdin'), command);
  void feedSizes(streams.get('resize'), command);
  const outputs = { 1: streams.get('stdout'), 2: streams.get('stderr') };
  await command.deliver({
    output: (channel, bytes) => outputs[channel]?.write(bytes),
    status: (status) => streams.get('error')!.write(protocol.startsWith('v4.') ? status : statusText(status)),
  });
  for (const stream of streams.values()) stream.end();
}

/** Never rejects: what ends the stream early ends the connection, or is the client's affair. */
async function feedStdin(stream: SpdyStream | undefined, command: AgentCommand): Promise<void> {
  if (!stream) return;
  try {
    for (let bytes = await stream.read(); bytes; bytes = await stream.read()) await command.stdin(bytes);
  } catch {
    // Reset: no more of it.
  }
  await command.endStdin();
}

async function feedSizes(stream: SpdyStream | undefined, command: AgentCommand): Promise<void> {
  if (!stream) return;
  const sizes = new SizeReader();
  try {
    for (let bytes = await stream.read(); bytes; bytes = await stream.read()) for (const size of sizes.push(bytes)) await command.resize(size);
  } catch {
    // Reset: no more of it.
  }
}
