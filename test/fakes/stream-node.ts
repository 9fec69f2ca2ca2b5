import { Channel } from '../../shared/channel.ts';
import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import type { StreamRequest } from '../../shared/protocol.ts';

/** The link between master and agent, without a session around it. */
export class FakeStreamNode {
  readonly master: Channel;
  readonly agent: Channel;
  readonly #serve: (request: StreamRequest, stream: ByteStream, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  connected = true;

  constructor(serve: (request: StreamRequest, stream: ByteStream, signal: AbortSignal) => AsyncIterable<Uint8Array>) {
    this.#serve = serve;
    const side = (name: 'master' | 'agent', other: () => Channel): Channel => new Channel({
      side: name, bufferedBytes: () => 0,
      send: (frame, sent) => { const copy = Uint8Array.from(frame); setImmediate(() => { other().receive(copy); sent?.(); }); },
    });
    this.master = side('master', () => this.agent);
    this.agent = side('agent', () => this.master);
  }

  open(request: StreamRequest): ByteStream {
    if (!this.connected) throw new StreamReset(503, 'node "n1" is not connected');
    const stream = this.master.open();
    setImmediate(() => void this.#run(this.agent.accept(stream.id), request));
    return stream;
  }

  async #run(stream: ByteStream, request: StreamRequest): Promise<void> {
    const abort = new AbortController();
    stream.onReset(() => abort.abort());
    try {
      for await (const chunk of this.#serve(request, stream, abort.signal)) await stream.write(chunk);
      stream.end();
      stream.discard();
    } catch (error) {
      stream.reset((error as { code?: number }).code ?? 500, (error as Error).message);
    }
  }
}
