import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { seeded } from '../property/random.ts';
import { agentLog, Api, containersOn, converged, image, isReady } from './autonomy-support.ts';
import { buildBusybox, createLab, run, until, type Lab } from './lab.ts';

/** State files that are damaged, and a data directory without room. */
const test = suite('autonomy: disk');
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6));
const random = seeded(seed);
let lab: Lab;
let api: Api;
let dataDir: string;

test.before(async () => {
  process.stdout.write(`SEED=${seed}\n`);
  await buildBusybox();
  // A disk that is full is a reason to evict, and not to take pods on for a while: that is resources-disk.test.ts' question.
  lab = await createLab({ hosts: 1, name: 'adsk', images: [image], masterFlags: ['--node-monitor-grace-period', '20'], agentFlags: ['--eviction-hard', 'memory.available<1Mi'] });
  api = await Api.open(lab);
  dataDir = join(lab.directory, 'agent1');
  for (let index = 0; index < 4; index++) await api.createPod(`anchor-${index}`, { nodeName: 'node1' });
  await converged(api, lab, 1);
});
test.after(async () => {
  await api?.close();
  await run('umount', ['-l', dataDir]).catch(() => '');
  await lab?.down();
});

const running = async (): Promise<string[]> => (await containersOn(lab, 1)).filter(({ state }) => state === 'running').map(({ pod, container, id }) => `${pod}/${container} ${id}`).sort();

let probes = 0;
/** Resolves when the agent follows the master again, as a pod that comes and goes shows. */
async function follows(): Promise<void> {
  const name = `probe-${probes++}`;
  await api.createPod(name, { nodeName: 'node1' });
  await until(`${name} runs`, 60_000, async () => isReady(await api.pod(name)));
  await api.deletePod(name, 0);
  await converged(api, lab, 1);
}

/** Ways in which a file can be bad. */
const damages: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  'half-written': (bytes) => Buffer.concat([bytes, bytes.subarray(0, 5 + random.below(60))]),
  truncated: (bytes) => bytes.subarray(0, random.below(bytes.length)),
  'bit-flipped': (bytes) => { const copy = Buffer.from(bytes); for (let flips = 0; flips < 3; flips++) copy[random.below(copy.length)]! ^= 1 << random.below(8); return copy; },
  'overwritten with zeros': (bytes) => { const copy = Buffer.from(bytes); copy.fill(0, random.below(copy.length)); return copy; },
  empty: () => Buffer.alloc(0),
};

const damageRounds = 4;
for (const [name, damage] of Object.entries(damages)) {
  for (let round = 0; round < damageRounds; round++) {
    test(`a state file that is ${name} is healed: with the master and without, what runs goes on (${round})`, async () => {
      const before = await running();
      assert.is(before.length, 8);
      await lab.killAgent(1);
      const masterAway = random.chance(0.5);
      if (masterAway) await lab.killMaster();
      const path = join(dataDir, 'state', 'journal');
      await writeFile(path, damage(await readFile(path)));
      const waits = async (): Promise<number> => (await agentLog(lab, 1)).split('no session with the master').length;
      const waitsBefore = await waits();
      await lab.startAgent(1);
      if (masterAway) {
        await until('the agent has started', 20_000, async () => (await waits()) > waitsBefore);
        // A state that lost its end is an earlier one: it may know a pod that is no more, but what runs goes on.
        assert.equal((await running()).filter((line) => line.startsWith('anchor-')), before, 'without the master');
        await lab.startMaster();
      }
      await follows();
      assert.equal(await running(), before);
    });
  }
}

test('no room on the data directory: pods go on and are restarted, nothing new is taken on, and all of it heals', async () => {
  await lab.killAgent(1);
  const copy = `${dataDir}.copy`;
  await run('cp', ['-a', dataDir, copy]);
  await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', dataDir]);
  await run('cp', ['-a', `${copy}/.`, dataDir]);
  await rm(copy, { recursive: true });
  await lab.startAgent(1);
  await follows();
  const before = await running();
  const condition = async (): Promise<string> => {
    const { status } = await api.ask<{ status: { conditions: { type: string; status: string; reason: string; message: string }[] } }>('GET', '/api/v1/nodes/node1');
    const disk = status.conditions.find(({ type }) => type === 'DiskPressure');
    return `${disk?.status} ${disk?.reason} ${disk?.message} ready:${status.conditions.find(({ type }) => type === 'Ready')?.status}`;
  };
  const reasons = async (): Promise<string[]> => (await api.ask<{ items: { reason: string; involvedObject: { kind: string } }[] }>('GET', '/api/v1/namespaces/default/events')).items.filter(({ involvedObject }) => involvedObject.kind === 'Node').map(({ reason }) => reason);
  await run('bash', ['-c', 'dd if=/dev/zero of="$0/ballast" bs=4k 2>/dev/null; true', dataDir]);

  // The master's word cannot be kept, so it is not followed; everything else goes on.
  // (Larger than what the last page of the file may have left.)
  await api.createPod('late', { nodeName: 'node1' }, { annotations: { filler: 'x'.repeat(10_000) } });
  assert.match(await until('the node says so', 40_000, async () => (await condition()).startsWith('True AgentStateNotWritable') && condition()), /ENOSPC.*ready:True/);
  await until('there is an event', 20_000, async () => (await reasons()).includes('AgentStateNotWritable'));
  assert.match(await agentLog(lab, 1), /the disk refuses what this node is to remember/);
  assert.equal(await running(), before);
  const victim = before.find((line) => line.startsWith('anchor-0/main'))!;
  await lab.docker(1, 'kill', victim.split(' ')[1]!);
  await until('a crashed container is restarted', 30_000, async () => (await running()).some((line) => line.startsWith('anchor-0/main') && line !== victim));

  const starts = async (): Promise<number> => (await agentLog(lab, 1)).split(' agent: started ').length;
  const startsBefore = await starts();
  await lab.killAgent(1);
  await lab.startAgent(1);
  const now = await running();
  await until('an agent starts without room', 30_000, async () => (await starts()) > startsBefore);
  const second = now.find((line) => line.startsWith('anchor-1/main'))!;
  await lab.docker(1, 'kill', second.split(' ')[1]!);
  await until('and restarts what crashes', 30_000, async () => (await running()).some((line) => line.startsWith('anchor-1/main') && line !== second));
  // Longer than the grace: the node must not be taken for lost.
  assert.match(await condition(), /ready:True/);

  await rm(join(dataDir, 'ballast'));
  await converged(api, lab, 1, 60_000);
  await until('the condition clears', 40_000, async () => (await condition()).startsWith('False'));
  await until('there is an event of that', 20_000, async () => (await reasons()).includes('AgentStateWritable'));
  assert.is((await running()).length, 10);
});

test.run();
