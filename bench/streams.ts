/**
 * What the agent's one socket carries of interactive streams: `streams.portforward` (Gb/s that one reader receives through
 * kubectl port-forward; baseline: through socat), `streams.relay` (the same from a pod on another node that cannot be dialled:
 * proxy, agent, master, agent), `streams.exec` (ms from the request for an exec of `true` to its exit
 * status; baseline: the same three calls of the Docker API), `streams.logs` (MB/s of a log of 20 MB; baseline: `docker logs`), and those of raw-stream.ts and copy.ts.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:https';
import { request as plainRequest } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { kubectlPath } from '../test/e2e/lab.ts';
import { startMaster, type BenchMaster } from './cluster.ts';
import { copy } from './copy.ts';
import { docker } from './docker.ts';
import { Connection, type Target } from './http-load.ts';
import { startAgent, waitForNode } from './pod-start.ts';
import { rawStream } from './raw-stream.ts';
import { inTurn, note, report } from './report.ts';

const image = 'wherry-test/busybox';
const self = fileURLToPath(import.meta.url);
const seconds = 3;
const rounds = 5;
const logLines = 200_000;
const ports = { ours: 16_475, socat: 16_476, relay: 16_477 } as const;

export async function bench(): Promise<void> {
  execFileSync('bash', ['test/e2e/images/busybox/build.sh'], { stdio: 'ignore' });
  execFileSync('bash', ['-c', 'command -v socat || apt-get install -y -qq socat'], { stdio: 'ignore' });
  const master = await startMaster(['--service-cidr', '10.122.0.0/24'], 16_473);
  const agent = startAgent(master);
  const children: ChildProcess[] = [agent];
  try {
    const api = await Connection.open(master.target);
    await waitForNode(api);
    await startPods(api);
    const source = await startSource(children);
    // One that is idle for as long as what follows takes is closed by the master.
    api.close();
    await portForward(master, source, children);
    await rawStream({ target: master.target, processes: [master.process.pid!, agent.pid!], source, baseline: () => received(ports.socat) });
    await relay(master, source, children);
    await exec(master.target);
    await logs(master.target);
    await copy(master, agent, 'shell');
    const last = await Connection.open(master.target);
    for (const pod of ['shell', 'talker']) await last.request('DELETE', `/api/v1/namespaces/default/pods/${pod}?gracePeriodSeconds=0`);
    last.close();
  } finally {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
    await master.stop();
    execFileSync('bash', ['-c', 'ip route del local 10.122.0.0/24 dev lo || true'], { stdio: 'ignore' });
    execFileSync('bash', ['-c', 'docker ps -aq --filter "label=io.wherry.owner=$0" | xargs -r docker rm -f', join(master.directory, 'agent')], { stdio: 'ignore' });
  }
}

/** One on the host's network, where the source of bytes is; and one that has written its log. */
async function startPods(api: Connection): Promise<void> {
  const line = 'x'.repeat(99);
  const pod = (name: string, command: readonly string[]): string => JSON.stringify({
    metadata: { name }, spec: { hostNetwork: true, terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, command, imagePullPolicy: 'IfNotPresent' }] },
  });
  await api.request('POST', '/api/v1/namespaces/default/pods', pod('shell', ['sleep', '100000']));
  await api.request('POST', '/api/v1/namespaces/default/pods', pod('talker', ['sh', '-c', `yes ${line} | head -n ${logLines}; touch /done; exec sleep 100000`]));
  for (const name of ['shell', 'talker']) {
    for (let tries = 0; ; tries++) {
      const { status } = JSON.parse((await api.request('GET', `/api/v1/namespaces/default/pods/${name}`)).body.toString()) as { status: { phase?: string } };
      if (status.phase === 'Running') break;
      if (tries > 300) throw new Error(`pod ${name} does not run after 30 s`);
      await pause(100);
    }
  }
  while (execFileSync('docker', ['exec', containerOf('talker'), 'sh', '-c', 'ls /done 2>/dev/null || true'], { encoding: 'utf8' }) === '') await pause(200);
}

const containerOf = (pod: string): string => execFileSync('docker', ['ps', '-q', '--filter', `name=k8s_main_${pod}_default_`], { encoding: 'utf8' }).trim();

/** A process of its own that gives bytes without end; resolves with its port. */
async function startSource(children: ChildProcess[]): Promise<number> {
  const child = spawn(process.execPath, [self, '--source'], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = await once(createInterface(child.stdout), 'line') as [string];
  return Number(line);
}

function serveSource(): void {
  const chunk = Buffer.alloc(1 << 18, 'x');
  const server = createServer((socket) => {
    const more = (): void => { while (!socket.destroyed && socket.write(chunk)); };
    socket.on('error', () => {}).on('drain', more);
    more();
  });
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
}

async function portForward(master: BenchMaster, source: number, children: ChildProcess[]): Promise<void> {
  const kubectl = await kubectlPath();
  children.push(spawn(kubectl, ['--kubeconfig', join(master.directory, 'admin.kubeconfig'), 'port-forward', 'pod/shell', `${ports.ours}:${source}`], { stdio: 'ignore' }));
  children.push(spawn('socat', [`TCP-LISTEN:${ports.socat},bind=127.0.0.1,fork,reuseaddr`, `TCP:127.0.0.1:${source}`], { stdio: 'ignore' }));
  await Promise.all([ports.ours, ports.socat].map(reachable));
  const { value, baseline } = await inTurn(rounds, () => received(ports.ours), () => received(ports.socat));
  note(`port-forward ${value.toFixed(2)} Gb/s, socat ${baseline.toFixed(2)} Gb/s`);
  report('streams.portforward', value, 'Gb/s through kubectl port-forward; baseline: socat', baseline);
}

/** The source behind a made-up endpoint of the node `bench`, asked for by another node's proxy. */
async function relay(master: BenchMaster, source: number, children: ChildProcess[]): Promise<void> {
  const address = '10.33.0.5';
  const slice = {
    metadata: { name: 'source-1', labels: { 'kubernetes.io/service-name': 'source' } }, addressType: 'IPv4', ports: [{ name: '', port: source, protocol: 'TCP' }],
    endpoints: [{ addresses: [address], conditions: { ready: true }, nodeName: 'bench', targetRef: { kind: 'Pod', namespace: 'default', name: 'shell' } }],
  };
  const api = await Connection.open(master.target);
  const answer = await api.request('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', JSON.stringify(slice));
  api.close();
  if (answer.status !== 201) throw new Error(`the endpoint slice was refused: ${answer.body.toString()}`);
  const main = fileURLToPath(new URL('../master/main.js', import.meta.url));
  const token = execFileSync(process.execPath, [main, 'token', 'create', '--data-dir', master.directory], { encoding: 'utf8' }).trim();
  const node = fileURLToPath(new URL('relay-node.js', import.meta.url));
  const args = [node, `https://127.0.0.1:${master.target.port}`, token, join(master.directory, 'near'), String(ports.relay), 'default/source-1', `${address}:${source}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(createInterface(child.stdout), 'line');
  await reachable(ports.relay);
  const { value, baseline } = await inTurn(rounds, () => received(ports.relay), () => received(ports.socat));
  note(`relay ${value.toFixed(2)} Gb/s, socat ${baseline.toFixed(2)} Gb/s`);
  report('streams.relay', value, 'Gb/s from a pod on another node, through the master; baseline: socat', baseline);
}

/** Gb/s that one reader receives. */
async function received(port: number): Promise<number> {
  let bytes = 0;
  const socket = connect({ port, host: '127.0.0.1', onread: { buffer: Buffer.alloc(1 << 19), callback: (count) => { bytes += count; return true; } } });
  await once(socket, 'connect');
  await pause(500);
  const before = bytes;
  const started = performance.now();
  await pause(seconds * 1_000);
  const result = ((bytes - before) * 8) / 1e6 / (performance.now() - started);
  socket.destroy();
  return result;
}

async function exec(target: Target): Promise<void> {
  const container = containerOf('shell');
  const several = async (once: () => Promise<void>): Promise<number> => {
    const started = performance.now();
    for (let count = 0; count < 5; count++) await once();
    return (performance.now() - started) / 5;
  };
  const { value, baseline } = await inTurn(rounds, () => several(() => execOurs(target)), () => several(() => execRaw(container)));
  note(`exec ${value.toFixed(1)} ms, raw Docker ${baseline.toFixed(1)} ms`);
  report('streams.exec', value, 'ms from request to exit status; baseline: the Docker API', baseline);
}

function execOurs({ host, port, ca, cert, key }: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    const url = `wss://${host}:${port}/api/v1/namespaces/default/pods/shell/exec?command=true&stdout=1&stderr=1`;
    const socket = new WebSocket(url, ['v5.channel.k8s.io'], { ca, cert, key });
    socket.on('message', (data: Buffer) => { if (data[0] === 3 && !data.toString('utf8', 1).includes('"Success"')) reject(new Error(data.toString())); });
    socket.on('error', reject).on('close', () => resolve());
  });
}

async function execRaw(container: string): Promise<void> {
  const { Id: id } = await docker('POST', `/containers/${container}/exec`, { Cmd: ['true'], AttachStdout: true, AttachStderr: true });
  await new Promise<void>((resolve, reject) => {
    const body = JSON.stringify({ Detach: false, Tty: false });
    const call = plainRequest({
      socketPath: '/var/run/docker.sock', method: 'POST', path: `/exec/${String(id)}/start`,
      headers: { 'content-type': 'application/json', 'content-length': body.length, connection: 'Upgrade', upgrade: 'tcp' },
    });
    call.on('upgrade', (_answer, socket) => { socket.on('close', () => resolve()).on('end', () => socket.end()).resume(); });
    call.on('error', reject).end(body);
  });
  const { ExitCode: code } = await docker('GET', `/exec/${String(id)}/json`);
  if (code !== 0) throw new Error(`exit code ${String(code)}`);
}

async function logs(target: Target): Promise<void> {
  const container = containerOf('talker');
  const { value, baseline } = await inTurn(rounds, () => logsOurs(target), () => logsRaw(container));
  note(`logs ${value.toFixed(0)} MB/s, docker logs ${baseline.toFixed(0)} MB/s`);
  report('streams.logs', value, 'MB/s; baseline: docker logs', baseline);
}

const logBytes = logLines * 100;

function perSecond(bytes: number, started: number): number {
  if (bytes !== logBytes) throw new Error(`a log of ${bytes} bytes instead of ${logBytes}`);
  return bytes / 1e3 / (performance.now() - started);
}

async function logsOurs({ host, port, ca, cert, key }: Target): Promise<number> {
  const started = performance.now();
  const call = get({ host, port, ca, cert, key, path: '/api/v1/namespaces/default/pods/talker/log' });
  const [answer] = await once(call, 'response') as [AsyncIterable<Buffer>];
  let bytes = 0;
  for await (const chunk of answer) bytes += chunk.length;
  return perSecond(bytes, started);
}

async function logsRaw(container: string): Promise<number> {
  const started = performance.now();
  const child = spawn('docker', ['logs', container], { stdio: ['ignore', 'pipe', 'inherit'] });
  let bytes = 0;
  for await (const chunk of child.stdout) bytes += (chunk as Buffer).length;
  return perSecond(bytes, started);
}

async function reachable(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const socket = connect(port, '127.0.0.1');
    const up = await once(socket, 'connect').then(() => true, () => false);
    socket.destroy();
    if (up) return;
    await pause(50);
  }
  throw new Error(`nothing listens on port ${port}`);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });

if (process.argv[2] === '--source') serveSource();
