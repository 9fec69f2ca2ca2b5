import { request } from 'node:http';
import { existsSync } from 'node:fs';
import { buildBusybox, createLab, until, type Lab } from '../test/e2e/lab.ts';
import { median, note, report } from './report.ts';

const image = 'wherry-test/busybox:1';
const pods = 10;
const rebootRounds = 5;
const crashRounds = 5;
/** Seconds that OpenYurt's own report gives for ten pods after a restart of their node with the cloud away. Carried over, not measured here. */
const openYurtSeconds = 49.86;
const format = '{{.Name}}\t{{.State.Status}}\t{{.State.StartedAt}}\t{{.State.FinishedAt}}';

/** What a site does by itself: a host that was powered off comes back, and a container crashes, with the master away. */
export async function bench(): Promise<void> {
  await buildBusybox();
  const lab = await createLab({ hosts: 1, name: 'boff', images: [image] });
  try {
    await lab.kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: Array.from({ length: pods }, (_, index) => podDocument(index)) }), 'create', '-f', '-');
    await until('ten pods run', 60_000, async () => (await running(lab)).length === pods);
    await lab.killMaster();
    const crashes: number[] = [];
    for (let round = 0; round < crashRounds; round++) crashes.push(await crash(lab, round));
    note(`crash to start: ${crashes.map((seconds) => seconds.toFixed(2)).join(' ')} s`);
    report('offline.crash_restart', median(crashes), 's from the end of a container to the start of the next one, at its first crash, master away');
    const reboots: number[] = [];
    for (let round = 0; round < rebootRounds; round++) reboots.push(await reboot(lab));
    note(`reboots: ${reboots.map((seconds) => seconds.toFixed(2)).join(' ')} s`);
    report('offline.ten_pods', median(reboots), 's from dockerd answering to the last of ten pods running after a power cut, master away; baseline: what OpenYurt reports of itself, not measured here', openYurtSeconds);
  } finally {
    await lab.down();
  }
}

const podDocument = (index: number): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name: `offline-${index}` },
  spec: { nodeName: 'node1', containers: [{ name: 'main', image, command: ['stay'], ports: [{ containerPort: 80 }], volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }] }], volumes: [{ name: 'scratch', emptyDir: {} }] },
});

interface Main { readonly pod: string; readonly name: string; readonly startedMs: number; readonly finishedMs: number }

async function mains(lab: Lab, state: string): Promise<Main[]> {
  const ids = (await lab.docker(1, 'ps', '-aq', '--filter', 'label=io.kubernetes.container.name=main')).split('\n').filter(Boolean);
  if (ids.length === 0) return [];
  const lines = (await lab.docker(1, 'inspect', '--format', format, ...ids)).split('\n').filter(Boolean).map((line) => line.split('\t'));
  return lines.filter(([, status]) => status === state).map(([name = '', , started = '', finished = '']) =>
    ({ name, pod: name.split('_')[2] ?? '', startedMs: Date.parse(started), finishedMs: Date.parse(finished) }));
}

const running = (lab: Lab): Promise<Main[]> => mains(lab, 'running');

/** A container that never crashed before is killed. By the engine's own stamps. */
async function crash(lab: Lab, round: number): Promise<number> {
  const pod = `offline-${round}`;
  const victim = (await running(lab)).find((main) => main.pod === pod)!;
  await lab.docker(1, 'kill', victim.name.slice(1));
  const next = await until('it runs again', 60_000, async () => (await running(lab)).find((main) => main.pod === pod && main.name !== victim.name));
  const ended = (await mains(lab, 'exited')).find(({ name }) => name === victim.name)!;
  return (next.startedMs - ended.finishedMs) / 1000;
}

/** The host loses its power and gets it back; the agent is started when its engine answers, as an init system orders them. */
async function reboot(lab: Lab): Promise<number> {
  await lab.host('kill', 1);
  await lab.killAgent(1);
  const up = lab.host('start', 1);
  await answering(`${lab.engines}/1/docker.sock`);
  const answeredMs = Date.now();
  await lab.startAgent(1);
  await up;
  const all = await until('ten pods run', 120_000, async () => { const list = await running(lab); return list.length === pods && list.every(({ startedMs }) => startedMs >= answeredMs) && list; }, 100);
  return (Math.max(...all.map(({ startedMs }) => startedMs)) - answeredMs) / 1000;
}

async function answering(socketPath: string): Promise<void> {
  const ping = (): Promise<boolean> => new Promise((resolve) => {
    if (!existsSync(socketPath)) return resolve(false);
    const call = request({ socketPath, path: '/_ping', timeout: 1000 }, (answer) => { answer.resume(); resolve(answer.statusCode === 200); });
    call.on('error', () => resolve(false));
    call.on('timeout', () => call.destroy());
    call.end();
  });
  await until('the engine answers', 120_000, ping, 10);
}
