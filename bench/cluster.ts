import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Connection, type Target } from './http-load.ts';

/** A master of this build in a process and a data directory of its own. */
export interface BenchMaster {
  readonly target: Target;
  readonly process: ChildProcess;
  readonly directory: string;
  stop(): Promise<void>;
}

const program = fileURLToPath(new URL('../master/main.js', import.meta.url));

/** Starts a master on a loopback port, by default any that is free; resolves when it is ready. */
export async function startMaster(flags: readonly string[] = [], asked = 0): Promise<BenchMaster> {
  const port = asked || await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'wherry-bench-'));
  const child = spawn(process.execPath, [program, 'master', '--data-dir', directory, '--bind-address', '127.0.0.1', '--port', String(port), '--log-level', 'warn', ...flags], { stdio: ['ignore', 'inherit', 'inherit'] });
  const release = killWithUs(child);
  const stop = (): Promise<void> => new Promise((resolve) => {
    child.once('exit', () => { release(); rmSync(directory, { recursive: true, force: true }); resolve(); });
    child.kill('SIGKILL');
  });
  for (let tries = 0; tries < 150; tries++) {
    await new Promise((wake) => setTimeout(wake, 200));
    const target = readTarget(directory, port);
    if (!target) continue;
    const connection = await Connection.open(target).catch(() => undefined);
    const answer = await connection?.request('GET', '/readyz').catch(() => undefined);
    connection?.close();
    if (answer?.status === 200) return { target, process: child, directory, stop };
  }
  await stop();
  throw new Error('the master is not ready after 30 s');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().on('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** Ends a child when this process ends, by itself or by a signal: else it would hold whoever reads our output. Returns the way out. */
export function killWithUs(child: ChildProcess): () => void {
  const kill = (): void => { child.kill('SIGKILL'); };
  const end = (): void => { kill(); process.exit(1); };
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  process.on('exit', kill);
  for (const signal of signals) process.on(signal, end);
  return () => {
    process.off('exit', kill);
    for (const signal of signals) process.off(signal, end);
  };
}

function readTarget(directory: string, port: number): Target | undefined {
  try {
    const text = readFileSync(join(directory, 'admin.kubeconfig'), 'utf8');
    const pem = (key: string): string => Buffer.from(new RegExp(`${key}: (\\S+)`).exec(text)?.[1] ?? '', 'base64').toString();
    return { host: '127.0.0.1', port, ca: pem('certificate-authority-data'), cert: pem('client-certificate-data'), key: pem('client-key-data') };
  } catch {
    return undefined;
  }
}

/** Resident memory of a process in MB, and its CPU time in seconds. */
export function usage(pid: number): { rssMB: number; cpuSeconds: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  const ticksPerSecond = 100;
  return { rssMB: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024, cpuSeconds: (Number(stat[11]) + Number(stat[12])) / ticksPerSecond };
}

/** A Pod document of about 2.7 KB once stored, as a ReplicationController would make it. */
export function podDocument(name: string): string {
  return JSON.stringify({
    apiVersion: 'v1', kind: 'Pod',
    metadata: { name, labels: { app: 'web', tier: 'frontend', 'pod-template-hash': '5d4f8c7b9' }, annotations: { 'example.com/note': 'x'.repeat(400) } },
    spec: {
      // Nobody schedules it: what is measured is the API alone.
      schedulerName: 'none',
      containers: [{
        name: 'web', image: 'registry.example/web:1.2.3', ports: [{ containerPort: 8080 }],
        env: Array.from({ length: 6 }, (_, index) => ({ name: `SETTING_${index}`, value: `value of setting ${index}` })),
        resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '200m', memory: '128Mi' } },
        readinessProbe: { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 5 },
      }],
    },
  });
}
