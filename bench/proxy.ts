/**
 * The service proxy against haproxy in TCP mode (one thread), in turns: `proxy.bulk` (Gb/s of one stream),
 * `proxy.keepalive` (HTTP requests/s over 50 kept connections), `proxy.connect` (new connections/s with one request
 * each), `proxy.idle_conn` (KB of resident memory per idle proxied connection); medians of `rounds` turns.
 *
 * Clients and proxies share a namespace, the backends are in another, as pods are. Both keep few sockets in TIME_WAIT,
 * or the ports of the one client address would be what is measured. Needs root: for the namespaces, and to install
 * haproxy and wrk when missing.
 */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createProxy } from '../agent/net/proxy.ts';
import type { Listener } from '../agent/net/routes.ts';
import { chooseTcpEngine } from '../agent/net/tcp.ts';
import { systemClock } from '../shared/clock.ts';
import { createLog } from '../shared/log.ts';
import { inTurn, report } from './report.ts';

const rounds = 3;
const seconds = 4;
const idleConnections = 4_000;
/** Addresses of the namespace of clients and proxies, and of that of the backends. */
const host = '10.78.0.1';
const backendHost = '10.78.0.2';
/** Where each kind of traffic is served, and offset to where the proxies listen for it. */
const ports = { http: 20_080, bulk: 20_081, idle: 20_082 };
type Kind = keyof typeof ports;
const proxies = { haproxy: 1_000, wherry: 2_000 };
type ProxyName = keyof typeof proxies;
const self = fileURLToPath(import.meta.url);

interface Claim { readonly unit: string; readonly kind: Kind; measure(port: number, pid: number): Promise<number> }

const claims: Record<string, Claim> = {
  'proxy.bulk': { unit: 'Gb/s', kind: 'bulk', measure: bulk },
  'proxy.keepalive': { unit: 'req/s', kind: 'http', measure: (port) => requests(port, []) },
  'proxy.connect': { unit: 'conn/s', kind: 'http', measure: (port) => requests(port, ['-H', 'Connection: close']) },
  'proxy.idle_conn': { unit: 'KB', kind: 'idle', measure: idle },
};

const roles: Record<string, (args: readonly string[]) => Promise<void>> = { '--measure': measure, '--serve': serve, '--backends': backends };
if (process.argv[1] === self) await roles[process.argv[2] ?? '']?.(process.argv.slice(3));

/** Measures all claims. */
export async function bench(): Promise<void> {
  install('haproxy');
  install('wrk');
  const [near, far] = [`wherry-a${process.pid % 10_000}`, `wherry-b${process.pid % 10_000}`];
  const children: ChildProcess[] = [];
  try {
    makeNamespaces(near, far);
    children.push(await start('nsenter', [`--net=/run/netns/${far}`, process.execPath, self, '--backends']));
    const measuring = spawn('nsenter', [`--net=/run/netns/${near}`, process.execPath, self, '--measure', far, ...Object.keys(claims)], { stdio: 'inherit' });
    children.push(measuring);
    await once(measuring, 'exit');
  } finally {
    for (const child of children) child.kill('SIGKILL');
    for (const name of [near, far]) execFileSync('ip', ['netns', 'del', name]);
  }
}

/** Within the clients' namespace: the claims of these names. */
async function measure([far, ...names]: readonly string[]): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'wherry-bench-'));
  fewTimeWaits();
  const web = startHaproxy(dir, 'web', httpBackend(), ['nsenter', `--net=/run/netns/${far}`]);
  try {
    for (const name of names) {
      const { value, baseline } = await compare(claims[name]!, dir);
      report(name, value, claims[name]!.unit, baseline);
    }
  } finally {
    web.kill('SIGKILL');
    rmSync(dir, { recursive: true });
  }
}

/** Each round measures both, each in a fresh process. */
function compare(claim: Claim, dir: string): Promise<{ value: number; baseline: number }> {
  const turn = async (name: ProxyName): Promise<number> => {
    const child = name === 'haproxy' ? startHaproxy(dir, 'tcp', tcpProxy()) : await start(process.execPath, [self, '--serve']);
    const port = ports[claim.kind] + proxies[name];
    await reachable(port);
    const result = await claim.measure(port, child.pid!);
    child.kill('SIGKILL');
    await once(child, 'exit');
    return result;
  };
  return inTurn(rounds, () => turn('wherry'), () => turn('haproxy'));
}

/** Gb/s that one reader receives. */
async function bulk(port: number): Promise<number> {
  let bytes = 0;
  const socket: Socket = connect({ port, host, onread: { buffer: Buffer.alloc(1 << 19), callback: (count) => { bytes += count; return true; } } });
  await once(socket, 'connect');
  await pause(500);
  const before = bytes;
  const start = performance.now();
  await pause(seconds * 1_000);
  const result = ((bytes - before) * 8) / 1e6 / (performance.now() - start);
  socket.destroy();
  return result;
}

async function requests(port: number, extra: readonly string[]): Promise<number> {
  const child = spawn('wrk', ['-t1', '-c50', `-d${seconds}s`, ...extra, `http://${host}:${port}/`], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (part) => { text += String(part); });
  await once(child, 'close');
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1] ?? NaN);
}

/** KB of resident memory of the proxy per connection that does nothing, after each has carried a few bytes. */
async function idle(port: number, pid: number): Promise<number> {
  const sockets: Socket[] = [];
  const open = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 100) {
      sockets.push(...await Promise.all(Array.from({ length: Math.min(100, left) }, async () => {
        const socket = connect(port, host);
        socket.write('hello');
        await once(socket, 'data');
        return socket;
      })));
    }
  };
  await open(200);
  await pause(1_000);
  const before = residentKB(pid);
  await open(idleConnections);
  await pause(2_000);
  const result = (residentKB(pid) - before) / idleConnections;
  for (const socket of sockets) socket.destroy();
  return result;
}

function residentKB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
}

/** The measured one: the proxy as the agent runs it, alone in a process. */
async function serve(): Promise<void> {
  const log = createLog({ component: 'bench', level: 'warn' });
  const tcp = await chooseTcpEngine({ clock: systemClock, log });
  const proxy = createProxy({ clock: systemClock, log, random: Math.random, tcp });
  proxy.apply(Object.entries(ports).map(([kind, port]): Listener => ({
    protocol: 'TCP', address: host, port: port + proxies.wherry, service: `bench/${kind}:${kind}`, affinitySeconds: 0, backends: [{ address: backendHost, port }],
  })));
  await proxy.settled();
  console.log('ready');
  await proxy.run(new AbortController().signal);
}

/** A source of bytes without end, and one that says a word and falls silent. */
async function backends(): Promise<void> {
  fewTimeWaits();
  const chunk = Buffer.alloc(1 << 18, 'x');
  createServer((socket) => {
    const more = (): void => { while (!socket.destroyed && socket.write(chunk)); };
    socket.on('error', () => {}).on('drain', more);
    more();
  }).listen(ports.bulk, backendHost);
  createServer((socket) => { socket.on('error', () => {}).on('data', () => socket.write('hello')); }).listen(ports.idle, backendHost, 4_096, () => console.log('ready'));
}

function haproxyHead(mode: string): string {
  return `global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode ${mode}\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n`;
}

function httpBackend(): string {
  return `${haproxyHead('http')}frontend web\n  bind ${backendHost}:${ports.http}\n  http-request return status 200 content-type text/plain string ok\n`;
}

function tcpProxy(): string {
  return haproxyHead('tcp') + Object.entries(ports).map(([kind, port]) =>
    `listen ${kind}\n  bind ${host}:${port + proxies.haproxy}\n  server one ${backendHost}:${port}\n`).join('');
}

function startHaproxy(dir: string, name: string, config: string, within: readonly string[] = []): ChildProcess {
  const file = join(dir, `${name}.cfg`);
  writeFileSync(file, config);
  const [command, ...args] = [...within, 'haproxy', '-db', '-q', '-f', file];
  return spawn(command!, args, { stdio: 'inherit' });
}

/** Resolves when the program has printed a line. */
async function start(command: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(createInterface(child.stdout), 'line');
  return child;
}

async function reachable(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = connect(port, host);
    const up = await once(socket, 'connect').then(() => true, () => false);
    socket.destroy();
    if (up) return;
    await pause(20);
  }
  throw new Error(`nothing listens on ${host}:${port}`);
}

function makeNamespaces(near: string, far: string): void {
  const ip = (text: string): void => { execFileSync('ip', text.split(' ')); };
  for (const name of [near, far]) ip(`netns add ${name}`);
  ip(`-n ${near} link add v0 type veth peer name v0 netns ${far}`);
  for (const [name, address] of [[near, host], [far, backendHost]]) {
    ip(`-n ${name} addr add ${address}/24 dev v0`);
    ip(`-n ${name} link set v0 up`);
    ip(`-n ${name} link set lo up`);
  }
}

/** A setting of this namespace only. */
function fewTimeWaits(): void {
  writeFileSync('/proc/sys/net/ipv4/tcp_max_tw_buckets', '500');
}

function install(name: string): void {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
  } catch {
    execFileSync('apt-get', ['install', '-y', '-qq', name], { stdio: 'ignore' });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
