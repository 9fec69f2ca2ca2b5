import { resetCode } from '../spdy/frames.ts';
import { SpdyConnection, type SpdyStream } from '../spdy/connection.ts';
import { forward, type Forwarding } from './forwarding.ts';
import type { Transport } from './transport.ts';

export const spdyPortProtocols = ['portforward.k8s.io'] as const;

/** A data and an error stream make a connection; the other of a pair must follow within this time. */
const pairMs = 30_000;

type PairPart = 'data' | 'error';
interface Pair { readonly port: number; data?: SpdyStream; error?: SpdyStream; readonly late: NodeJS.Timeout }

/**
 * Serves port-forwards over SPDY: the client opens two streams for each connection, `error` and `data`, that name the
 * port and share a request id. Resolves when the connection is over. Never rejects.
 */
export async function servePortsOverSpdy(transport: Transport, forwarding: Forwarding, pingMs: number): Promise<void> {
  const pairs = new Map<string, Pair>();
  const connection = new SpdyConnection({ transport, pingMs, onStream: (stream) => added(stream, pairs, forwarding) });
  await connection.run();
  for (const { late } of pairs.values()) clearTimeout(late);
}

function added(stream: SpdyStream, pairs: Map<string, Pair>, forwarding: Forwarding): void {
  const part = stream.headers.get('streamtype') ?? '';
  const port = Number(stream.headers.get('port') ?? '');
  if ((part !== 'data' && part !== 'error') || !Number.isInteger(port) || port < 1 || port > 0xffff) return stream.reset(resetCode.refused);
  const id = requestId(stream, part);
  const pair = pairs.get(id) ?? begun(pairs, id, port);
  if (pair[part]) return stream.reset(resetCode.refused);
  pair[part] = stream;
  if (!pair.data || !pair.error) return;
  clearTimeout(pair.late);
  pairs.delete(id);
  void carry(pair.data, pair.error, pair.port, forwarding);
}

/** Clients of old name no request: their data stream follows its error stream. */
const requestId = (stream: SpdyStream, part: PairPart): string => stream.headers.get('requestid') || `stream ${part === 'error' ? stream.id : stream.id - 2}`;

function begun(pairs: Map<string, Pair>, id: string, port: number): Pair {
  const pair: Pair = {
    port, late: setTimeout(() => {
      pairs.delete(id);
      void pair.error?.write(Buffer.from(`(request=${id}) timed out waiting for streams`));
      pair.error?.end();
      pair.data?.reset(resetCode.cancel);
    }, pairMs),
  };
  pairs.set(id, pair);
  return pair;
}

async function carry(data: SpdyStream, error: SpdyStream, port: number, forwarding: Forwarding): Promise<void> {
  const failure = await forward(forwarding, port, data);
  if (failure !== undefined) await error.write(Buffer.from(failure));
  // The client waits for both before it closes its own connection.
  error.end();
  data.end();
}
