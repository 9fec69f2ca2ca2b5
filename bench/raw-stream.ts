import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { usage } from './cluster.ts';
import type { Target } from './http-load.ts';
import { inTurn, note, report } from './report.ts';

const rounds = 5;
const seconds = 3;

export interface RawOptions {
  readonly target: Target;
  /** Of master and agent. */
  readonly processes: readonly number[];
  /** Where the pod's bytes come from. */
  readonly source: number;
  /** Gb/s that one reader receives through socat. */
  readonly baseline: () => Promise<number>;
}

/**
 * `streams.raw` (Gb/s of a port-forward to a client that speaks WebSocket itself and only counts bytes, so that kubectl's
 * part is left out; baseline: through socat) and `streams.cpu` (CPU seconds that master and agent together spend on each GB of it).
 */
export async function rawStream(options: RawOptions): Promise<void> {
  const cpu: number[] = [];
  const { value, baseline } = await inTurn(rounds, () => received(options, cpu), options.baseline);
  const perGB = cpu.sort((a, b) => a - b)[cpu.length >> 1] ?? 0;
  note(`raw WebSocket ${value.toFixed(2)} Gb/s, socat ${baseline.toFixed(2)} Gb/s; master and agent ${perGB.toFixed(2)} CPU s/GB`);
  report('streams.raw', value, 'Gb/s of a port-forward to a client that only counts; baseline: socat', baseline);
  report('streams.cpu', perGB, 'CPU seconds of master and agent together per GB of it');
}

async function received({ target, processes, source }: RawOptions, cpu: number[]): Promise<number> {
  const socket = await upgraded(target, `/api/v1/namespaces/default/pods/shell/portforward?ports=${source}`);
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => { bytes += chunk.length; });
  await pause(500);
  const spent = (): number => processes.reduce((sum, pid) => sum + usage(pid).cpuSeconds, 0);
  const [before, started, spentBefore] = [bytes, performance.now(), spent()];
  await pause(seconds * 1_000);
  const [count, ms] = [bytes - before, performance.now() - started];
  cpu.push((spent() - spentBefore) / (count / 1e9));
  socket.destroy();
  return (count * 8) / 1e6 / ms;
}

/** A connection whose bytes from now on are WebSocket messages of the server. */
async function upgraded({ host, port, ca, cert, key }: Target, path: string): Promise<TLSSocket> {
  const socket = connect({ host, port, ca, cert, key });
  await once(socket, 'secureConnect');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n`);
  const [first] = await once(socket, 'data') as [Buffer];
  if (!first.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(first.toString('latin1'));
  return socket;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });
