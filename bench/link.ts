import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { buildBusybox, createLab, until, type Lab } from '../test/e2e/lab.ts';
import { changeService } from './fleet.ts';
import { Fleet, nowMs, pause, seededMaster, size, type FleetMaster } from './fleet/fleet.ts';
import { adminHost, masterName, type Api } from './fleet/api.ts';
import { note, quantile, report } from './report.ts';

/** What the link costs: idle, for a changed endpoint, on flash; and what a large download does to it. `PARTS=change,log` leaves the idle node out. */
/** Four heartbeats, so that it matters little when the window begins. */
const idleSeconds = size('IDLE_SECONDS', 96);
/** Until an agent has looked at everything once more: images come with every sixth look at the node, 60 s. */
const settleSeconds = 75;
/** Until a Swarm manager has done placing tasks. */
const swarmSettleSeconds = 30;
const pods = 10;
const day = 24 * 3600;
const image = 'wherry-test/busybox';

export async function bench(): Promise<void> {
  const parts = { change: endpointChange, log: logInterference, idle };
  const wanted = process.env['PARTS']?.split(',') ?? Object.keys(parts);
  for (const [name, part] of Object.entries(parts)) if (wanted.includes(name)) await part();
}

// ---- Small changes and large downloads, with simulated agents

async function withFleet(of: { agents: number; services: number; endpoints: number }, work: (fleet: Fleet, master: FleetMaster, api: Api) => Promise<void>): Promise<void> {
  const master = await seededMaster(of);
  const fleet = new Fleet(of.agents, 1);
  try {
    await master.start();
    fleet.start(master, 100);
    await fleet.untilQuiet(120_000);
    await pause(2000);
    const api = master.api();
    await work(fleet, master, api);
    api.close();
  } finally {
    fleet.stop();
    await master.remove();
  }
}

/** One endpoint of 5,000 is replaced, again and again. */
async function endpointChange(): Promise<void> {
  const agents = 20;
  await withFleet({ agents, services: 500, endpoints: 10 }, async (fleet, master, api) => {
    const changes = 20;
    const before = wire(master.port);
    for (let change = 0; change < changes; change++) await fleet.hold(await changeEndpoint(api, change));
    // Shorter than a heartbeat's interval, long enough for the last acknowledgements.
    await pause(500);
    const after = wire(master.port);
    const each = (bytes: number): number => bytes / agents / changes;
    report('link.endpoint_change', each(after.down - before.down), 'bytes per agent for one endpoint among 5,000, with the headers of WebSocket, TLS, TCP and IP');
    report('link.endpoint_change_both', each(after.down + after.up - before.down - before.up), 'bytes per agent for the same, with its acknowledgement');
  });
}

async function changeEndpoint(api: Api, change: number): Promise<number> {
  const path = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-7-x7k2p';
  const { endpoints } = await api.send<{ endpoints: { addresses: string[] }[] }>('GET', path);
  endpoints[3]!.addresses = [`10.201.0.${change + 1}`];
  const slice = await api.send<{ metadata: { resourceVersion: string } }>('PATCH', path, { endpoints });
  return Number(slice.metadata.resourceVersion);
}

/** Bytes on the wire of all agents' connections to a port of this machine, as the kernel counts segments and their content. */
function wire(port: number): { readonly up: number; readonly down: number } {
  const text = execFileSync('ss', ['-tinH', 'state', 'established', `( dport = :${port} and not dst ${adminHost} )`], { encoding: 'utf8' });
  const sum = (field: string): number => [...text.matchAll(new RegExp(`\\b${field}:(\\d+)`, 'g'))].reduce((total, [, value]) => total + Number(value), 0);
  // IPv4 20, TCP 20, timestamps 12.
  const headers = 52;
  return { up: sum('bytes_sent') + headers * sum('segs_out'), down: sum('bytes_received') + headers * sum('segs_in') };
}

/** How long a change of an assignment takes to its acknowledgement while the same connection carries a large log. */
async function logInterference(): Promise<void> {
  await withFleet({ agents: 1, services: 20, endpoints: 10 }, async (fleet, master, api) => {
    const idleMs = await changesFor(fleet, api, 5000, () => false);
    const began = nowMs();
    let bytes = 0;
    let over = false;
    const done = download(master, '/api/v1/namespaces/default/pods/pod-0-0/log', (chunk) => { bytes += chunk; }).then(() => { over = true; });
    const busyMs = await changesFor(fleet, api, 120_000, () => over);
    await done;
    const seconds = (nowMs() - began) / 1000;
    note(`${(bytes / 2 ** 20).toFixed(0)} MB of log in ${seconds.toFixed(1)} s, ${(bytes / 2 ** 20 / seconds).toFixed(0)} MB/s`);
    report('link.log_interference', quantile(busyMs, 0.99), `ms p99 of ${busyMs.length} from an assignment's write to its ack while a log of ${(bytes / 2 ** 20).toFixed(0)} MB comes over the same socket; baseline: without it`, quantile(idleMs, 0.99));
    report('link.log_rate', bytes / 2 ** 20 / seconds, 'MB/s of a log through agent and master');
  });
}

async function changesFor(fleet: Fleet, api: Api, ms: number, over: () => boolean): Promise<number[]> {
  const took: number[] = [];
  for (const began = nowMs(); nowMs() - began < ms && !over();) {
    const at = nowMs();
    const [heldMs = Infinity] = await fleet.hold(await changeService(api, took.length, 20));
    took.push(heldMs - at);
    await pause(50);
  }
  return took;
}

function download(master: FleetMaster, path: string, onBytes: (count: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const req = request({ ...master.target(), host: adminHost, servername: masterName, path }, (res) => {
      if (res.statusCode !== 200) return reject(new Error(`GET ${path}: HTTP ${res.statusCode}`));
      res.on('data', (chunk: Buffer) => onBytes(chunk.length));
      res.on('end', resolve);
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end();
  });
}

// ---- An idle node, with the real agent on a host of its own, and Docker Swarm's worker on the same host afterwards

async function idle(): Promise<void> {
  await buildBusybox();
  const lab = await createLab({ hosts: 2, name: 'link', images: [image] });
  try {
    const ours = await idleAgent(lab);
    note(`agent: ${ours.bytes} bytes and ${ours.packets} packets in ${idleSeconds} s`);
    await lab.killAgent(1);
    await lab.killAgent(2);
    const theirs = await idleSwarm(lab).catch((error: Error) => { note(`no baseline: ${error.message}`); return undefined; });
    if (theirs) note(`Swarm worker: ${theirs.bytes} bytes and ${theirs.packets} packets in ${idleSeconds} s`);
    const perDay = (count: number): number => count / idleSeconds * day;
    report('link.idle_bytes', perDay(ours.bytes), `bytes per agent and day, both ways, IP and up, with ${pods} pods; baseline: a Docker Swarm worker with ${pods} tasks`, theirs && perDay(theirs.bytes));
    report('link.flash_writes', perDay(ours.written), `bytes written per day by an idle agent with ${pods} pods`);
  } finally {
    await lab.down();
  }
}

async function idleAgent(lab: Lab): Promise<{ bytes: number; packets: number; written: number }> {
  const labels = { app: 'idle' };
  await lab.kubectlWith(JSON.stringify({
    apiVersion: 'v1', kind: 'ReplicationController', metadata: { name: 'idle' },
    spec: { replicas: pods, selector: labels, template: { metadata: { labels }, spec: { nodeSelector: { 'kubernetes.io/hostname': 'node1' }, containers: [{ name: 'app', image, imagePullPolicy: 'IfNotPresent', command: ['sleep', '100000'], ports: [{ containerPort: 8080 }] }] } } },
  }), 'create', '-f', '-');
  await lab.kubectl('expose', 'rc', 'idle', '--port=80', '--target-port=8080');
  await until('the pods run', 120_000, async () => (await lab.kubectl('get', 'pods', '-o', 'jsonpath={.items[*].status.phase}')).split(' ').filter((phase) => phase === 'Running').length === pods);
  await pause(settleSeconds * 1000);
  const [before, writtenBefore] = [await traffic(lab, 1), written(lab)];
  await pause(idleSeconds * 1000);
  const after = await traffic(lab, 1);
  return { bytes: after.bytes - before.bytes, packets: after.packets - before.packets, written: written(lab) - writtenBefore };
}

/** What a host has sent and received in IP packets, whole: its neighbours' address resolution is no traffic of the link. */
async function traffic(lab: Lab, host: number): Promise<{ bytes: number; packets: number }> {
  const [octets, counts] = await Promise.all(['/proc/net/netstat', '/proc/net/snmp'].map((file) => lab.on(host, 'cat', file)));
  return {
    bytes: counter(octets!, 'IpExt', 'InOctets') + counter(octets!, 'IpExt', 'OutOctets'),
    packets: counter(counts!, 'Ip', 'InReceives') + counter(counts!, 'Ip', 'OutRequests'),
  };
}

/** A figure of the kernel's tables of two lines per group, names and then values. */
function counter(text: string, group: string, name: string): number {
  const [names = [], values = []] = text.split('\n').filter((line) => line.startsWith(`${group}:`)).map((line) => line.split(' '));
  return Number(values[names.indexOf(name)] ?? Number.NaN);
}

function written(lab: Lab): number {
  const pid = execFileSync('pgrep', ['-f', '--', `--data-dir ${lab.directory}/agent1 `], { encoding: 'utf8' }).trim().split('\n')[0]!;
  return Number(/write_bytes: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? Number.NaN);
}

/** The same of a Swarm worker: host 1 again, with host 2 as manager. */
async function idleSwarm(lab: Lab): Promise<{ bytes: number; packets: number }> {
  await lab.docker(2, 'swarm', 'init', '--advertise-addr', '10.99.0.2');
  const token = (await lab.docker(2, 'swarm', 'join-token', '-q', 'worker')).trim();
  await lab.docker(1, 'swarm', 'join', '--token', token, '10.99.0.2:2377');
  await lab.docker(2, 'service', 'create', '--detach', '--name', 'idle', '--replicas', String(pods), '--constraint', 'node.role==worker', '--no-resolve-image', image, 'sleep', '100000');
  await until('the tasks run', 120_000, async () => (await lab.docker(2, 'service', 'ls', '--format', '{{.Replicas}}')).trim() === `${pods}/${pods}`);
  await pause(swarmSettleSeconds * 1000);
  const before = await traffic(lab, 1);
  await pause(idleSeconds * 1000);
  const after = await traffic(lab, 1);
  return { bytes: after.bytes - before.bytes, packets: after.packets - before.packets };
}
