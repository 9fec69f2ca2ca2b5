import { podDocument, startMaster, usage, type BenchMaster } from './cluster.ts';
import { startEtcd, type EtcdClient } from './etcd.ts';
import { Connection, rate, type Target } from './http-load.ts';
import { inTurn, median, note, report } from './report.ts';
import { startPlainWatch, WatchClients } from './watch-load.ts';

const clients = 64;
const listed = 10_000;
const watchers = 1000;

/** Creates, gets, lists and watches of the API over TLS, against etcd and against doing it the plain way. */
export async function bench(): Promise<void> {
  const master = await startMaster();
  try {
    note(`master: ${usage(master.process.pid!).rssMB.toFixed(0)} MB resident, nothing done yet`);
    const lanes = await Promise.all(Array.from({ length: clients }, () => Connection.open(master.target)));
    const pods = new Pods(lanes);
    await againstEtcd(pods, lanes, master.process.pid!);
    await lists(pods, lanes[0]!);
    for (const lane of lanes) lane.close();
    await watchFanOut(master);
    note(`master: ${usage(master.process.pid!).rssMB.toFixed(0)} MB resident at the end`);
  } finally {
    await master.stop();
  }
}

/** The pods of the run, `bench-0` and on. */
class Pods {
  readonly #lanes: readonly Connection[];
  readonly #document = podDocument('NAME').split('NAME') as [string, string];
  count = 0;

  constructor(lanes: readonly Connection[]) {
    this.#lanes = lanes;
  }

  async create(lane: number): Promise<void> {
    const [before, behind] = this.#document;
    const answer = await this.#lanes[lane]!.request('POST', '/api/v1/namespaces/default/pods', `${before}bench-${this.count++}${behind}`);
    if (answer.status !== 201) throw new Error(`create: ${answer.status} ${answer.body.toString().slice(0, 300)}`);
  }

  async get(lane: number, index: number): Promise<void> {
    const answer = await this.#lanes[lane]!.request('GET', `/api/v1/namespaces/default/pods/bench-${index % this.count}`);
    if (answer.status !== 200 || answer.body.length < 1000) throw new Error(`get: ${answer.status}`);
  }

  /** Creates what is missing of `count`. */
  async fill(count: number): Promise<void> {
    await Promise.all(this.#lanes.map(async (_, lane) => { while (this.count < count) await this.create(lane); }));
  }
}

async function againstEtcd(pods: Pods, lanes: readonly Connection[], pid: number): Promise<void> {
  const etcd = await startEtcd();
  try {
    const theirs = await Promise.all(lanes.map(() => etcd.client()));
    await creates(pods, theirs, pid);
    await gets(pods, theirs);
    for (const client of theirs) client.close();
  } finally {
    await etcd.stop();
  }
}

async function creates(pods: Pods, theirs: readonly EtcdClient[], pid: number): Promise<void> {
  const value = Buffer.alloc(2700, 'x');
  let [key, cpu, made] = [0, 0, 0];
  // Warm on both sides.
  await rate(clients, 1000, (lane) => pods.create(lane));
  await rate(clients, 500, (lane) => theirs[lane]!.create(`/registry/pods/default/bench-${key++}`, value));
  const { value: mine, baseline } = await inTurn(5, async () => {
    const [before, count] = [usage(pid).cpuSeconds, pods.count];
    const perSecond = await rate(clients, 1500, (lane) => pods.create(lane));
    cpu += usage(pid).cpuSeconds - before;
    made += pods.count - count;
    return perSecond;
  }, () => rate(clients, 1500, (lane) => theirs[lane]!.create(`/registry/pods/default/bench-${key++}`, value)));
  note(`creates: ${(cpu / made * 1e6).toFixed(0)} µs of the master's CPU each`);
  report('api.creates', mine, 'creates/s, 64 clients over TLS, durable; baseline: etcd create transactions by gRPC', baseline);
}

async function gets(pods: Pods, theirs: readonly EtcdClient[]): Promise<void> {
  const index = (lane: number, turn: number): number => lane * 31 + turn;
  const { value, baseline } = await inTurn(3,
    () => rate(clients, 1500, (lane, turn) => pods.get(lane, index(lane, turn))),
    () => rate(clients, 1500, (lane, turn) => theirs[lane]!.get(`/registry/pods/default/bench-${index(lane, turn) % 1000}`)));
  report('api.gets', value, 'gets/s, 64 clients over TLS; baseline: linearizable reads of etcd by gRPC', baseline);
}

async function lists(pods: Pods, connection: Connection): Promise<void> {
  await pods.fill(listed);
  const read = async (): Promise<{ ms: number; body: Buffer }> => {
    const started = performance.now();
    const { status, body } = await connection.request('GET', '/api/v1/pods');
    if (status !== 200) throw new Error(`list: ${status}`);
    return { ms: performance.now() - started, body };
  };
  const text = (await read()).body.toString();
  const { items } = JSON.parse(text) as { items: unknown[] };
  if (items.length < listed) throw new Error(`list: ${items.length} pods`);
  // More than that many were created where creations are quick.
  const share = listed / items.length;
  note(`list of ${items.length} pods: ${(text.length / 1e6).toFixed(1)} MB`);
  const documents = items.map((item) => Buffer.from(JSON.stringify(item)));
  const plain = (): Promise<number> => {
    const started = performance.now();
    Buffer.from(JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items: documents.map((document) => JSON.parse(document.toString()) as unknown) }));
    return Promise.resolve((performance.now() - started) * share);
  };
  const { value, baseline } = await inTurn(5, async () => (await read()).ms * share, plain);
  report('api.list10k', value, 'ms for 10,000 pods over TLS; baseline: decode and encode of the same, in memory', baseline);
}

/** Connections that write what is watched, at the same time, so that several changes come at once. */
const writers = 32;

/** One server's watchers, and the connections that make its events. */
interface Watched { readonly watches: WatchClients; readonly lanes: readonly Connection[]; serial: number }

async function watchFanOut(master: BenchMaster): Promise<void> {
  const plain = await startPlainWatch(master);
  try {
    const [ours, theirs] = await Promise.all([watched(master.target), watched(plain.target)]);
    for (const warm of [ours, theirs]) await fanOut(warm, 4);
    const cpu: Record<'ours' | 'theirs', number[]> = { ours: [], theirs: [] };
    const measured = async (side: 'ours' | 'theirs', pid: number, of: Watched, turns: number): Promise<number> => {
      const before = usage(pid).cpuSeconds;
      const perSecond = await fanOut(of, turns);
      cpu[side].push((usage(pid).cpuSeconds - before) / (turns * writers * watchers));
      return perSecond;
    };
    const [many, few] = [20, 4];
    const { value, baseline } = await inTurn(5, () => measured('ours', master.process.pid!, ours, many), () => measured('theirs', plain.process.pid!, theirs, few));
    // Where the clients, all in this process, are the limit, the servers' own time still says what they can do.
    note(`watch: ${(median(cpu.ours) * 1e6).toFixed(2)} µs of the master's CPU per event and watcher, ${(median(cpu.theirs) * 1e6).toFixed(2)} of the plain server's`);
    report('api.watch_fanout', value, 'events/s of 0.6 KB to 1,000 watchers over TLS, durable writes by 32 clients included; baseline: one stringify and write per watcher, nothing stored', baseline);
    for (const { watches, lanes } of [ours, theirs]) { watches.close(); for (const lane of lanes) lane.close(); }
  } finally {
    plain.process.kill('SIGKILL');
  }
}

const maps = '/api/v1/namespaces/fanout/configmaps';

async function watched(target: Target): Promise<Watched> {
  const lanes = await Promise.all(Array.from({ length: writers }, () => Connection.open(target)));
  await lanes[0]!.request('POST', '/api/v1/namespaces', JSON.stringify({ metadata: { name: 'fanout' } }));
  const watches = await WatchClients.open(watchers, target, `${maps}?watch=1&fieldSelector=metadata.name!=kube-root-ca.crt`);
  return { watches, lanes, serial: 0 };
}

/** Events per second from the first write until the last watcher has the last. */
async function fanOut(watched: Watched, turns: number): Promise<number> {
  const started = performance.now();
  const received = watched.watches.receive(turns * writers * watchers);
  await Promise.all(watched.lanes.map(async (lane) => {
    for (let turn = 0; turn < turns; turn++) {
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `c-${watched.serial++}`, namespace: 'fanout', labels: { app: 'bench' } }, data: { text: 'y'.repeat(300) } };
      const { status } = await lane.request('POST', maps, JSON.stringify(object));
      if (status !== 201) throw new Error(`create: ${status}`);
    }
  }));
  await received;
  return turns * writers * watchers / ((performance.now() - started) / 1000);
}
