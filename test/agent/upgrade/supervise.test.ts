import { chmod, link, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readResult } from '../../../agent/upgrade/result.ts';
import { superviseAgent } from '../../../agent/upgrade/supervise.ts';
import type { Candidate } from '../../../agent/upgrade/upgrader.ts';
import { systemClock } from '../../../shared/clock.ts';
import { createLog } from '../../../shared/log.ts';

const test = suite('upgrade supervision');
const good = 'echo \'{"version":"2","state":true,"engine":true,"master":true}\' >&3; exec sleep 1000';
let directory = '';
test.before.each(async () => { directory = await mkdtemp(join(tmpdir(), 'wherry-upgrade-')); });
test.after.each(async () => { await rm(directory, { recursive: true, force: true }); });

/** Runs an agent that asks for one candidate at its first run and stops at its second. */
async function upgrade(script: string, limitMs = 30_000): Promise<{ outcome: string; runs: number; program: string; result: Awaited<ReturnType<typeof readResult>>; files: string[] }> {
  const program = join(directory, 'agent');
  const path = `${program}.next-abc`;
  await writeFile(program, 'old');
  await writeFile(path, script);
  await chmod(path, 0o755);
  let runs = 0;
  const candidate: Candidate = { path, sha256: 'abc', version: '2', limitMs };
  const outcome = await superviseAgent({
    program, args: [], dataDir: join(directory, 'data'), clock: systemClock, log: createLog({ component: 'test', level: 'error', write: () => {} }), settleMs: 50,
    run: () => Promise.resolve(runs++ === 0 ? candidate : undefined),
  }, new AbortController().signal);
  return { outcome, runs, program: await readFile(program, 'utf8'), result: await readResult(join(directory, 'data')), files: (await readdir(directory)).filter((name) => name.startsWith('agent')).sort() };
}

test('a healthy candidate takes the program\'s place, and the old one is kept beside it', async () => {
  await writeFile(join(directory, 'agent.previous'), 'older');
  const script = `#!/bin/sh\n${good}\n`;
  const { outcome, runs, program, result, files } = await upgrade(script);
  assert.is(outcome, 'restart');
  assert.is(runs, 1);
  assert.is(program, script);
  assert.is(await readFile(join(directory, 'agent.previous'), 'utf8'), 'old');
  assert.equal(files, ['agent', 'agent.previous']);
  assert.equal(result, { sha256: 'abc', phase: 'done', version: '2', detail: '' });
});

for (const [name, script, why] of [
  ['exits at once', '#!/bin/sh\nexit 1\n', /^it ended after .* exit status 1$/],
  ['crashes', '#!/bin/sh\nkill -SEGV $$\n', /SIGSEGV/],
  ['is no program', 'nothing that runs', /EACCES|ENOEXEC|exit status/],
  ['never gets healthy', '#!/bin/sh\nexec sleep 1000\n', /^not healthy within 0\.5 s: it said nothing$/],
  ['says nonsense', '#!/bin/sh\necho nonsense >&3\necho \'{"state":"yes"}\' >&3\nexec sleep 1000\n', /Docker did not answer it, no session with the master$/],
  ['is healthy and then crashes', `#!/bin/sh\n${good.replace('exec sleep 1000', 'exit 3')}\n`, /exit status 3/],
] as const) {
  test(`a candidate that ${name} never was in the program's place, and the agent runs on`, async () => {
    const { outcome, runs, program, result, files } = await upgrade(script, 500);
    assert.is(outcome, 'stopped');
    assert.is(runs, 2);
    assert.is(program, 'old');
    assert.equal(files, ['agent']);
    assert.is(result?.phase, 'failed');
    assert.match(result?.detail ?? '', why);
  });
}

test('what is on disk during a trial is what is true after a power cut', async () => {
  const program = join(directory, 'agent');
  await writeFile(program, 'old');
  const path = `${program}.next-abc`;
  await writeFile(path, `#!/bin/sh\ncat ${join(directory, 'data/upgrade.json')} > ${join(directory, 'seen')}\nreadlink -f ${program} >> /dev/null\ncat ${program} > ${join(directory, 'ran')}\nexit 1\n`);
  await chmod(path, 0o755);
  await link(path, join(directory, 'kept'));
  let runs = 0;
  await superviseAgent({
    program, args: [], dataDir: join(directory, 'data'), clock: systemClock, log: createLog({ component: 'test', level: 'error', write: () => {} }),
    run: () => Promise.resolve(runs++ === 0 ? { path, sha256: 'abc', version: '2', limitMs: 10_000 } : undefined),
  }, new AbortController().signal);
  assert.match(await readFile(join(directory, 'seen'), 'utf8'), /"failed".*went down during the trial/);
  assert.is(await readFile(join(directory, 'ran'), 'utf8'), 'old');
});

test.run();
