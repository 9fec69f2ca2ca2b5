import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { startMaster, type BenchMaster } from './cluster.ts';
import { removeContainers, startRawPod } from './docker.ts';
import { Connection } from './http-load.ts';
import { inTurn, note, report } from './report.ts';

const image = 'wherry-test/busybox';
const command = ['sleep', '100000'];
const agentProgram = fileURLToPath(new URL('../agent/main.js', import.meta.url));

/** POST to Running through API, scheduler, agent and Docker, against the same two containers by the raw Docker API. */
export async function bench(): Promise<void> {
  execFileSync('bash', ['test/e2e/images/busybox/build.sh'], { stdio: 'ignore' });
  const master = await startMaster();
  const agent = startAgent(master);
  try {
    const api = await Connection.open(master.target);
    await waitForNode(api);
    await measure('one', 1, 9, api);
    await measure('twenty', 20, 3, api);
    api.close();
  } finally {
    await new Promise<void>((resolve) => { agent.once('exit', () => resolve()); agent.kill('SIGTERM'); });
    await master.stop();
    execFileSync('bash', ['-c', 'docker ps -aq --filter "label=io.wherry.owner=$0" | xargs -r docker rm -f', join(master.directory, 'agent')], { stdio: 'ignore' });
  }
}

/** An agent of this build on this machine's engine, joined to a bench master. */
export function startAgent(master: BenchMaster, program: readonly string[] = [process.execPath, agentProgram]): ChildProcess {
  const main = fileURLToPath(new URL('../master/main.js', import.meta.url));
  const token = execFileSync(process.execPath, [main, 'token', 'create', '--data-dir', master.directory], { encoding: 'utf8' }).trim();
  const [file = '', ...first] = program;
  return spawn(file, [...first, '--master', `wss://127.0.0.1:${master.target.port}`, '--token', token, '--node-name', 'bench', '--node-ip', '127.0.0.1', '--data-dir', join(master.directory, 'agent'), '--log-level', 'warn'], { stdio: ['ignore', 'inherit', 'inherit'] });
}

/** Resolves when the node `bench` is Ready. */
export async function waitForNode(api: Connection): Promise<void> {
  for (let tries = 0; tries < 150; tries++) {
    const answer = await api.request('GET', '/api/v1/nodes/bench');
    if (answer.status === 200 && /"type":"Ready","status":"True"|"status":"True","type":"Ready"/.test(answer.body.toString().replace(/"(lastHeartbeatTime|lastTransitionTime|reason|message)":"[^"]*",?/g, ''))) return;
    await new Promise((wake) => setTimeout(wake, 200));
  }
  throw new Error('the node is not Ready after 30 s');
}

let serial = 0;

async function measure(claim: string, count: number, rounds: number, api: Connection): Promise<void> {
  const ours = async (): Promise<number> => {
    const names = Array.from({ length: count }, () => `bench-${serial++}`);
    const started = performance.now();
    for (const name of names) await api.request('POST', '/api/v1/namespaces/default/pods', podDocument(name));
    await untilRunning(api, names);
    const elapsed = performance.now() - started;
    for (const name of names) await api.request('DELETE', `/api/v1/namespaces/default/pods/${name}?gracePeriodSeconds=0`);
    await untilGone(names);
    return elapsed;
  };
  const raw = async (): Promise<number> => {
    const names = Array.from({ length: count }, () => `wherry-bench-raw-${serial++}`);
    const started = performance.now();
    await Promise.all(names.map((name) => startRawPod(name, image, command)));
    const elapsed = performance.now() - started;
    await removeContainers(names.flatMap((name) => [`${name}-app`, `${name}-pause`]));
    return elapsed;
  };
  await ours();
  await raw();
  const { value, baseline } = await inTurn(rounds, ours, raw);
  note(`${count} pods: ${value.toFixed(0)} ms; raw Docker ${baseline.toFixed(0)} ms`);
  report(`pod_start.${claim}`, value, 'ms from POST to Running; baseline: the same containers by the raw Docker API', baseline);
}

const podDocument = (name: string): string => JSON.stringify({
  metadata: { name, labels: { bench: 'pod-start' } },
  spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'app', image, command, imagePullPolicy: 'IfNotPresent' }] },
});

async function untilRunning(api: Connection, names: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 6000; tries++) {
    const { items } = JSON.parse((await api.request('GET', '/api/v1/namespaces/default/pods')).body.toString().replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, '')) as { items: { metadata: { name: string }; status: { phase: string } }[] };
    const running = new Set(items.filter((pod) => pod.status.phase === 'Running').map((pod) => pod.metadata.name));
    if (names.every((name) => running.has(name))) return;
    await new Promise((wake) => setTimeout(wake, 5));
  }
  throw new Error('pods do not run after 30 s');
}

/** Containers too, so that the next round starts on a quiet engine. */
async function untilGone(names: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const left = execFileSync('docker', ['ps', '-a', '--format', '{{.Names}}'], { encoding: 'utf8' });
    if (!names.some((name) => left.includes(`_${name}_`))) return;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  throw new Error(`containers of ${names.join(', ')} are still there`);
}
