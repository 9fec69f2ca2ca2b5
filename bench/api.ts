import { podDocument, startMaster, usage } from './cluster.ts';
import { startEtcd } from './etcd.ts';
import { Connection, rate, type Target } from './http-load.ts';
import { inTurn, median, note, report } from './report.ts';

const clients = 64;
const listed = 10_000;
const watchers = 1000;

/** Creates, gets, lists and watches of the API over TLS, against etcd and against doing it the plain way. */
export async function bench(): Promise<void> {
  const master = await startMaster();
  try {
    const connections = await Promise.all(Array.from({ length: clients }, () => Connection.open(master.target)));
    await creates(connections);
    await gets(connections);
    await lists(connections[0]!);
    await watchFanOut(master.target, connections[0]!, master.process.pid!);
    for (const connection of connections) connection.close();
  } finally {
    await master.stop();
  }
}

let serial = 0;
const create = async (connection: Connection): Promise<void> => {
  const answer = await connection.request('POST', '/api/v1/namespaces/default/pods', podDocument(`bench-${serial++}`));
  if (answer.status !== 201) throw new Error(`create: ${answer.status} ${answer.body.toString().slice(0, 300)}`);
};

async function creates(connections: readonly Connection[]): Promise<void> {
  const etcd = await startEtcd();
  const value = Buffer.alloc(2700, 'x');
  const etcdClients = connections.map(() => etcd.client());
  let key = 0;
  await create(connections[0]!);
  const ours = (): Promise<number> => rate(clients, 3000, (lane) => create(connections[lane]!));
  const theirs = (): Promise<number> => rate(clients, 3000, (lane) => etcdClients[lane]!.create(`/registry/pods/default/bench-${key++}`, value));
  const { value: mine, baseline } = await inTurn(3, ours, theirs);
  report('api.creates', mine, 'creates/s, 64 clients over TLS, durable; baseline: etcd create transactions by gRPC', baseline);
  for (const client of etcdClients) client.close();
  await etcd.stop();
}

async function gets(connections: readonly Connection[]): Promise<void> {
  const perSecond = await rate(clients, 3000, async (lane, turn) => {
    const answer = await connections[lane]!.request('GET', `/api/v1/namespaces/default/pods/bench-${(lane * 31 + turn) % serial}`);
    if (answer.status !== 200) throw new Error(`get: ${answer.status}`);
  });
  report('api.gets', perSecond, 'gets/s, 64 clients over TLS');
}

async function lists(connection: Connection): Promise<void> {
  while (serial < listed) await Promise.all(Array.from({ length: 1 }, () => create(connection)));
  const read = async (): Promise<{ ms: number; body: Buffer }> => {
    const started = performance.now();
    const answer = await connection.request('GET', `/api/v1/pods?limit=${listed}`);
    return { ms: performance.now() - started, body: answer.body };
  };
  const first = await read();
  const text = dechunk(first.body);
  const { items } = JSON.parse(text) as { items: unknown[] };
  note(`list of ${items.length} pods: ${(text.length / 1e6).toFixed(1)} MB`);
  const documents = items.map((item) => JSON.stringify(item));
  const plain = (): Promise<number> => {
    const started = performance.now();
    JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items: documents.map((document) => JSON.parse(document) as unknown) });
    return Promise.resolve(performance.now() - started);
  };
  const { value, baseline } = await inTurn(5, async () => (await read()).ms, plain);
  report('api.list10k', value, 'ms for 10,000 pods over TLS; baseline: decode and encode of the same, in memory', baseline);
}

function dechunk(body: Buffer): string {
  if (body[0] === 0x7b) return body.toString();
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const end = body.indexOf('\r\n', at);
    const size = Number.parseInt(body.subarray(at, end).toString('latin1'), 16);
    if (!size) break;
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts).toString();
}

/** Deliveries per second of CPU time: generator, watchers and master share the machine's two cores. */
async function watchFanOut(target: Target, connection: Connection, pid: number): Promise<void> {
  const { connect } = await import('node:tls');
  let received = 0;
  const sockets = await Promise.all(Array.from({ length: watchers }, () => new Promise<ReturnType<typeof connect>>((resolve, reject) => {
    const socket = connect({ host: target.host, port: target.port, ca: target.ca, cert: target.cert, key: target.key }, () => {
      socket.write('GET /api/v1/namespaces/fanout/configmaps?watch=1 HTTP/1.1\r\nhost: bench\r\naccept: application/json\r\n\r\n');
      socket.once('data', () => resolve(socket));
    });
    socket.on('error', reject);
    // Counts what arrives by event marker, without decoding it.
    socket.on('data', (chunk: Buffer) => { for (let at = chunk.indexOf('{"type":"'); at >= 0; at = chunk.indexOf('{"type":"', at + 9)) received++; });
  })));
  await connection.request('POST', '/api/v1/namespaces', JSON.stringify({ metadata: { name: 'fanout' } }));
  const writers = await Promise.all(Array.from({ length: 32 }, () => Connection.open(target)));
  const rates: number[] = [];
  const object = { metadata: { name: 'x' }, data: { text: 'y'.repeat(2000) } };
  for (let round = 0; round < 3; round++) {
    received = 0;
    const [started, cpu] = [performance.now(), usage(pid).cpuSeconds];
    const wanted = 640;
    await Promise.all(writers.map(async (writer, lane) => {
      for (let turn = 0; turn < wanted / writers.length; turn++) await writer.request('POST', '/api/v1/namespaces/fanout/configmaps', JSON.stringify({ ...object, metadata: { name: `c-${round}-${lane}-${turn}` } }));
    }));
    const expected = wanted * watchers;
    while (received < expected && performance.now() - started < 60_000) await new Promise((wake) => setTimeout(wake, 5));
    rates.push(received / ((performance.now() - started) / 1000));
    note(`watch round ${round}: ${received} of ${expected} events in ${(performance.now() - started).toFixed(0)} ms, master CPU ${(usage(pid).cpuSeconds - cpu).toFixed(2)} s`);
  }
  const sample = { type: 'ADDED', object: { ...object, metadata: { name: 'c-0-0-0', uid: 'x'.repeat(36), resourceVersion: '1' } } };
  const plainRound = (): number => {
    const started = performance.now();
    let bytes = 0;
    for (let index = 0; index < 60_000; index++) bytes += Buffer.from(`${JSON.stringify(sample)}\n`).length;
    return bytes > 0 ? 60_000 / ((performance.now() - started) / 1000) : 0;
  };
  report('api.watch_fanout', median(rates), 'events/s to 1,000 watchers over TLS, writes included; baseline: one stringify per watcher, in memory', median([plainRound(), plainRound(), plainRound()]));
  for (const socket of [...sockets]) socket.destroy();
  for (const writer of writers) writer.close();
}
