/**
 * Cluster DNS against Debian's dnsmasq, in turns, asked by dnsperf over loopback for 1,000 services of one cluster, one
 * in ten of them unknown: `dns.queries` (answers/s with 100 questions under way), `dns.latency` (ms, mean, with one), and
 * `dns.forward` (answers/s for names that both have in their cache). Medians of `rounds` turns. Needs root for apt.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClusterDns } from '../agent/net/dns.ts';
import { systemClock } from '../shared/clock.ts';
import { createLog } from '../shared/log.ts';
import type { Item } from '../shared/protocol.ts';
import { inTurn, note, report } from './report.ts';

const rounds = 3;
const seconds = 4;
const services = 1_000;
const endpointsPerService = 3;
const address = '127.0.53.1';
const ports = { wherry: 20_053, dnsmasq: 20_054, upstream: 20_055 };
const self = fileURLToPath(import.meta.url);
const nameOf = (index: number): string => `service-${index}.default.svc.cluster.local`;
const outsideOf = (index: number): string => `host-${index}.example.test`;
const ipOf = (index: number): string => `10.96.${1 + (index >> 8)}.${index & 255}`;

if (process.argv[1] === self && process.argv[2] === '--serve') await serve();

/** Measures all claims. */
export async function bench(): Promise<void> {
  install('dnsperf', 'dnsperf');
  install('dnsmasq', 'dnsmasq-base');
  const folder = mkdtempSync(join(tmpdir(), 'bench-dns-'));
  const children: ChildProcess[] = [];
  try {
    const [inside, outside] = writeFiles(folder);
    children.push(dnsmasq(ports.upstream, '--addn-hosts', join(folder, 'outside')));
    children.push(dnsmasq(ports.dnsmasq, '--addn-hosts', join(folder, 'inside'), '--local=/cluster.local/', `--server=${address}#${ports.upstream}`, '--cache-size=5000'));
    const ours = spawn(process.execPath, [self, '--serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(ours);
    await once(ours.stdout, 'data');
    // What both remember from then on.
    for (const port of [ports.wherry, ports.dnsmasq]) dnsperf(port, outside, 100);
    const measure = async (claim: string, unit: string, file: string, clients: number, value: (text: string) => number): Promise<void> => {
      const turn = (port: number) => async (): Promise<number> => value(dnsperf(port, file, clients));
      const { value: mine, baseline } = await inTurn(rounds, turn(ports.wherry), turn(ports.dnsmasq));
      report(claim, mine, unit, baseline);
    };
    await measure('dns.queries', 'answers/s', inside, 100, (text) => figure(text, 'Queries per second'));
    await measure('dns.latency', 'ms', inside, 1, (text) => figure(text, 'Average Latency (s)') * 1000);
    await measure('dns.forward', 'answers/s', outside, 100, (text) => figure(text, 'Queries per second'));
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeFiles(folder: string): [string, string] {
  const all = Array.from({ length: services }, (_, index) => index);
  const write = (name: string, lines: readonly string[]): string => {
    writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
    return join(folder, name);
  };
  write('inside', all.map((index) => `${ipOf(index)} ${nameOf(index)}`));
  write('outside', all.map((index) => `192.0.2.1 ${outsideOf(index)}`));
  return [
    write('inside.queries', all.map((index) => `${index % 10 === 0 ? `no-${nameOf(index)}` : nameOf(index)} A`)),
    write('outside.queries', all.map((index) => `${outsideOf(index)} A`)),
  ];
}

function dnsmasq(port: number, ...flags: string[]): ChildProcess {
  return spawn('dnsmasq', ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--local-ttl=60', '--bind-interfaces', `--listen-address=${address}`, `--port=${port}`, ...flags], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function dnsperf(port: number, file: string, pending: number): string {
  return execFileSync('dnsperf', ['-s', address, '-p', String(port), '-d', file, '-l', String(seconds), '-q', String(pending), '-c', String(Math.min(8, pending))], { encoding: 'utf8' });
}

function figure(text: string, name: string): number {
  const found = text.split('\n').find((line) => line.trim().startsWith(`${name}:`));
  const lost = text.split('\n').find((line) => line.includes('Queries lost:'))?.trim() ?? '';
  if (!found) throw new Error(`dnsperf says nothing of ${name}: ${text}`);
  if (!/ 0 \(/.test(lost)) note(lost);
  return Number.parseFloat(found.split(':')[1] ?? '');
}

function install(command: string, name: string): void {
  execFileSync('bash', ['-c', `command -v ${command} || apt-get install -y -qq --no-install-recommends ${name}`], { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
}

/** An agent's DNS, with what an agent would hold. */
async function serve(): Promise<void> {
  const items = Array.from({ length: services }, (_, index): Item[] => [
    {
      type: 'service', revision: 1, namespace: 'default', name: `service-${index}`, serviceType: 'ClusterIP', clusterIPs: [ipOf(index)], ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
      affinitySeconds: 0, internalTrafficPolicy: 'Cluster', externalTrafficPolicy: 'Cluster', publishNotReadyAddresses: false,
    },
    {
      type: 'endpoints', revision: 1, namespace: 'default', name: `service-${index}-x`, service: `service-${index}`, ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
      endpoints: Array.from({ length: endpointsPerService }, (__, at) => ({ addresses: [`10.244.${at}.${index & 255}`], ready: true, serving: true, terminating: false })),
    },
  ]).flat();
  const dns = new ClusterDns({
    clock: systemClock, random: Math.random, log: createLog({ component: 'bench', level: 'warn' }), port: ports.wherry, upstreams: async () => [{ address, port: ports.upstream }],
  });
  dns.update(() => items);
  dns.serve({ domain: 'cluster.local', address, ranges: ['10.96.0.0/16'] });
  const running = dns.run(new AbortController().signal);
  while (dns.stats.listening.length < 2) await new Promise((resolve) => { setTimeout(resolve, 10); });
  process.stdout.write('ready\n');
  await running;
}
