import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { seeded } from '../property/random.ts';
import { agentLog, Api, Churn, containersOn, converged, fetchOn, image, isReady, killEngine, pause, Witness } from './autonomy-support.ts';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/**
 * kill -9 of the agent, 200 times, and of its host's engine, 2 × 20 times, at random instants under a workload that never
 * stands still. SEED repeats a run.
 */
const test = suite('autonomy: kill -9');
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6));
const random = seeded(seed);
const anchors = ['anchor-0', 'anchor-1', 'anchor-2', 'anchor-3', 'anchor-4'];
let lab: Lab;
let api: Api;

test.before(async () => {
  process.stdout.write(`SEED=${seed}\n`);
  await buildBusybox();
  lab = await createLab({ hosts: 1, name: 'akil', images: [image], masterFlags: ['--node-monitor-grace-period', '120'] });
  api = await Api.open(lab);
  const probe = { exec: { command: ['true'] }, timeoutSeconds: 20, failureThreshold: 20, periodSeconds: 2 };
  for (const name of anchors) await api.createPod(name, { nodeName: 'node1', containers: [{ name: 'main', image, command: ['web'], readinessProbe: probe, livenessProbe: probe }] }, { labels: { app: 'anchor' } });
  await api.ask('POST', '/api/v1/namespaces/default/services', { metadata: { name: 'anchor' }, spec: { selector: { app: 'anchor' }, ports: [{ port: 80 }] } });
  await converged(api, lab, 1);
});
test.after(async () => {
  await api?.close();
  await lab?.down();
});

/** The anchors' containers: pod/container → id and start. */
async function anchored(): Promise<string[]> {
  return (await containersOn(lab, 1)).filter(({ pod, state }) => anchors.includes(pod) && state === 'running').map(({ pod, container, id, startedAt }) => `${pod}/${container} ${id.slice(0, 12)} ${startedAt}`).sort();
}

async function serviceAnswers(): Promise<void> {
  const { spec } = await api.ask<{ spec: { clusterIP: string } }>('GET', '/api/v1/namespaces/default/services/anchor');
  await until('the service answers on the node', 30_000, () => fetchOn(lab, 1, `http://${spec.clusterIP}/`));
}

const killRounds = 180;
/** How long an agent takes here from its start to the end of its beginning: what is to happen at random has to happen around that. */
async function startMs(): Promise<number> {
  const starts = async (): Promise<number> => (await agentLog(lab, 1)).split(' agent: started ').length;
  const before = await starts();
  await lab.killAgent(1);
  const began = performance.now();
  await lab.startAgent(1);
  await until('the agent has started', 60_000, async () => (await starts()) > before, 20);
  return performance.now() - began;
}

test(`the agent, ${killRounds} times: nothing healthy restarts, nothing runs twice, and all becomes as the master wants it`, async () => {
  const before = await anchored();
  assert.is(before.length, 10);
  const witness = new Witness(lab, 1);
  const churn = new Churn(api, 'node1', seed);
  churn.start(250);
  const lifeMs = 2 * await startMs() + 1500;
  for (let round = 0; round < killRounds; round++) {
    await pause(random.next() ** 2 * lifeMs);
    await lab.killAgent(1);
    if (random.chance(0.2)) await pause(random.next() * 1000);
    await lab.startAgent(1);
  }
  await churn.stop();
  await converged(api, lab, 1);
  await witness.stop();
  process.stdout.write(`${killRounds} kills, ${churn.steps} changes, ${witness.events.length} starts and ends\n`);
  assert.equal(await anchored(), before);
  assert.equal(witness.startedTwice(), []);
  assert.equal([...witness.ended()].filter((pod) => !churn.deleted.has(pod)), [], 'only what was deleted ended');
  assert.ok(witness.events.length > killRounds / 4, 'things did happen');
  const log = await agentLog(lab, 1);
  assert.not.match(log, /journal is damaged|unexpected error|pod worker failed/);
  await serviceAnswers();
});

const engineRounds = 20;
/** Kills the engine, and in every other round the agent too, before it, while it is away, or as it comes back. */
async function engineRound(churn: Churn, round: number): Promise<void> {
  const agentToo = round % 2 === 0 ? random.below(3) : undefined;
  const killAgent = (): Promise<void> => lab.killAgent(1).then(() => lab.startAgent(1));
  for (let steps = random.below(4); steps > 0; steps--) await churn.step();
  await pause(random.next() * 1000);
  if (agentToo === 0) await killAgent();
  await killEngine(lab, 1);
  await churn.step();
  if (agentToo === 1) await killAgent();
  const started = lab.host('start', 1);
  if (agentToo === 2) await pause(random.next() * 2000).then(killAgent);
  await started;
}

for (const live of [true, false]) {
  test(`its dockerd, ${engineRounds} times, ${live ? 'containers surviving (live-restore)' : 'containers ending with it'}: all becomes as the master wants it`, async () => {
    await writeFile(join(lab.engines, '1', 'flags'), live ? '--live-restore' : '');
    await lab.host('stop', 1);
    await lab.host('start', 1);
    await converged(api, lab, 1);
    const before = await anchored();
    assert.is(before.length, 10);
    const churn = new Churn(api, 'node1', seed + (live ? 1 : 2));
    for (let round = 0; round < engineRounds; round++) {
      await engineRound(churn, round);
      // Most times the next one comes before all is well again.
      if (round % 4 === 3) await converged(api, lab, 1);
      if (round % 4 === 3 && live) assert.equal(await anchored(), before, 'what survived is left alone');
    }
    assert.is((await anchored()).length, 10);
    assert.ok((await api.pods('node1')).every(isReady));
    await serviceAnswers();
  });
}

test.run();
